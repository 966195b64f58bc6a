"""What people read says `1 scan`, and `2 scans`."""

import pytest
from test_advice import images, works

from scangan.core.counted import counted


@pytest.mark.parametrize(
    ("number", "noun", "plural", "text"),
    [
        (0, "scan", "", "0 scans"),
        (1, "scan", "", "1 scan"),
        (2, "scan", "", "2 scans"),
        (1, "class", "classes", "1 class"),
        (3, "class", "classes", "3 classes"),
        (1, "copy was", "copies were", "1 copy was"),
        (11, "copy was", "copies were", "11 copies were"),
    ],
)
def test_number_and_noun(number, noun, plural, text):
    assert counted(number, noun, plural) == text


@pytest.mark.parametrize("count", [1, 2])
def test_what_gen_scans_ends_with(count, tiny_acgan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    s = "" if count == 1 else "s"
    request = f"gen-scans --model {tiny_acgan} --count {count} --class cat"
    assert f"\n{count} synthetic scan{s} of cat: o" in works(f"{request} --out o --threads {count}")
    assert f", {count} thread{s}" in works(f"{request} --out o2 --threads {count}")
    again = works(f"{request} --out o")
    assert f"{count} synthetic scan{s} of cat, {count} already there: o" in again
    for part in ("0/2", "1/2"):
        works(f"{request} --out p --shard {part}")
    assert f"{count} synthetic scan{s}, none missing" in works("scangan merge p --out q")


@pytest.mark.parametrize("count", [1, 2])
def test_what_prep_scans_ends_with(count, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    s = "" if count == 1 else "s"
    images(tmp_path / "scans/cat", count)
    assert f"\n{count} scan{s} prepared at 16x16" in works("prep-scans scans p --size 16")
