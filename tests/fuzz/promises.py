"""What must hold whatever the bytes of a file: something usable, or one true line."""

import json
import re
import tempfile
import unicodedata
import zlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from scangan.artifacts.card import ModelCard
from scangan.artifacts.latents import LARGEST_INDEX, Draw
from scangan.artifacts.modelfile import read_model_file
from scangan.core.class_names import check_alike
from scangan.core.errors import GenerationError, Rejected, ScanganError
from scangan.core.formats import sniff
from scangan.preprocessing.labels import assign, class_of, read_rows
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.raster import MOST_PIXELS
from scangan.preprocessing.reading.reader import read_scans
from scangan.runtime.exclude import suspect_indices
from scangan.runtime.info import card_table

DTYPES = {"uint8", "uint16", "int16", "int32", "uint32", "float32"}
# Python's name of what went wrong inside, where a reason should say what is wrong with the file.
ELEMENT = re.compile(r"\([0-9a-f]{4},[0-9a-f]{4}\) is ")
ADVICE = re.compile(r"; (copy|correct|convert|save|split|shrink|choose|prepare)\b|: --window")
EXCEPTION = re.compile(r"\b(\w+\.)+error\b|\b\w*(Error|Exception|Warning|StopIteration)\b")
LONGEST = 200
OPTIONS = (
    PrepOptions(size=16),
    PrepOptions(size=1024),
    PrepOptions(size=16, fit="crop", axis="coronal"),
    PrepOptions(size=64, fit="stretch", axis="sagittal", volume=0),
    PrepOptions(size=32, pixel_spacing=1.5, slices="0.2:0.8"),
)
CLASSES, MODEL = ("a", "b"), "a" * 64  # of the model that suspects are of
# What the rows of a table may mean.
FILES = ["a.png", "b.png", "sub/a.png", "sub/b.nii.gz", "c;d.dcm", "c.dcm", "x/sub/a.png", "é.png"]


class Broken(AssertionError):
    """A promise that a file breaks: which one, and how it looks."""

    def __init__(self, what, look=""):
        super().__init__(f"{what}: {look!r}" if look else what)
        self.what = what


def check(kind, data):
    """Read a file of any bytes as `kind`; `Broken`, or whatever a reader lets out, is a fault."""
    if kind == "model":
        check_model(data)
    elif kind == "labels":
        check_labels(data)
    elif kind == "suspects":
        check_suspects(data)
    elif _format(data) in (kind, None):  # what became another format is for the fuzzer of that
        # The options follow from the bytes, so that a file alone repeats what happened.
        check_scans(data, OPTIONS[zlib.crc32(data) % len(OPTIONS)])


def check_scans(data, options):
    """Read all scans of a file and check each; how many there are."""
    scans = 0
    try:
        for _, scan in read_scans(data, options.wanted()):
            if isinstance(scan, Rejected):
                check_reason(scan)
            else:
                check_scan(scan)
                scans += 1
    except Rejected as reason:
        check_reason(reason)
    return scans


def check_scan(scan):
    """What `Scan` says of itself, and what `read_scans` adds."""
    pixels = scan.pixels
    _must(pixels.ndim == 2, f"pixels of {pixels.ndim} dimensions")
    _must(0 < pixels.size <= MOST_PIXELS, "a scan without pixels, or too large")
    _must(pixels.dtype.name in DTYPES and pixels.dtype.isnative, f"pixels of {pixels.dtype}")
    _must(np.isfinite(pixels).all(), "pixels that are not finite")
    _must(pixels.min() < pixels.max(), "a scan whose pixels are all the same")
    _must(np.isfinite([scan.slope, scan.intercept]).all(), "a slope that is not finite")
    _must(scan.slope != 0, "a slope of 0")
    _must(scan.window is None or np.isfinite(scan.window).all(), "a window that is not finite")
    _must(scan.window is None or scan.window[0] < scan.window[1], "a window without width")
    spacing = scan.spacing or (1, 1)
    _must(np.isfinite(spacing).all() and min(spacing) > 0, "a spacing that cannot be")


def check_reason(reason):
    """A reason is one short line, in the words of the format and not in those of Python."""
    text = str(reason)
    _must_be_line(text)
    _must(len(text) < LONGEST, f"a reason of over {LONGEST} characters", text[:200])
    _must(not EXCEPTION.search(text), "a reason that names an exception", text)
    broken = text.startswith(("damaged", "truncated", "declares")) or ELEMENT.search(text)
    _must(not broken or ADVICE.search(text), "a reason without what to do", text)


def check_model(data):
    """A model file is read and laid out, or refused in a line; as itself, and its graph let be."""
    path = _saved(data, "x.onnx")
    for modified in (False, True):
        try:
            file = read_model_file(path, allow_modified=modified)
            table = card_table(file)
        except GenerationError as error:
            check_reason(str(error).replace(str(path), "x.onnx"))
        else:
            _must(ModelCard.from_json(file.card.to_json()) == file.card, "a card that changes")
            _must(
                not any(map(_steers, table.split("\n"))), "a table that steers the terminal", table
            )
            check_card(file.card)


def check_card(card):
    """Of a card, what generating scans relies on."""
    _must(all(type(n) is int for n in (card.latent, card.size, card.bit_depth)), "a size: no int")
    _must(1 <= card.latent <= 4096 and 8 <= card.size <= 4096, "a card of impossible sizes")
    _must(all(card.classes) and not any(map(_steers, card.classes)), "a class without a name")
    _must(len(set(card.classes)) == len(card.classes), "a class named twice")


def check_labels(data):
    """A table is read, each row means a file and a class or is refused in a line."""
    path = _saved(data, "labels.csv")
    try:
        rows = read_rows(path, ("file", "class", "subject"))
    except ScanganError as error:
        _must_be_line(str(error).replace(str(path), "labels.csv"))
        return
    of_file, rejects = assign(rows, FILES, "labels.csv")
    _must(set(of_file) <= set(FILES), "a row means a file that is not there")
    _must(sum(map(len, of_file.values())) + len(rejects) == len(rows), "a row is lost")
    for reject in rejects:
        check_reason(reject.reason)
    classes = set()
    for file in of_file.values():
        for multi_label in ("error", "first", "join"):
            name, _, reason = class_of(file, multi_label, "labels.csv")
            _must((name is None) == bool(reason), "neither a class nor a reason, or both")
            if name is None:
                check_reason(reason)
            else:
                classes.add(name)
    try:
        check_alike(sorted(classes), Path("labels.csv"))
    except ScanganError as error:
        _must_be_line(str(error))


def check_suspects(data):
    """Suspects are read, and name scans that a request can leave out, or are refused in a line."""
    path = _saved(data, "suspects.jsonl")
    for draw in (Draw(), Draw(truncation=0.5), Draw(seed=2), Draw(paired=True)):
        for classes in (CLASSES, ()):
            model = SimpleNamespace(
                path=Path("m.onnx"), sha256=MODEL, card=SimpleNamespace(classes=classes)
            )
            try:
                found = suspect_indices(path, model, draw)
            except GenerationError as error:
                text = str(error).replace(str(path), "suspects.jsonl")
                _must_be_line(text)
                _must(len(text) < 2 * LONGEST, "an error without end", text[:200])
                continue
            told = {}
            for line in filter(None, data.splitlines()):
                scan = json.loads(line).get("origin") or {"model": None}
                drawn = scan.get("seed"), scan.get("truncation", 1.0), scan.get("paired", False)
                if scan["model"] == MODEL and drawn == (draw.seed, draw.truncation, draw.paired):
                    number = classes.index(scan["class"]) if classes else None
                    told.setdefault(number, set()).add(scan["index"])
            _must(found == told, "suspects that are lost, or are none", str(found)[:200])
            indices = [n for each in found.values() for n in each]
            _must(all(type(n) is int for n in indices), "not an index")
            _must(all(0 <= n <= LARGEST_INDEX for n in indices), "an index out of range")


def _format(data):
    try:
        return sniff(data)
    except Rejected:
        return None


def _must(holds, otherwise, look=""):
    if not holds:
        raise Broken(otherwise, look)


def _must_be_line(text):
    _must(text and not _steers(text), "a reason that is no line", text[:200])


def _steers(text):
    """Whether it breaks the line, or does anything to the terminal but write."""
    return any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


@cache
def _folder():
    return tempfile.TemporaryDirectory()


def _saved(data, name):
    path = Path(_folder().name) / name
    path.write_bytes(data)
    return path
