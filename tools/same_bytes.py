"""Rewrite an sdist so that its bytes follow from its content: ``python tools/same_bytes.py FILE.tar.gz``.

setuptools writes the time of day, and the name of whoever builds, into it.
"""

import gzip
import os
import sys
import tarfile
from pathlib import Path


def main() -> None:
    """Rewrite the file in place; times become ``SOURCE_DATE_EPOCH``."""
    file, epoch = Path(sys.argv[1]), int(os.environ["SOURCE_DATE_EPOCH"])
    beside = file.with_suffix(".part")
    with (
        tarfile.open(file) as before,
        beside.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=epoch, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in sorted(before.getmembers(), key=lambda m: m.name):
            member.mtime, member.pax_headers = epoch, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            after.addfile(member, before.extractfile(member) if member.isfile() else None)
    beside.replace(file)


if __name__ == "__main__":
    main()
