"""One reader under atheris, for as long as libFuzzer is told; `__main__` starts it.

``python -m fuzz.target KIND FINDINGS [libFuzzer's options] CORPUS``
"""

import contextlib
import os
import random
import sys
from pathlib import Path

import atheris

READ_BY = {"dicom": ["pydicom"], "nifti": ["nibabel"]}  # written in Python, so worth watching
kind, folder = sys.argv[1], Path(sys.argv[2])
with atheris.instrument_imports(include=["scangan", *READ_BY.get(kind, [])]):
    from . import damage, damage_records
    from .findings import keep, symptom
    from .promises import Broken, check
    from .seeds import files

    for seed in files(kind):  # a reader is imported when the first file of its format is met
        with contextlib.suppress(Exception):
            check(kind, seed)

DAMAGE = {
    name: getattr(damage, name, None) or getattr(damage_records, name)
    for name in ("png", "jpeg", "tiff", "bmp", "nifti", "dicom", "model", "labels", "suspects")
}
TERMINAL = os.memfd_create("terminal")  # takes what a reader would write on it


def one_file(data):
    """Check one file; what it breaks is kept, and the fuzzing goes on."""
    if not os.path.sameopenfile(2, TERMINAL):
        os.dup2(TERMINAL, 1)
        os.dup2(TERMINAL, 2)
    try:
        check(kind, data)
        sys.stdout.flush()
        if size := os.fstat(TERMINAL).st_size:
            written = os.pread(TERMINAL, min(size, 500), 0)
            raise Broken(f"writes to the terminal: {written!r}")
    except Exception as error:  # whatever a reader lets out is what is looked for
        same, told = symptom(error)
        if keep(folder, kind, data, same, told):
            report.write(f"FOUND {told}\n")
            report.flush()
    finally:
        os.ftruncate(TERMINAL, 0)
        os.lseek(TERMINAL, 0, os.SEEK_SET)


def damaged(data, most, seed):
    """Half the time a change to the bytes as they are, half the time one to what they say."""
    rng = random.Random(seed)

    def mutate(part):
        return atheris.Mutate(part, max(len(part) + 64, 8))

    if rng.random() < 0.5:
        # What went through several hands cannot always be taken apart; an error here ends the run.
        with contextlib.suppress(Exception):
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                data = DAMAGE[kind](data, rng, mutate)
            if len(data) <= most:
                return data
    return atheris.Mutate(data, most)


report = os.fdopen(os.dup(2), "w")
# libFuzzer keeps a terminal of its own, which -close_fd_mask=3 asks it to make first.
atheris.Setup([sys.argv[0], "-close_fd_mask=3", *sys.argv[3:]], one_file, custom_mutator=damaged)
atheris.Fuzz()
