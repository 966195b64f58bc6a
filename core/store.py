"""Read and write objects in object stores: whole, checked, tried again; needs obstore.

Endpoints and credentials come from the environment, as obstore reads it (``AWS_ACCESS_KEY_ID`` and
so on). No message repeats what a store or its client says, because it may hold them.
"""

import contextlib
import errno
import functools
import hashlib
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore import exceptions
from obstore.store import ObjectStore, from_url

from scangan.core.address import Address
from scangan.core.errors import StoreError

ONE_ANSWER = timedelta(seconds=30)  # a request without an answer is made again
RETRIES: "RetryConfig" = {"max_retries": 6, "retry_timeout": timedelta(seconds=120)}
PUTS = 4  # a put without an answer is made again, which obstore does not do
AT_ONCE = 1000  # objects listed or removed with one request, the most that S3 takes
LARGEST = 1 << 30  # bytes of an object that is put with one request, and so on a condition
MD5 = re.compile(r"[0-9a-f]{32}")
AGAIN = "run the same command again to continue"
SAYINGS = {  # error codes of S3 and what they mean; others are told by their number
    "NoSuchBucket": "this bucket does not exist; create it, or correct its name",
    "ExpiredToken": f"the credentials have expired; renew them and {AGAIN}",
    "TokenRefreshRequired": f"the credentials have expired; renew them and {AGAIN}",
    "RequestTimeTooSkewed": f"the clock of this machine is wrong; set it and {AGAIN}",
    "QuotaExceeded": f"the store is full; free some space and {AGAIN}",
}
DENIED = "access is denied; check the credentials in the environment, and what they allow"
SILENT = f"the store does not answer; check where it is (AWS_ENDPOINT_URL, AWS_REGION), or {AGAIN}"
UNCONDITIONAL = (
    "the store refuses conditional puts (If-None-Match), without which two commands could mix their "
    "files; use another store, or write to a disk and copy"
)


if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig


class Entry(NamedTuple):
    """An object in a listing: its name, its size in bytes, and what changes with its content."""

    name: str
    size: int
    tag: str


class Entries(NamedTuple):
    """The names directly in a folder, in order; files with their size in bytes."""

    folders: list[str]
    files: dict[str, int]


def put(address: Address, content: bytes | Path, *, once: bool = False) -> None:
    """Write an object, whole or not at all, and compare its checksum.

    Parameters
    ----------
    address : Address
        Where to write it.
    content : bytes or Path
        Its bytes, or a file on disk that holds them.
    once : bool
        Leave an object with the same bytes alone, and refuse one with others. Otherwise it is
        replaced.

    Raises
    ------
    StoreError
        The store refuses, does not answer or keeps other bytes, or `once` and other bytes are there.
    """
    length = content.stat().st_size if isinstance(content, Path) else len(content)
    single = length <= LARGEST
    with _asking(address):
        if once and not single and _is_there(address):  # parts are never put on a condition
            _refuse_other(address, content, length)
            return
        for attempt in range(1, PUTS + 1):
            try:
                told = obstore.put(
                    _store(address),
                    address.key,
                    content,
                    mode="create" if once and single else "overwrite",
                    use_multipart=not single,
                )
                break
            except exceptions.AlreadyExistsError:  # it may be from the attempt before
                _refuse_other(address, content, length)
                return
            except exceptions.GenericError:
                if attempt == PUTS:
                    raise
                time.sleep(attempt)
        tag = (told["e_tag"] or "").strip('"')
        if tag == _digest(content):
            return
        if MD5.fullmatch(tag):  # perhaps that of encrypted bytes
            kept = _holds(address, content, length)
        else:
            kept = obstore.head(_store(address), address.key)["size"] == length
        if not kept:
            raise StoreError(f"{address}: the store did not keep what it was given; {AGAIN}")


def read(address: Address, most: int = -1, *, largest: int | None = None) -> bytes:
    """Read an object, or its first `most` bytes.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It has more than `largest` bytes.
    StoreError
        The store refuses, does not answer, or breaks off.
    """
    options: GetOptions | None = None if most < 0 else {"range": (0, most)}
    with _asking(address):
        if most == 0:
            return b""
        try:
            told = obstore.get(_store(address), address.key, options=options)
        except exceptions.GenericError:
            if most > 0 and size(address) == 0:  # it has no first byte
                return b""
            raise
        if largest is not None and told.meta["size"] > largest:
            raise ValueError(f"{address} is larger than {largest} bytes")
        data = bytes(told.bytes())
        first, end = told.range
        if len(data) != end - first:
            raise StoreError(f"{address}: the store broke off in the middle; {AGAIN}")
        return data


def lines(address: Address) -> Iterator[bytes]:
    """Yield the lines of an object, which may be larger than memory, with their line breaks."""
    rest = b""
    with _asking(address):
        for piece in obstore.get(_store(address), address.key).stream():
            *whole, rest = (rest + bytes(piece)).splitlines(keepends=True) or [b""]
            yield from whole
    if rest:
        yield rest


def size(address: Address) -> int:
    """Return the size of an object in bytes; raise `FileNotFoundError` if there is none."""
    with _asking(address):
        return int(obstore.head(_store(address), address.key)["size"])


def inside(folder: Address) -> Entries:
    """List a folder, not what is below its folders."""
    with _asking(folder):
        told = obstore.list_with_delimiter(_store(folder), folder.key or None)
    folders = sorted(prefix.rpartition("/")[2] for prefix in told["common_prefixes"])
    files = {each["path"].rpartition("/")[2]: each["size"] for each in told["objects"]}
    return Entries(folders, dict(sorted(files.items())))


def below(folder: Address) -> Iterator[Entry]:
    """Yield the objects below a folder, named relative to it, in no order."""
    start = len(folder.key) + 1 if folder.key else 0
    with _asking(folder):
        for batch in obstore.list(_store(folder), folder.key or None, chunk_size=AT_ONCE):
            for each in batch:
                yield Entry(each["path"][start:], each["size"], each["e_tag"] or "")


def remove(addresses: Iterable[Address]) -> None:
    """Remove objects of one store; it is no error if one is not there."""
    rest = iter(addresses)
    while gone := list(itertools.islice(rest, AT_ONCE)):
        with contextlib.suppress(FileNotFoundError), _asking(gone[0]):
            obstore.delete(_store(gone[0]), [address.key for address in gone])


def _is_there(address: Address) -> bool:
    try:
        size(address)
    except FileNotFoundError:
        return False
    return True


def _refuse_other(address: Address, content: bytes | Path, length: int) -> None:
    """Refuse an object that has other bytes."""
    if not _holds(address, content, length):
        raise StoreError(
            f"{address} holds something else, perhaps from another command; choose another folder"
        ) from None


def _holds(address: Address, content: bytes | Path, length: int) -> bool:
    """Compare an object with what it should be: its size, then its bytes."""
    if obstore.head(_store(address), address.key)["size"] != length:
        return False
    digest = hashlib.md5(usedforsecurity=False)
    for piece in obstore.get(_store(address), address.key).stream():
        digest.update(piece)
    return digest.hexdigest() == _digest(content)


def _digest(content: bytes | Path) -> str:
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, _md5).hexdigest()
    return _md5(content).hexdigest()


_md5 = functools.partial(hashlib.md5, usedforsecurity=False)


def _store(address: Address) -> ObjectStore:
    return _of_bucket(address.bucket)


@functools.cache
def _of_bucket(bucket: str) -> ObjectStore:
    client: ClientConfig = {"timeout": ONE_ANSWER}
    if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        client["allow_http"] = True
    if bucket.startswith("memory:"):
        return from_url("memory:///")
    return from_url(bucket, client_options=client, retry_config=RETRIES)


@contextlib.contextmanager
def _asking(address: Address) -> Iterator[None]:
    """Say in our words what a store or its client reports."""
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise StoreError(f"{address.bucket}: {SAYINGS['NoSuchBucket']}") from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(address)) from None
    except exceptions.BaseError as error:
        raise StoreError(f"{address}: {_meaning(error)}") from None


def _meaning(error: exceptions.BaseError) -> str:
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code: (\d{3})", text)
    number = int(status[1]) if status else 0
    if code and code[1] in SAYINGS:
        return SAYINGS[code[1]]
    if number == 501 or isinstance(error, exceptions.NotSupportedError):
        return UNCONDITIONAL
    if number in (401, 403) or isinstance(
        error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError
    ):
        return DENIED
    told = code[1] if code else str(number) if number else ""
    return SILENT.replace(";", f" as it should ({told});", 1) if told else SILENT
