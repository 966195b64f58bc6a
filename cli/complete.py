"""What the shell offers when you press Tab: bundled models, classes of a model, recipes, options."""

import contextlib

import click
from click.shell_completion import CompletionItem


def _beginning(names: list[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def models(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of bundled models, or files where none begins like this."""
    from scangan.runtime.catalog import bundled_models

    return _beginning(bundled_models(), incomplete) or [CompletionItem(incomplete, type="file")]


def classes(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Classes of the model that was typed before, or of the bundled one."""
    from scangan.core.devices import CPU, Device
    from scangan.core.errors import ScanganError
    from scangan.runtime.catalog import DEFAULT_MODEL, open_model

    with contextlib.suppress(ScanganError, OSError):  # the command itself says what is wrong
        model = ctx.params.get("model") or DEFAULT_MODEL
        file = open_model(model, Device("cpu", CPU), allow_modified=True)
        return _beginning(list(file.card.classes), incomplete)
    return []


def recipes(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the recipes that come with scangan, or files where none begins like this."""
    from scangan.training.recipe import recipe_names

    return _beginning(recipe_names(), incomplete) or [CompletionItem(incomplete, type="file")]


def assignments(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Options of training, as ``KEY=``."""
    import dataclasses

    from scangan.artifacts.train_options import TrainOptions

    names = [f"{field.name}=" for field in dataclasses.fields(TrainOptions)]
    return _beginning(names, incomplete)
