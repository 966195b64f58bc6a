"""The files of a privacy evaluation: ``result.json``, ``suspects.jsonl`` and ``suspects.png``."""

from pathlib import Path

import numpy as np

from scangan.artifacts.records import write_record, write_records
from scangan.artifacts.suspects import SUSPECTS
from scangan.core.counted import counted
from scangan.core.files import write_bytes
from scangan.core.png import encode_png
from scangan.core.sheet import contact_sheet
from scangan.evaluation.file_names import PICTURE, RESULT
from scangan.evaluation.privacy_result import PrivacyResult
from scangan.evaluation.scan_set import ScanSet

NOTICE = "Left: synthetic image made by a generative model. Right: scan of a patient."


def write_privacy(out: Path, result: PrivacyResult, train: ScanSet, synthetic: ScanSet) -> None:
    """Write what `privacy` found for these two sets to a folder.

    ``suspects.jsonl`` has a line for each suspect, the most similar first. ``suspects.png`` shows the
    24 most similar pairs, so it shows real scans: treat it as you treat them.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_records(out / SUSPECTS, result.suspects)
    write_bytes(out / PICTURE, picture(result, train, synthetic))
    write_record(out / RESULT, result)


def picture(result: PrivacyResult, train: ScanSet, synthetic: ScanSet) -> bytes:
    """Draw the most similar pairs side by side, as a PNG: suspects, or others if there are none."""
    size = min(train.size, synthetic.size)
    few = result.suspects[: len(result.nearest)]
    pairs = few or result.nearest
    left = synthetic.take(np.array([pair.index for pair in pairs])).resized(size).images
    right = train.take(np.array([pair.train_index for pair in pairs])).resized(size).images
    rows = [
        (f"{n + 1}.  similarity {pair.similarity:.3f}", np.stack(both))
        for n, (pair, *both) in enumerate(zip(pairs, left, right, strict=True))
    ]
    title = (
        f"{counted(len(result.suspects), 'suspect')}: synthetic (left), training scan (right)"
        if few
        else "No suspects. The most similar pairs: synthetic (left), training scan (right)"
    )
    return encode_png(contact_sheet(rows, title), {"Comment": NOTICE})
