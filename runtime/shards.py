"""Write many scans to one file: WebDataset's tar, or npz."""

import contextlib
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset import npy_header
from scangan.artifacts.records import to_told
from scangan.artifacts.request import Span
from scangan.artifacts.scan_folder import Plan
from scangan.core.address import Place
from scangan.core.files import written_whole
from scangan.core.png import encode_png
from scangan.core.sheet import NOTICE

BLOCK = 512
RECORD = 20 * BLOCK  # a tar is padded to a multiple of this
Images = npt.NDArray[np.uint8]


class TarEntries:
    """WebDataset samples of one class: ``CLASS/000000123.png``, and ``.cls`` with the class number.

    Headers (POSIX.1-1988, ustar) differ only in name, size and checksum. These are filled into a header
    that tarfile makes once, which takes 2 µs instead of 15.
    """

    def __init__(self, plan: Plan, which: int) -> None:
        self._text, self._plan, self._which = plan.record_text(which), plan, which
        number = plan.request.spans[which].number
        self._label = str(number if number is not None else 0).encode()

    def of(self, image: Images, index: int) -> bytes:
        """Return the tar members of one scan."""
        name = self._plan.file_name(self._which, index)
        png = encode_png(image, {"Comment": NOTICE, "scangan": self._text.of(index)})
        label_name = f"{name.removesuffix('.png')}.cls"
        return tar_member(name, png) + tar_member(label_name, self._label)


def tar_member(name: str, data: bytes) -> bytes:
    """Build a regular file in a tar: header, data and padding."""
    encoded = name.encode()
    if len(encoded) > 100 or len(data) >= 8**11 or not name.isascii():
        header = tarfile.TarInfo(name)
        header.size = len(data)
        return header.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % BLOCK)
    fields = b"%b%011o\0" % (_MODE_TO_GID, len(data))
    total = _REST_SUM + sum(encoded) + sum(fields)
    head = b"%b%b%b%06o\0 %b" % (
        encoded.ljust(100, b"\0"), fields, _TIME, total, _REST,
    )  # fmt: skip
    return head + data + bytes(-len(data) % BLOCK)


_TEMPLATE = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)
_MODE_TO_GID, _TIME, _REST = _TEMPLATE[100:124], _TEMPLATE[136:148], _TEMPLATE[156:]
_REST_SUM = sum(_TIME) + sum(_REST) + 8 * ord(" ")  # the checksum counts itself as spaces


Add = Callable[[Span, Any], None]


@contextmanager
def tar_shard(path: Place, _plan: Plan, _count: int) -> Iterator[Add]:
    """Open a tar to add members to; the file gets its name when it is complete."""
    with written_whole(path, once=True) as beside, beside.open("wb") as file:

        def add(_span: Span, members: bytes) -> None:
            file.write(members)

        yield add
        file.write(bytes(2 * BLOCK))
        file.write(bytes(-file.tell() % RECORD))


@contextmanager
def npz_shard(path: Place, plan: Plan, count: int) -> Iterator[Add]:
    """Open an npz to add scans to: `images` uint8 [N, H, W], `labels`, `indices` int64 [N], `about` JSON.

    Scans are written as they arrive, so a shard can be larger than memory.
    """
    spans: list[Span] = []
    with contextlib.ExitStack() as opened:
        beside = opened.enter_context(written_whole(path, once=True))
        archive = opened.enter_context(zipfile.ZipFile(beside, "w"))
        member = opened.enter_context(contextlib.ExitStack())
        images: IO[bytes] | None = None

        def add(span: Span, scans: Images) -> None:
            nonlocal images
            if images is None:
                images = member.enter_context(_npy(archive, "images"))
                npy_header(images, (count, *scans.shape[1:]))
            images.write(np.ascontiguousarray(scans).data)
            spans.append(span)

        yield add
        member.close()
        numbers = [-1 if span.number is None else span.number for span in spans]
        arrays = {
            "labels": np.repeat(np.array(numbers, np.int64), [span.count for span in spans]),
            "indices": np.concatenate([np.array(span.indices, np.int64) for span in spans]),
            "about": np.array(json.dumps({"notice": NOTICE, **to_told(plan.to_record())})),
        }
        for name, array in arrays.items():
            with _npy(archive, name) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _npy(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    return archive.open(f"{name}.npy", "w", force_zip64=True)  # size still unknown


SHARDS = {"tar": tar_shard, "npz": npz_shard}
