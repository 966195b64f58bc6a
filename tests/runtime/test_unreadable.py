"""Parts that cannot be read, or change, while they are merged."""

import errno
from pathlib import Path

import pytest
from conftest import folder_bytes

from scangan.artifacts.request import Part, Request, Span
from scangan.artifacts.scan_folder import MANIFEST, REQUEST, SHEET
from scangan.runtime import ScanGenerator
from scangan.runtime.merge import merge
from scangan.runtime.output import write_scans


@pytest.fixture
def parts(tiny_dcgan, tmp_path):
    """Two parts of a request, in a folder each."""
    generator = ScanGenerator(tiny_dcgan)
    request = Request(spans=(Span(None, 0, 6),))
    for i in range(2):
        write_scans(generator, request, tmp_path / f"part{i}", part=Part(i, 2))
    return [tmp_path / "part0", tmp_path / "part1"]


def test_a_sheet_that_was_damaged_while_it_was_copied_is_copied_again(parts, tmp_path):
    merge(parts, tmp_path / "out")
    whole = folder_bytes(tmp_path / "out")
    sheet = (tmp_path / "out" / SHEET).read_bytes()
    (tmp_path / "out" / SHEET).write_bytes(sheet[: len(sheet) // 2])
    merge(parts, tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == whole


@pytest.mark.parametrize("name", [REQUEST, SHEET])
def test_a_disk_that_fails_is_named(parts, tmp_path, monkeypatch, name):
    real = Path.read_bytes, Path.read_text

    def fails(self, *args, which=0, **kwargs):
        if self == parts[0] / name:
            raise OSError(errno.EIO, "Input/output error")
        return real[which](self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_bytes", fails)
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: fails(self, *a, which=1, **k))
    with pytest.raises(OSError) as error:
        merge(parts, tmp_path / "out")
    assert error.value.filename == str(parts[0] / name)
    assert not (tmp_path / "out" / MANIFEST).exists()
