"""The outcome of a preparation: items with their subjects and groups, and rejects."""

import dataclasses
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset_records import ClassTally, Item, NearDuplicate, Reject, Shade
from scangan.artifacts.split import together
from scangan.core.class_folders import Refused
from scangan.core.counted import counted
from scangan.preprocessing.duplicates import Leak, Pair, leaks, near_duplicates
from scangan.preprocessing.journal import FileLine, Journal, read_file_line

Images = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


@dataclasses.dataclass
class Outcome:
    """The items of a preparation in the order of its files.

    What must be compared is in arrays with a number for each item. The rest is read from the journal as
    needed, as there may be millions.
    """

    journal: Journal
    classes: tuple[str, ...]  # those with a scan, in order
    labels: Numbers  # indices into `classes`
    subject_names: list[str]
    subjects: Numbers  # indices into `subject_names`; -1 if unknown
    duplicate_group: Numbers
    hashes: npt.NDArray[np.uint64]  # [N, 3], perceptual
    synthetic: npt.NDArray[np.bool_]
    files: Numbers  # numbers of the files
    at: Numbers  # offset of the file's line in the journal
    place: Numbers  # of the frame in that line
    groups: Numbers  # -1 before `group`
    joined: list[tuple[int, int]] = dataclasses.field(default_factory=list)  # of one subject

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.labels)

    def items(self, indices: Iterable[int] | None = None) -> Iterator[Item]:
        """Read items, by default all."""
        with self.journal.text_file.open("rb") as text:
            read_at = -1
            for n in range(len(self)) if indices is None else indices:
                if self.at[n] != read_at:
                    read_at = int(self.at[n])
                    line = read_file_line(text, read_at)
                yield self._item(n, line)

    def _item(self, n: int, line: FileLine) -> Item:
        frame = line.frames[self.place[n]]
        return Item(
            file=line.file,
            sha256=str(line.sha256),  # None only if nothing could be read
            class_name=line.class_name,
            subject=self.subject_names[self.subjects[n]] if self.subjects[n] >= 0 else None,
            frame=frame.frame,
            duplicate_group=int(self.duplicate_group[n]),
            window=frame.window,
            perceptual_hash=frame.perceptual_hash,
            enlarged=frame.enlarged,
            aspect=frame.aspect,
            blank=frame.blank,
            synthetic=bool(self.synthetic[n]),
            notes=frame.notes,
            group=int(self.groups[n]),
        )

    def take(self, indices: Numbers) -> "Outcome":
        """Return some of the items, with duplicate groups as indices into these."""
        chosen = {
            field.name: getattr(self, field.name)[indices]
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        chosen["duplicate_group"] = _first_with(chosen["duplicate_group"])
        return dataclasses.replace(self, **chosen)

    def group(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Set the group of each item, which a split keeps in one subset.

        Scans of one subject or file, copies, and the `pairs` of items that show the same share a group.
        """
        pairs = [*pairs, *self.joined]
        self.groups = together(self.subjects, self.files, self.duplicate_group, pairs=pairs)

    @property
    def copies(self) -> int:
        """Number of items whose file has the same bytes as an earlier one."""
        return int((self.duplicate_group != np.arange(len(self))).sum())


def _first_with(numbers: Numbers) -> Numbers:
    """Return for each item the index of the first with the same number."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def outcome_of(journal: Journal, synthetic: frozenset[str] = frozenset()) -> Outcome:
    """Turn the lines of a journal into items.

    Files in `synthetic` count as synthetic even if they are not marked so.
    """
    classes, kinds = dict[str, int](), dict[tuple[tuple[str | None, ...], str | None], int]()
    labels, kind, files, frames, at, place = (array("q") for _ in range(6))
    sha256, hashes, made_up = bytearray(), bytearray(), bytearray()
    dropped: list[tuple[str, int]] = []  # subjects given to files without items, and these files
    for number, (offset, line) in enumerate(journal.file_lines()):
        sha256 += bytes.fromhex(line.sha256 or "00" * 32)  # without, it has no items
        if line.given and line.sha256 and not line.frames:
            dropped.append((line.given, number))
        for n, frame in enumerate(line.frames):
            labels.append(classes.setdefault(line.class_name, len(classes)))
            kind.append(kinds.setdefault((frame.identifiers, line.given), len(kinds)))
            files.append(number)
            frames.append(frame.frame)
            at.append(offset)
            place.append(n)
            hashes += bytes.fromhex(frame.perceptual_hash)
            made_up.append(frame.synthetic or line.file in synthetic)
    subject_of = name_subjects([told for told, _ in kinds], [given for _, given in kinds])
    names = {name: n for n, name in enumerate(dict.fromkeys(filter(None, subject_of)))}
    subjects = np.array([names[name] if name else -1 for name in subject_of], np.int64)
    order = sorted(classes)
    content = np.unique(np.frombuffer(sha256, "S32"), return_inverse=True)[1]
    made = Outcome(
        journal,
        classes=tuple(order),
        labels=np.array([order.index(name) for name in classes], np.int64)[labels],
        subject_names=list(names),
        subjects=subjects[kind],
        duplicate_group=_first_with(content[files] * (max(frames, default=0) + 1) + frames),
        hashes=np.frombuffer(hashes, ">u8").reshape(-1, 3).astype(np.uint64),
        synthetic=np.frombuffer(made_up, bool),
        files=np.array(files),
        at=np.array(at),
        place=np.array(place),
        groups=np.full(len(labels), -1),
    )
    if dropped:
        item_of = dict(zip(*np.unique(content[made.files], return_index=True), strict=True))
        item_with = dict(zip(*np.unique(made.subjects, return_index=True), strict=True))
        made.joined = [
            (int(item_with[names[given]]), int(item_of[content[number]]))
            for given, number in dropped
            if given in names and content[number] in item_of
        ]
    return made


def rejects_of(journal: Journal, refused: Iterable[Refused]) -> Iterator[Reject]:
    """Return the `refused` files, which were not read, and the rejects of the journal."""
    for file, name, why in refused:
        yield Reject(file=file, class_name=name, reason=why)
    for _, line in journal.file_lines():
        for number, reason in line.refused:
            yield Reject(file=line.file, class_name=line.class_name, reason=reason, frame=number)


def refusals(rejects: Iterable[Reject]) -> str:
    """How many rejects there are, and the most frequent reason."""
    files = {(each.file, each.reason) for each in rejects}
    reason, count = Counter(reason for _, reason in sorted(files)).most_common(1)[0]
    refused = len({file for file, _ in files})
    return f"{counted(refused, 'file')} refused, {count} of them: {reason}"


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


def tally(
    files: Counter[str], kept: Counter[str], rejects: Iterable[Reject]
) -> dict[str, ClassTally]:
    """Count the files found, the scans kept and the rejects of each class."""
    refused = Counter(each.class_name for each in rejects if each.class_name is not None)
    return {
        name: ClassTally(files=files[name], kept=kept[name], refused=refused[name])
        for name in sorted({*files, *kept, *refused})
    }


class Oddities(NamedTuple):
    """Numbers of scans that were made square, that have notes, and that are nearly black or white."""

    squared: int
    noted: int
    blank: dict[str, dict[Shade, int]]  # by class


def count_odd(items: Iterable[Item]) -> Oddities:
    """Count the scans that one may want to look at."""
    squared = noted = 0
    blank: defaultdict[str, Counter[Shade]] = defaultdict(Counter)
    for item in items:
        squared += item.aspect != 1
        noted += bool(item.notes)
        if item.blank:
            blank[item.class_name][item.blank] += 1
    return Oddities(squared, noted, {name: dict(blank[name]) for name in sorted(blank)})


def find_near_duplicates(images: Images, made: Outcome) -> tuple[list[Pair], list[Leak], int]:
    """Find near-duplicates: all pairs, those that may leak, and the number not compared."""
    # Scans of one class and subject, and slices of one file, are similar by nature.
    unnamed = len(made.subject_names) + made.files
    natural = np.where(made.subjects >= 0, made.subjects, unnamed)
    natural = natural * len(made.classes) + made.labels
    pairs, left_off = near_duplicates(images, made.hashes, natural)
    return pairs, leaks(pairs, made.labels, made.subjects), left_off


def told_leaks(found: Sequence[Leak], made: Outcome) -> Iterator[NearDuplicate]:
    """Return the lines of ``near_duplicates.jsonl``."""
    items = made.items(n for leak in found for n in (leak.pair.first, leak.pair.second))
    for leak, one, two in zip(found, items, items, strict=True):
        yield NearDuplicate(
            files=(one.file, two.file),
            frames=(one.frame, two.frame),
            classes=(one.class_name, two.class_name),
            across=leak.across,
            differing_bits=leak.pair.distance,
            correlation=round(leak.pair.correlation, 4),
        )
