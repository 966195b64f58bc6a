"""Addresses of folders and objects in object stores, such as ``s3://bucket/folder``."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

SCHEMES = ("s3", "gs", "az", "memory")  # Amazon, Google, Azure; the last is for tests


class Address(PurePosixPath):
    """A folder or an object in a store: ``SCHEME://BUCKET/FOLDER/NAME``.

    It is joined and taken apart like a path. To read and write it, see `store`.
    """

    __slots__ = ()

    def __str__(self) -> str:
        """Return it as one types it; a path alone would lose one of the two slashes."""
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        """Refuse to be taken for a file on disk."""
        raise TypeError(f"{self} is in an object store, not on disk")

    @property
    def bucket(self) -> str:
        """The store: ``s3://bucket``."""
        return f"{self.parts[0]}//{self.parts[1] if len(self.parts) > 1 else ''}"

    @property
    def key(self) -> str:
        """The name of the object in its store; empty for the store itself."""
        return "/".join(self.parts[2:])

    @property
    def parents(self) -> Sequence["Address"]:
        """The folders around it, up to the store itself."""
        return tuple(each for each in super().parents if len(each.parts) > 1)

    def resolve(self) -> "Address":
        """Return itself: there are no links."""
        return self


Place = Path | Address


def to_place(place: str | os.PathLike[str] | Place) -> Place:
    """Read a path or an address; raise `ValueError` as `to_address` does."""
    if isinstance(place, Address):
        return place
    return to_address(place) if isinstance(place, str) and is_address(place) else Path(place)


def within(folder: Place, name: str) -> str | Address:
    """Join a folder and a name with ``/``; on disk as text, since a path for each file takes longer."""
    return folder / name if isinstance(folder, Address) else f"{folder}/{name}"


def is_address(text: str) -> bool:
    """Return whether a text is written like an address, known or not, or with a slash too few."""
    scheme, colon, rest = text.partition(":")
    if colon and rest.startswith("/") and scheme.lower() in SCHEMES:
        return True
    return rest.startswith("//") and len(scheme) > 1 and scheme.isascii() and scheme.isalnum()


def to_address(text: str) -> Address:
    """Read an address.

    Raises
    ------
    ValueError
        The scheme is unknown, the bucket is missing, or a part is ``.``, ``..`` or holds credentials.
    """
    scheme, _, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme in SCHEMES and not rest.startswith("//"):
        raise ValueError(f"the address lacks a slash; give {scheme}://BUCKET/FOLDER")
    rest = rest[2:]
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES if name != "memory")
        raise ValueError(f"{scheme}:// is not known; an address of a store starts with {known}")
    parts = [part for part in rest.split("/") if part]
    if not parts or rest.startswith("/"):
        raise ValueError(f"the address names no bucket; give {scheme}://BUCKET/FOLDER")
    # What it shows of the address could be a secret.
    if "@" in parts[0] or ":" in parts[0]:
        raise ValueError(f"give {scheme}://BUCKET/FOLDER; credentials come from the environment")
    if {".", ".."} & {*parts}:
        raise ValueError(f"{scheme}://{'/'.join(parts)} has . or .. in it; write it out")
    return Address(f"{scheme}://{'/'.join(parts)}")
