"""Addresses of folders in stores are joined like paths, and never taken for files on disk."""

import os
import pickle
from pathlib import Path

import pytest

from scangan.core.address import Address, is_address, to_address, to_place, within

FOLDER = to_address("s3://bucket/a/b")


def test_it_is_written_as_it_was_typed():
    assert str(FOLDER) == f"{FOLDER}" == "s3://bucket/a/b"
    assert str(to_address("S3://bucket//a/b/")) == "s3://bucket/a/b"
    assert str(to_address("gs://bucket")) == "gs://bucket"
    assert (FOLDER.bucket, FOLDER.key) == ("s3://bucket", "a/b")
    assert (to_address("az://b").bucket, to_address("az://b").key) == ("az://b", "")


def test_it_is_joined_and_taken_apart_like_a_path():
    file = FOLDER / "c" / "1.png"
    assert isinstance(file, Address) and str(file) == "s3://bucket/a/b/c/1.png"
    assert file.name == "1.png" and file.suffix == ".png" and file.parent.parent == FOLDER
    assert str(file.relative_to(FOLDER)) == "c/1.png" and file.is_relative_to(FOLDER)
    assert [str(each) for each in file.parents][-2:] == ["s3://bucket/a", "s3://bucket"]
    assert FOLDER.resolve() is FOLDER and FOLDER / "" == FOLDER
    again = pickle.loads(pickle.dumps(file))
    assert again == file and hash(again) == hash(file) and str(again) == str(file)


def test_it_is_no_file():
    for use in (os.fspath, os.stat, open):
        with pytest.raises(TypeError, match="s3://bucket/a/b is in an object store, not on disk"):
            use(FOLDER)


def test_places():
    assert to_place(FOLDER) is FOLDER and to_place("s3://bucket/a/b") == FOLDER
    assert to_place("a/b") == Path("a/b") and to_place(Path("s3:")) == Path("s3:")
    assert within(Path("a"), "b/c") == "a/b/c" and within(FOLDER, "c/d") == FOLDER / "c" / "d"
    assert not any(
        map(is_address, ("a/b", "C:\\scans", "c:/scans", "./s3://a", "./s3:/a", "s3:", ""))
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://host/x", "http:// is not known; an address of a store starts with s3://, gs://, az://"),
        ("s3://", "names no bucket; give s3://BUCKET/FOLDER"),
        ("s3:///folder", "names no bucket"),
        ("s3:/bucket/folder", "lacks a slash; give s3://BUCKET/FOLDER"),
        ("s3://KEY:SECRET@bucket/a", "credentials come from the environment"),
        ("s3://KEY@bucket/a", "credentials come from the environment"),
        ("http://KEY:SECRET@host", "http:// is not known"),
        ("s3://bucket/a/../b", "s3://bucket/a/../b has . or .. in it; write it out"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_its_secrets(text, said):
    assert is_address(text)
    with pytest.raises(ValueError, match=r"\w") as refused:
        to_address(text)
    assert said in str(refused.value)
    assert not any(secret in str(refused.value) for secret in ("KEY", "SECRET"))
