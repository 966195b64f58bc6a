"""What a preparation made of its files: items with their subjects and groups, and rejects."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from scangan.artifacts.dataset_records import (
    ClassTally,
    Item,
    NearDuplicate,
    Reject,
    Shade,
)
from scangan.artifacts.split import together
from scangan.core.class_folders import Refused
from scangan.preprocessing.duplicates import leaks, near_duplicates
from scangan.preprocessing.journal import FileLine

Images = npt.NDArray[np.uint8]


@dataclasses.dataclass
class Outcome:
    """What a run made and refused, in the order of its files."""

    items: list[Item]
    rejects: list[Reject]
    classes: tuple[str, ...] = ()  # that have a scan, in order

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [N], indices into `classes`."""
        number = {name: n for n, name in enumerate(self.classes)}
        return np.array([number[item.class_name] for item in self.items], np.int64)

    def group(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Write into each item its group: what a split never tears apart.

        Scans of one subject or one file, copies, and the `pairs` of items that show the same.
        """
        groups = together(
            [item.subject for item in self.items],
            [item.file for item in self.items],
            [item.duplicate_group for item in self.items],
            pairs=pairs,
        ).tolist()
        self.items = [
            replace(item, group=group) for item, group in zip(self.items, groups, strict=True)
        ]

    @property
    def copies(self) -> int:
        """How many items have the same bytes as an earlier one."""
        return sum(item.duplicate_group != n for n, item in enumerate(self.items))


def outcome_of(
    lines: Iterable[FileLine],
    refused: Iterable[Refused],
    synthetic: frozenset[str] = frozenset(),
) -> Outcome:
    """Turn the lines of a journal into items and rejects.

    What is in `refused` was never tried. The files in `synthetic` are synthetic, whatever they say
    themselves.
    """
    made = Outcome(
        [], [Reject(file=file, class_name=name, reason=why) for file, name, why in refused]
    )
    lines = list(lines)
    told = [frame.identifiers for line in lines if not line.given for frame in line.frames]
    subjects = iter(name_subjects(told))
    first_with: dict[tuple[str, int], int] = {}
    for line in lines:
        for number, reason in line.refused:
            made.rejects.append(
                Reject(file=line.file, class_name=line.class_name, reason=reason, frame=number)
            )
        for frame in line.frames:
            sha256 = str(line.sha256)  # None only where nothing could be read
            made.items.append(
                Item(
                    file=line.file,
                    sha256=sha256,
                    class_name=line.class_name,
                    subject=line.given or next(subjects),
                    frame=frame.frame,
                    duplicate_group=first_with.setdefault((sha256, frame.frame), len(made.items)),
                    window=frame.window,
                    perceptual_hash=frame.perceptual_hash,
                    enlarged=frame.enlarged,
                    aspect=frame.aspect,
                    blank=frame.blank,
                    synthetic=frame.synthetic or line.file in synthetic,
                    notes=frame.notes,
                    group=None,
                )
            )
    made.classes = tuple(sorted({item.class_name for item in made.items}))
    return made


def name_subjects(told: Sequence[Sequence[str | None]]) -> list[str | None]:
    """Say which subject each scan is of: the first of its identifiers, which are of falling weight.

    A scan that lacks the first takes the subject of those that share its second, or a later one,
    unless these are several: all that are called "anonymous" are not one patient.

    Parameters
    ----------
    told : sequence
        Of each scan its `Scan.identifiers`.
    """
    marks = [[(place, mark) for place, mark in enumerate(each) if mark] for each in told]
    subjects = [each[0][1] if each else None for each in marks]
    for least in (1, 2):  # the place of the first identifier of the scans to be named
        owners = defaultdict[tuple[int, str], set[str | None]](set)
        named = [n for n, each in enumerate(marks) if each and each[0][0] < least]
        others = [n for n, each in enumerate(marks) if each and each[0][0] == least]
        while named:  # those found name others in turn
            for n in named:
                for mark in marks[n]:
                    owners[mark].add(subjects[n])
            named = []
            for n in others:
                sole = next((owners[mark] for mark in marks[n] if len(owners[mark]) == 1), None)
                if sole:
                    subjects[n] = next(iter(sole))
                    named.append(n)
            others = sorted({*others} - {*named})
    return subjects


def tally(files: Counter[str], made: Outcome) -> dict[str, ClassTally]:
    """Count for each class the files that were found, the scans kept, and what was refused."""
    kept = Counter(item.class_name for item in made.items)
    refused = Counter(each.class_name for each in made.rejects if each.class_name is not None)
    return {
        name: ClassTally(files=files[name], kept=kept[name], refused=refused[name])
        for name in sorted({*files, *kept, *refused})
    }


def blank_by_class(items: list[Item]) -> dict[str, dict[Shade, int]]:
    """Count of each class the scans that came out nearly black, or white, in their window."""
    counts: defaultdict[str, Counter[Shade]] = defaultdict(Counter)
    for item in items:
        if item.blank:
            counts[item.class_name][item.blank] += 1
    return {name: dict(counts[name]) for name in sorted(counts)}


def find_near_duplicates(
    images: Images, items: list[Item]
) -> tuple[list[tuple[int, int]], list[NearDuplicate], int]:
    """Find scans that show the same: all pairs, those that may leak, and how many went unseen."""
    # Scans of one class and subject, and slices of one file, are alike by nature.
    kind = [(item.class_name, item.subject or item.file) for item in items]
    number = {key: n for n, key in enumerate(dict.fromkeys(kind))}
    natural = np.array([number[key] for key in kind], np.int64)
    digits = bytes.fromhex("".join(item.perceptual_hash for item in items))
    hashes = np.frombuffer(digits, ">u8").reshape(-1, 3).astype(np.uint64)
    pairs, left_off = near_duplicates(images, hashes, natural)
    classes, subjects = [item.class_name for item in items], [item.subject for item in items]
    found = []
    for pair, across in leaks(pairs, classes, subjects):
        one, two = items[pair.first], items[pair.second]
        found.append(
            NearDuplicate(
                files=(one.file, two.file),
                frames=(one.frame, two.frame),
                classes=(one.class_name, two.class_name),
                across=across,
                differing_bits=pair.distance,
                correlation=round(pair.correlation, 4),
            )
        )
    return [(pair.first, pair.second) for pair in pairs], found, left_off
