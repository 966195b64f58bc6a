"""Shell completion of bundled models, a model's classes, recipes, weights and training options."""

import contextlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _matching(names: list[str], incomplete: str, otherwise: str = "") -> "list[CompletionItem]":
    """Return the names that begin so; if none does, a path of the kind `otherwise` is completed."""
    from click.shell_completion import CompletionItem

    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or ([CompletionItem(incomplete, type=otherwise)] if otherwise else [])


def models(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Complete the name of a bundled model; if none matches, complete a file name."""
    from scangan.runtime.catalog import bundled_models

    return _matching(bundled_models(), incomplete, "file")


def classes(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Complete a class of the model typed so far, or of the bundled model."""
    from scangan.core.devices import CPU, Device
    from scangan.core.errors import ScanganError
    from scangan.runtime import DEFAULT_MODEL
    from scangan.runtime.catalog import open_model

    with contextlib.suppress(ScanganError, OSError):  # the command itself reports the error
        model = ctx.params.get("model") or DEFAULT_MODEL
        file = open_model(model, Device("cpu", CPU), allow_modified=True)
        return _matching(list(file.card.classes), incomplete)
    return []


def recipes(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Complete the name of a bundled recipe; if none matches, complete a file name."""
    from scangan.training.recipe import recipe_names

    return _matching(recipe_names(), incomplete, "file")


def starts(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Complete the name of bundled starting weights; if none matches, complete a folder."""
    from scangan.training.bundled_weights import starting_names

    return _matching(starting_names(), incomplete, "dir")


def assignments(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> "list[CompletionItem]":
    """Complete a training option, as ``KEY=``."""
    import dataclasses

    from scangan.artifacts.train_options import TrainOptions

    names = [f"{field.name}=" for field in dataclasses.fields(TrainOptions)]
    return _matching(names, incomplete)
