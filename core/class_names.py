"""What may name a class, and which names are one."""

import unicodedata
from pathlib import Path
from typing import Any

from scangan.core.errors import FolderError


def normal(name: str) -> str:
    """The one form (Unicode NFC) of a name.

    macOS writes é as two letters, a keyboard as one.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def with_normal_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object, with class names in their one form: keys, ``class`` and ``classes``.

    An ``object_pairs_hook``: earlier versions wrote the names as they found them.
    """
    read: dict[str, Any] = {}
    for key, value in pairs:
        if key == "class" and isinstance(value, str):
            value = normal(value)
        elif key == "classes" and isinstance(value, list):
            value = [normal(each) if isinstance(each, str) else each for each in value]
        read[normal(key)] = value
    return read


def why_no_name(name: str) -> str:
    """Why `name` names no class, which becomes a folder and a word on terminals; else empty."""
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        return "its class name has control characters"
    if any(unicodedata.category(letter) == "Cs" for letter in name):
        return "its class name is no UTF-8"
    if "/" in name or "\\" in name:
        return "its class name has a path separator"
    return (
        "" if name and not name.startswith(".") else "its class name is empty or starts with a dot"
    )


def check_case(classes: list[str], where: Path) -> None:
    """Refuse names that are one folder on systems that do not tell the case of letters."""
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(normal(name).casefold(), name)
        if other != name:
            raise FolderError(
                f"{where} has the classes {other!r} and {name!r}, which are one on systems that do "
                f"not tell the case of letters; rename one, or make them one"
            )
