"""Make a blind reader study: a page that shows real and synthetic scans, and the key to it."""

import base64
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset import PreparedDataset, differing_options
from scangan.artifacts.reader_study import FORMAT, StudyKey, StudyScan
from scangan.artifacts.records import write_record
from scangan.core.counted import counted
from scangan.core.errors import USAGE, GenerationError
from scangan.core.files import write_bytes
from scangan.core.png import encode_png
from scangan.runtime.demo import filled
from scangan.runtime.generator import ScanGenerator

LEAST, MOST = 10, 1000
Images = npt.NDArray[np.uint8]


def write_study(
    generator: ScanGenerator, real: PreparedDataset, name: str, count: int, out: Path, key: Path
) -> None:
    """Write the page of a study and its key.

    Half of the scans are real, each of another patient or file. Each class has as many real scans as
    synthetic ones, and their order is random. The page says nothing about which is which: a scan's id
    is a random number, and only the key knows it.

    Parameters
    ----------
    generator : ScanGenerator
        The model.
    real : PreparedDataset
        Real scans of the model's size, preferably ones that it was not trained on.
    name : str
        The model's name.
    count : int
        Number of scans, 10 to 1,000; even.
    out, key : Path
        The HTML file, and the JSON file for whoever runs the study.

    Raises
    ------
    GenerationError
        There are too few real scans, or they are of another size or other classes.
    """
    if not LEAST <= count <= MOST or count % 2:
        raise GenerationError(
            f"--count {count} must be even, from {LEAST} to {MOST}", exit_code=USAGE
        )
    if real.size != generator.card.size:
        raise GenerationError(
            f"{real.path} has scans of {real.size} pixels, and {name} makes {generator.card.size}; "
            f"prepare them again with --size {generator.card.size}"
        )
    classes = generator.classes or (None,)
    rng = np.random.default_rng(secrets.randbits(128))
    seed = secrets.randbits(64)
    shown: list[tuple[StudyScan, Images]] = []
    quotas = _quotas(count // 2, len(classes))
    of_classes = _choose(real, classes, quotas, count, rng)
    for label, wanted, chosen in zip(classes, quotas, of_classes, strict=True):
        items = ((real.items[n], real.images[n]) for n in chosen)
        shown += [(_scan(True, label, f"{i.file}#{i.frame}"), image) for i, image in items]
        made = generator.sample(wanted, label, seed=seed) if wanted else ()
        shown += [(_scan(False, label, str(n)), image) for n, image in enumerate(made)]
    order = [shown[n] for n in rng.permutation(len(shown))]
    told = StudyKey(
        format_version=FORMAT,
        study=secrets.token_hex(8),
        model=generator.sha256,
        name=name,
        seed=seed,
        scans=tuple(scan for scan, _ in order),
    )
    page = _page(told, [image for _, image in order])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_record(key, told)
    try:
        write_bytes(out, page.encode())
    except BaseException:
        key.unlink()  # a key without its page would be taken for that of an older one
        raise


def doubts(generator: ScanGenerator, real: PreparedDataset) -> list[str]:
    """Return why a study with these real scans may say little, in sentences."""
    ours, theirs = generator.card.preprocessing, real.info.options
    found = [
        f"{real.path} was prepared with {key} {theirs[key]}, and the model's scans with {ours[key]}; "
        f"readers may see that"
        for key in differing_options(ours, theirs)
    ]
    if real.fingerprint == generator.card.dataset_fingerprint:
        found.append(f"{generator.name} was trained on {real.path}; use scans that were held back")
    return found


def _quotas(half: int, classes: int) -> list[int]:
    """Divide the scans of one kind among the classes, as evenly as it goes."""
    return [half // classes + (number < half % classes) for number in range(classes)]


def _choose(
    real: PreparedDataset,
    classes: Sequence[str | None],
    quotas: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Choose real scans of each class, no two that belong together (same patient, file or picture).

    A patient may have scans of several classes and is shown in one. Who is shown in which is a matching
    of patients to places in the study, found by augmenting paths (Kuhn 1955).
    """
    there: list[dict[int, int]] = []  # for each class, a scan of each group, both at random
    for label in classes:
        of_class = ~real.synthetic
        if label is not None:
            number = real.classes.index(label) if label in real.classes else -1
            of_class &= real.labels == number
        rows = rng.permutation(np.flatnonzero(of_class))
        of_group = {int(real.groups[row]): int(row) for row in rows}
        # In an order of their own: that of the rows would put patients with many scans first.
        there.append(
            {group: of_group[group] for group in rng.permutation(sorted(of_group)).tolist()}
        )
    places = [k for k, wanted in enumerate(quotas) for _ in range(wanted)]
    shown: dict[int, int] = {}  # place in the study by group

    def find(place: int, tried: set[int]) -> bool:
        for group in there[places[place]]:
            if group not in tried:
                tried.add(group)
                if group not in shown or find(shown[group], tried):
                    shown[group] = place
                    return True
        return False

    for place, k in enumerate(places):
        if not find(place, set()):
            raise GenerationError(_too_few(real, classes[k], len(there[k]), quotas[k], count))
    chosen: list[list[int]] = [[] for _ in classes]
    for group, place in shown.items():
        chosen[places[place]].append(there[places[place]][group])
    return chosen


def _too_few(real: PreparedDataset, label: str | None, groups: int, wanted: int, count: int) -> str:
    which = "" if label is None else f" of {label}"
    if label is not None and label not in real.classes:
        has = ", ".join(real.classes) or "none"
        return f"{real.path} has no class {label}, which the model makes; its classes: {has}"
    also = ", but some of them are shown in other classes" if groups >= wanted else ""
    smaller = "give a smaller --count, or more scans" if count > LEAST else "give more scans"
    return (
        f"{real.path} has {counted(groups, 'real scan')}{which} of different patients or files{also}, and "
        f"a study of {count} shows {wanted}; {smaller}"
    )


def _scan(real: bool, label: str | None, source: str) -> StudyScan:
    return StudyScan(id=secrets.token_hex(8), real=real, class_name=label, source=source)


def _page(key: StudyKey, images: list[Images]) -> str:
    scans = [
        {
            "id": scan.id,
            "class": scan.class_name,
            "png": base64.b64encode(encode_png(np.asarray(image))).decode(),
        }
        for scan, image in zip(key.scans, images, strict=True)
    ]
    facts = {"study": key.study, "format_version": FORMAT, "scans": scans}
    slots = {"count": str(len(scans)), "facts": json.dumps(facts).replace("<", "\\u003c")}
    return filled("study", slots, images=True)
