"""Recipes: named sets of training options, in TOML files beside this one or the user's own."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from scangan.artifacts.train_options import TrainOptions, nearest
from scangan.core.errors import USAGE, TrainingError

FOLDER = Path(__file__).parent / "recipes"
DEFAULT = "stable"


def recipe_names() -> list[str]:
    """Names of the recipes that come along, the default first."""
    names = sorted(file.stem for file in FOLDER.glob("*.toml"))
    return [DEFAULT, *(name for name in names if name != DEFAULT)]


def bundled_name(name: str) -> str:
    """A recipe's name as others know it: "" for a file of the user's own, whose name is a path."""
    return name if name in recipe_names() else ""


def read_recipe(name: str) -> dict[str, object]:
    """Read a recipe's values, its `description` among them.

    Parameters
    ----------
    name : str
        Of a recipe that comes along, or the path of a ``.toml`` file.

    Raises
    ------
    TrainingError
        There is none (the nearest name is said), or it is no TOML.
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
        raise TrainingError(f"{file} cannot be read as a recipe: {error}") from error


def options_from(recipe: str, overrides: Mapping[str, object]) -> TrainOptions:
    """The options of a recipe, some of them overridden.

    Raises
    ------
    TrainingError
        As of `read_recipe`; a key or a value does not fit, or they do not go together.
    """
    values = read_recipe(recipe)
    values.pop("description", None)
    try:
        return TrainOptions.from_dict({**values, **overrides})
    except TrainingError as error:
        where = f"{recipe}: " if recipe.endswith(".toml") else ""
        raise TrainingError(f"{where}{error}", exit_code=USAGE) from error


def describe_recipes() -> list[str]:
    """One line for each recipe: its name and what it is."""
    names = recipe_names()
    width = max(map(len, names))
    return [f"{name:<{width}}  {read_recipe(name)['description']}" for name in names]
