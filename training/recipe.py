"""Recipes: named sets of training options, in bundled TOML files or the user's own."""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from scangan.artifacts.train_options import TrainOptions, nearest
from scangan.core.errors import USAGE, TrainingError
from scangan.core.printable import quoted

FOLDER = Path(__file__).parent / "recipes"
DEFAULT = "stable"
BY_CLASS = (
    "conditioning", "head", "aux_weight", "aux_on_fake", "balanced", "ramp_start", "ramp_end",
)  # fmt: skip


def recipe_names() -> list[str]:
    """Return the names of the bundled recipes, the default first."""
    names = sorted(file.stem for file in FOLDER.glob("*.toml"))
    return [DEFAULT, *(name for name in names if name != DEFAULT)]


def bundled_name(name: str) -> str:
    """Return a bundled recipe's name; for a file of the user's own, whose path is private, ""."""
    return name if name in recipe_names() else ""


def read_recipe(name: str) -> dict[str, object]:
    """Read a recipe's values, including its `description`.

    Parameters
    ----------
    name : str
        Name of a bundled recipe, or the path of a ``.toml`` file.

    Raises
    ------
    TrainingError
        There is no such recipe (the message suggests the nearest name), or it is not valid TOML.
    """
    own = name.endswith(".toml")
    file = Path(name) if own else FOLDER / f"{name}.toml"
    if not own and name not in recipe_names():
        raise TrainingError(
            f"there is no recipe {name!r}{nearest(name, recipe_names())}; "
            f"see train-gan --list-recipes",
            exit_code=USAGE,
        )
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(f"{file} does not exist", exit_code=USAGE) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TrainingError(
            f"{file} cannot be read as a recipe: {reason}", exit_code=USAGE
        ) from error


def options_from(recipe: str, overrides: Mapping[str, object]) -> TrainOptions:
    """Read the options of a recipe and apply `overrides`.

    Raises
    ------
    TrainingError
        The recipe cannot be read, a key or value is invalid, or they do not go together: a recipe that
        says ``lateral = true`` is for scans whose left and right differ, so it refuses to mirror them.
    """
    values = read_recipe(recipe)
    values.pop("description", None)
    lateral = values.pop("lateral", False)
    where = f"{recipe}: " if recipe.endswith(".toml") else ""
    try:
        options = TrainOptions.from_dict({**values, **overrides})
    except TrainingError as error:
        raise TrainingError(f"{where}{error}", exit_code=USAGE) from error
    if not isinstance(lateral, bool):
        raise TrainingError(
            f"{where}lateral {quoted(lateral)} is not true or false", exit_code=USAGE
        )
    mirrors = ["mirror"] if options.mirror else []
    mirrors += ["flip"] if "flip" in options.augment else []
    if lateral and mirrors:
        raise TrainingError(
            f"{where or f'recipe {recipe}: '}left and right differ in these scans (lateral = true), so they "
            f"must not be mirrored; leave out {' and '.join(mirrors)}, or choose another recipe",
            exit_code=USAGE,
        )
    return options


def check_effects(options: TrainOptions, changed: Iterable[str]) -> None:
    """Refuse a changed option that the others leave without effect; its default, 0 and false pass.

    Raises
    ------
    TrainingError
        There is one; the message says what it needs.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    typed = set(changed)
    for names, has_effect, needed in (
        (("lecam",), options.loss == "hinge", "loss=hinge"),
        (("label_smoothing", "label_flip"), options.loss == "bce", "loss=bce"),
        (("noise_kimg",), options.instance_noise, "instance_noise above 0"),
        (("penalty_every",), options.r1 or options.r2, "r1 or r2 above 0"),
        (("feature_every",), options.feature_weight, "feature_weight above 0"),
        (("augment_p", "augment_target"), options.augment, "operations in augment"),
        (("augment_kimg",), options.augment_target, "augment_target above 0"),
        (("ema_warmup",), options.ema_kimg, "ema_kimg above 0"),
        (("lr_hold",), options.lr_schedule != "constant", "lr_schedule=linear"),
        (BY_CLASS, options.arch == "acgan", "arch=acgan"),
        (("aux_weight", "aux_on_fake"), "auxiliary" in options.head, "a head with auxiliary"),
    ):
        for name in typed.intersection(names):
            value = getattr(options, name)
            if value and value != defaults[name] and not has_effect:
                shown = "true" if value is True else value
                raise TrainingError(
                    f"{name} {shown} has no effect here: it needs {needed}; set that, or leave {name} out",
                    exit_code=USAGE,
                )


def describe_recipes() -> list[str]:
    """Return one line for each recipe: name and description."""
    names = recipe_names()
    width = max(map(len, names))
    return [f"{name:<{width}}  {read_recipe(name)['description']}" for name in names]
