"""Objects are put whole and checked; what a store does wrong is told in a line without secrets."""

import hashlib
import os
import threading
import time
from datetime import timedelta

import obstore
import pytest
from stores import SECRET, bucket_of_server, wrong_server

from scangan.core import store
from scangan.core.address import to_address
from scangan.core.errors import StoreError


@pytest.fixture(scope="module")
def moto():
    with bucket_of_server() as bucket:
        yield bucket


@pytest.fixture(params=["moto", "memory"])
def folder(request, tmp_path):
    """An empty folder in a store."""
    if request.param == "memory":
        return to_address("memory://tests") / tmp_path.name
    return request.getfixturevalue("moto") / tmp_path.name


def test_what_was_put_is_read(folder, tmp_path):
    store.put(folder / "a/1.png", b"hello")
    assert store.read(folder / "a/1.png") == b"hello" and store.read(folder / "a/1.png", 2) == b"he"
    assert (
        store.read(folder / "a/1.png", 0) == b"" and store.read(folder / "a/1.png", 99) == b"hello"
    )
    assert store.size(folder / "a/1.png") == 5
    store.put(folder / "a/1.png", b"")
    assert store.read(folder / "a/1.png") == store.read(folder / "a/1.png", 9) == b""
    (tmp_path / "file").write_bytes(b"\0" * 100_000)
    store.put(folder / "b", tmp_path / "file", once=True)
    assert store.read(folder / "b") == b"\0" * 100_000
    for ask in (store.read, store.size, lambda address: list(store.lines(address))):
        with pytest.raises(FileNotFoundError, match=str(folder / "none")):
            ask(folder / "none")
    with pytest.raises(ValueError, match="larger than 99 bytes"):
        store.read(folder / "b", largest=99)


def test_once_keeps_what_is_there(folder, tmp_path):
    store.put(folder / "a", b"first", once=True)
    store.put(folder / "a", b"first", once=True)
    for other in (b"other", b"longer than first"):
        with pytest.raises(StoreError, match=r"/a holds something else.*choose another folder"):
            store.put(folder / "a", other, once=True)
    assert store.read(folder / "a") == b"first"
    store.put(folder / "a", b"other")
    assert store.read(folder / "a") == b"other"


def test_a_large_object_is_put_in_parts(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "LARGEST", 1000)
    content = bytes(range(256)) * 41_000  # over two parts of 5 MiB
    (tmp_path / "file").write_bytes(content)
    for _ in range(2):
        store.put(folder / "a", tmp_path / "file", once=True)
    with pytest.raises(StoreError, match=r"/a holds something else"):
        store.put(folder / "a", content[:-1] + b"x", once=True)
    assert store.read(folder / "a") == content


def test_folders_are_listed(folder, monkeypatch):
    monkeypatch.setattr(store, "AT_ONCE", 7)  # so that a listing needs several answers
    names = [f"{top}/{i}.png" for top in ("cat", "cat/more", "dog") for i in range(10)] + ["x.csv"]
    for name in names:
        store.put(folder / name, name.encode())
    store.put(folder.with_name(f"{folder.name}-other") / "y", b"not below it")
    assert store.inside(folder) == store.Entries(["cat", "dog"], {"x.csv": 5})
    listed = list(store.below(folder))
    assert sorted(entry.name for entry in listed) == sorted(names)
    assert all(entry.size == len(entry.name) and entry.tag for entry in listed)
    store.remove(folder / name for name in [*names[:-1], "none"])
    assert [entry.name for entry in store.below(folder)] == ["x.csv"]
    assert store.inside(folder / "empty") == store.Entries([], {})
    store.remove([])


def test_lines_come_whole(folder, monkeypatch):
    lines = [b"%d %b\n" % (i, b"x" * (i % 97)) for i in range(3000)]
    store.put(folder / "a", b"".join(lines) + b"no end")
    assert list(store.lines(folder / "a")) == [*lines, b"no end"]
    store.put(folder / "b", b"")
    assert list(store.lines(folder / "b")) == []


@pytest.mark.skipif("SCANGAN_WEED" in os.environ, reason="SeaweedFS then makes one")
def test_a_bucket_that_is_not_there(moto):
    nowhere = to_address("s3://nowhere/a")
    for ask in (
        lambda: store.put(nowhere, b"x"),
        lambda: store.read(nowhere),
        lambda: list(store.below(nowhere)),
        lambda: store.inside(nowhere),
    ):
        with pytest.raises(
            StoreError, match=r"s3://nowhere\S*: this bucket does not exist; create"
        ):
            ask()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "access is denied; check the credentials"),
        (403, "SignatureDoesNotMatch", "access is denied; check the credentials"),
        (400, "ExpiredToken", "the credentials have expired; renew them and run the same command again"),
        (403, "RequestTimeTooSkewed", "the clock of this machine is wrong; set it"),
        (501, "NotImplemented", "refuses conditional puts"),
        (507, "QuotaExceeded", "the store is full; free some space"),
        (503, "SlowDown", "the store does not answer as it should (SlowDown); check where"),
        (418, "Odd", "the store does not answer as it should (Odd); check where"),
    ],
)  # fmt: skip
def test_refusals_are_told_in_a_line_without_secrets(status, code, said, monkeypatch):
    monkeypatch.setattr(store, "RETRIES", {"max_retries": 1})
    monkeypatch.setattr(store, "PUTS", 2)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with wrong_server(lambda request: request.refuse(status, code)) as bucket:
        for ask in (
            lambda: store.put(bucket / "a", b"x", once=True),
            lambda: store.read(bucket / "a"),
            lambda: list(store.below(bucket)),
        ):
            with pytest.raises(StoreError) as refused:
                ask()
            assert said in str(refused.value) and "s3://bucket" in str(refused.value)
            assert SECRET not in str(refused.value) and "\n" not in str(refused.value)


def test_a_store_that_recovers_is_asked_again():
    asked = []

    def twice_too_busy(request):
        asked.append(request.command)
        if len(asked) < 3:
            request.refuse(503, "SlowDown")
        else:
            tag = hashlib.md5(request.body).hexdigest()
            request.reply(200, ETag=f'"{tag}"')

    with wrong_server(twice_too_busy) as bucket:
        store.put(bucket / "a", b"x")
    assert asked == ["PUT"] * 3


def test_an_answer_that_does_not_come_is_waited_for_and_then_told(monkeypatch):
    monkeypatch.setattr(store, "ONE_ANSWER", timedelta(seconds=0.2))
    monkeypatch.setattr(store, "RETRIES", {"max_retries": 1})
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ended, asked = threading.Event(), []

    def silent(request):
        asked.append(request.command)
        ended.wait(10)

    with wrong_server(silent) as bucket:
        for ask in (lambda: store.put(bucket / "a", b"x"), lambda: store.read(bucket / "a")):
            with pytest.raises(
                StoreError,
                match=r"the store does not answer; check where it is .*, or run the same command",
            ):
                ask()
        ended.set()
    assert asked.count("PUT") >= store.PUTS and asked.count("GET") == 2


def test_an_answer_that_breaks_off_is_no_object(monkeypatch):
    monkeypatch.setattr(store, "RETRIES", {"max_retries": 1})

    def short(request):
        request.close_connection = True
        request.reply(200, b"half", Content_Length="8", ETag='"x"')

    with wrong_server(short) as bucket, pytest.raises(StoreError, match="run the same command"):
        store.read(bucket / "a")


@pytest.mark.parametrize("kept", [b"", b"hellO", b"hello "])
def test_a_store_that_keeps_other_bytes_is_told(kept):
    def keeps_others(request):
        if request.command == "PUT":
            tag = hashlib.md5(kept).hexdigest()
            request.reply(200, ETag=f'"{tag}"')
        else:
            dated = "Sun, 29 Nov 2026 12:00:00 GMT"
            request.reply(200, kept, ETag='"x"', Last_Modified=dated)

    with wrong_server(keeps_others) as bucket, pytest.raises(StoreError, match="did not keep"):
        store.put(bucket / "a", b"hello")


def test_a_checksum_of_encrypted_bytes_is_no_fault():
    asked = []

    def encrypts(request):
        asked.append(request.command)
        tag = hashlib.md5(b"encrypted").hexdigest()
        dated = "Sun, 29 Nov 2026 12:00:00 GMT"
        request.reply(200, b"hello", ETag=f'"{tag}"', Last_Modified=dated)

    with wrong_server(encrypts) as bucket:
        store.put(bucket / "a", b"hello")
    assert asked == ["PUT", "HEAD", "GET"]  # it was read back


def test_a_put_whose_answer_was_lost_is_no_conflict(monkeypatch):
    """The first put arrives, its answer does not; the second finds the object."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    kept = {}

    def forgetful(request):
        dated = "Sun, 29 Nov 2026 12:00:00 GMT"
        if request.command == "PUT" and not kept:
            kept["a"] = request.body
            request.connection.close()
            request.close_connection = True
        elif request.command == "PUT":
            assert request.headers["If-None-Match"] == "*"
            request.refuse(412, "PreconditionFailed")
        else:
            request.reply(200, kept["a"], ETag='"x"', Last_Modified=dated)

    with wrong_server(forgetful) as bucket:
        store.put(bucket / "a", b"hello", once=True)
    assert kept == {"a": b"hello"}


def test_every_error_of_the_client_is_known():
    for name in dir(obstore.exceptions):
        error = getattr(obstore.exceptions, name)
        if name.endswith("Error") and issubclass(error, Exception):
            expected = FileNotFoundError if issubclass(error, FileNotFoundError) else StoreError
            with pytest.raises(expected), store._asking(to_address("s3://bucket/a")):
                raise error(SECRET)
