"""The outcome of a preparation: items with their subjects and groups, and rejects."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from scangan.artifacts.dataset_records import ClassTally, Item, NearDuplicate, Reject, Shade
from scangan.artifacts.split import together
from scangan.core.class_folders import Refused
from scangan.core.counted import counted
from scangan.preprocessing.duplicates import leaks, near_duplicates
from scangan.preprocessing.journal import FileLine

Images = npt.NDArray[np.uint8]


@dataclasses.dataclass
class Outcome:
    """The items and rejects of a preparation, in the order of its files."""

    items: list[Item]
    rejects: list[Reject]
    classes: tuple[str, ...] = ()  # those with a scan, in order
    joined: list[tuple[int, int]] = dataclasses.field(default_factory=list)  # items of one subject

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Labels of the items: int64 [N], indices into `classes`."""
        number = {name: n for n, name in enumerate(self.classes)}
        return np.array([number[item.class_name] for item in self.items], np.int64)

    def group(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Set the group of each item, which a split keeps in one part.

        Scans of one subject or file, copies, and the `pairs` of items that show the same share a group.
        """
        groups = together(
            [item.subject for item in self.items],
            [item.file for item in self.items],
            [item.duplicate_group for item in self.items],
            pairs=[*pairs, *self.joined],
        ).tolist()
        self.items = [
            replace(item, group=group) for item, group in zip(self.items, groups, strict=True)
        ]

    @property
    def copies(self) -> int:
        """Number of items whose file has the same bytes as an earlier one."""
        return sum(item.duplicate_group != n for n, item in enumerate(self.items))

    @property
    def refusals(self) -> str:
        """How many rejects there are, and the most frequent reason."""
        files = {(each.file, each.reason) for each in self.rejects}
        reason, count = Counter(reason for _, reason in sorted(files)).most_common(1)[0]
        refused = len({file for file, _ in files})
        return f"{counted(refused, 'file')} refused, {count} of them: {reason}"


def outcome_of(
    lines: Iterable[FileLine], refused: Iterable[Refused], synthetic: frozenset[str] = frozenset()
) -> Outcome:
    """Turn the lines of a journal into items and rejects.

    `refused` lists files that were rejected without being read. Files in `synthetic` count as
    synthetic even if they are not marked so.
    """
    made = Outcome(
        [], [Reject(file=file, class_name=name, reason=why) for file, name, why in refused]
    )
    lines = list(lines)
    told = [frame.identifiers for line in lines for frame in line.frames]
    given = [line.given for line in lines for _ in line.frames]
    subjects = iter(name_subjects(told, given))
    first_with: dict[tuple[str, int], int] = {}
    for line in lines:
        for number, reason in line.refused:
            made.rejects.append(
                Reject(file=line.file, class_name=line.class_name, reason=reason, frame=number)
            )
        for frame in line.frames:
            sha256 = str(line.sha256)  # None only if nothing could be read
            made.items.append(
                Item(
                    file=line.file,
                    sha256=sha256,
                    class_name=line.class_name,
                    subject=next(subjects),
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
    made.joined = list(_joined(lines, made.items))
    return made


def _joined(lines: Sequence[FileLine], items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    """Pair items of two subjects that a copy shows to be one, though the copy was dropped."""
    of_file = {item.sha256: n for n, item in reversed(list(enumerate(items)))}
    of_subject = {item.subject: n for n, item in reversed(list(enumerate(items)))}
    for line in lines:
        if line.given in of_subject and not line.frames and line.sha256 in of_file:
            yield of_subject[line.given], of_file[line.sha256]


def name_subjects(
    told: Sequence[Sequence[str | None]], given: Sequence[str | None] = ()
) -> list[str | None]:
    """Determine the subject of each scan: its first identifier, as the first is the most reliable.

    A scan without a first identifier takes the subject of those that share its second or a later
    one, but only if these agree: not all scans named "anonymous" are of one patient.

    Parameters
    ----------
    told : sequence
        The `Scan.identifiers` of each scan.
    given : sequence, optional
        The subject of each scan that a table or a pattern named. Scans with the same first identifier
        take it, too, if it is the only one.
    """
    marks = [[(place, mark) for place, mark in enumerate(each) if mark] for each in told]
    given = given or [None] * len(marks)
    of_first = defaultdict[tuple[int, str], set[str]](set)
    for name, each in zip(given, marks, strict=True):
        if name and each:
            of_first[each[0]].add(name)
    subjects: list[str | None] = []
    for name, each in zip(given, marks, strict=True):
        named_so = of_first[each[0]] if each else set()
        sole_name = next(iter(named_so)) if len(named_so) == 1 else None
        subjects.append(name or sole_name or (each[0][1] if each else None))
    for least in (1, 2):  # index of the first identifier that the scans have
        owners = defaultdict[tuple[int, str], set[str | None]](set)
        named = [n for n, m in enumerate(marks) if m and (m[0][0] < least or given[n])]
        others = [n for n, m in enumerate(marks) if m and m[0][0] == least and not given[n]]
        while named:  # each subject found may determine others
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
    """Count the files found, the scans kept and the rejects of each class."""
    kept = Counter(item.class_name for item in made.items)
    refused = Counter(each.class_name for each in made.rejects if each.class_name is not None)
    return {
        name: ClassTally(files=files[name], kept=kept[name], refused=refused[name])
        for name in sorted({*files, *kept, *refused})
    }


def blank_by_class(items: list[Item]) -> dict[str, dict[Shade, int]]:
    """Count the scans of each class that are nearly black or white in their window."""
    counts: defaultdict[str, Counter[Shade]] = defaultdict(Counter)
    for item in items:
        if item.blank:
            counts[item.class_name][item.blank] += 1
    return {name: dict(counts[name]) for name in sorted(counts)}


def find_near_duplicates(
    images: Images, items: list[Item]
) -> tuple[list[tuple[int, int]], list[NearDuplicate], int]:
    """Find near-duplicates: all pairs, those that may leak, and the number not compared."""
    # Scans of one class and subject, and slices of one file, are similar by nature.
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
