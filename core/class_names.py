"""Check class names, and bring them to one Unicode form."""

import unicodedata
from typing import Any

from scangan.core.address import Place
from scangan.core.errors import FolderError

INVISIBLE = {"\u034f", *map(chr, range(0xFE00, 0xFE10))}  # a joiner, and variation selectors


def normal(name: str) -> str:
    """Normalise a name to Unicode NFC: macOS stores é as two characters, a keyboard types one."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def with_normal_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object with normalised class names in its keys, ``class`` and ``classes``.

    Use it as ``object_pairs_hook``. Earlier versions wrote names without normalising them.
    """
    read: dict[str, Any] = {}
    for key, value in pairs:
        if key == "class" and isinstance(value, str):
            value = normal(value)
        elif key == "classes" and isinstance(value, list):
            value = [normal(each) if isinstance(each, str) else each for each in value]
        read[normal(key)] = value
    return read


def as_seen(name: str) -> str:
    """Return what one sees of a name: no case, one kind of space, no ligatures, nothing of no width."""
    if name.isascii():
        return " ".join(name.casefold().split())
    seen = (c for c in normal(name) if unicodedata.category(c) != "Cf" and c not in INVISIBLE)
    apart = ("<super>", "<sub>", "<fraction>")  # T² is not T2
    plain = (
        c if unicodedata.decomposition(c).startswith(apart) else unicodedata.normalize("NFKC", c)
        for c in seen
    )
    return " ".join(normal("".join(plain)).casefold().split())


def why_no_name(name: str) -> str:
    """Return why `name` cannot be a class name, or an empty string if it can.

    A class name becomes a folder name and is printed in terminals.
    """
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        return "its class name has control characters"
    if any(unicodedata.category(letter) == "Cs" for letter in name):
        return "its class name is not UTF-8"
    if "/" in name or "\\" in name:
        return "its class name has a path separator"
    return (
        "" if name and not name.startswith(".") else "its class name is empty or starts with a dot"
    )


def check_alike(classes: list[str], where: Place) -> None:
    """Refuse class names that look the same or differ only in case, like one folder on some systems."""
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(as_seen(name), name)
        if other != name:
            if normal(other).lower() == normal(name).lower():
                both = f"{other!r} and {name!r}, which are the same folder on some file systems"
            else:
                both = f"{other!a} and {name!a}, which look the same"
            raise FolderError(f"{where} has the classes {both}; rename one, or merge them")
