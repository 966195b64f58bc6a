"""A folder of generated scans: its files, its manifest, and the request in ``request.json``."""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator

from msgspec import UNSET, UnsetType

from scangan.artifacts.latents import Draw
from scangan.artifacts.records import Record, to_record, to_told, write_record
from scangan.artifacts.request import SHARDED, Part, Request, Span
from scangan.core.address import Place
from scangan.core.class_names import normal, why_no_name
from scangan.core.errors import GenerationError, StoreError, fault_of
from scangan.core.files import read_text
from scangan.core.printable import quoted
from scangan.core.versions import why_newer

FORMAT_VERSION = 2
REQUEST, MANIFEST, SHEET, README = "request.json", "manifest.jsonl", "sheet.html", "README.md"
OLD_SHEET = "sheet.png"  # earlier versions put a picture among the data
SUFFIXES = {"png": ".png", "dicom": ".dcm", "tar": ".tar", "npz": ".npz"}
UNNAMED = "scan"  # folder for a model without classes
LONGEST = 200  # bytes in a folder name; file systems allow 255
# Readers of folders skip the first, and take the second for scans.
MISLEADING = re.compile(r"__.*|.*\.(png|jpe?g|bmp|gif|tiff?|webp|dcm|nii|npy|npz|tar|gz)")
# Reserved by Windows.
DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))}


class ScanRecord(Record, frozen=True, rename={"class_name": "class"}):
    """Where a scan comes from: all that is needed to make it again."""

    synthetic: bool
    model: str
    seed: int
    index: int
    class_name: str | None
    truncation: float | UnsetType = UNSET  # written unless it is 1
    paired: bool | UnsetType = UNSET  # written only if true


class ClassRecord(Record, frozen=True, rename={"class_name": "class"}):
    """The scans of one class in ``request.json``."""

    class_name: str | None
    folder: str
    number: int | None
    start: int
    count: int
    left_out: tuple[int, ...] | UnsetType = UNSET  # written only if there are any


class RequestRecord(Record, frozen=True):
    """The content of ``request.json``."""

    format_version: int
    model: str
    classes: tuple[ClassRecord, ...]
    seed: int
    truncation: float
    paired: bool
    format: str
    shard_size: int | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """The file of every scan of a request.

    Parameters
    ----------
    model : str
        SHA-256 of the model file.
    request : Request
        What to make.
    names : tuple of str or None
        Class name of each span.
    folders : tuple of str
        Folder of each span.
    """

    model: str
    request: Request
    names: tuple[str | None, ...]
    folders: tuple[str, ...]

    @classmethod
    def of(cls, model: str, classes: tuple[str, ...], request: Request) -> "Plan":
        """Plan a request to a model with these classes.

        Raises
        ------
        GenerationError
            The request names a class twice, or one that the model does not have.
        """
        numbers = [span.number for span in request.spans]
        there: set[int | None] = set(range(len(classes))) or {None}
        if not numbers or len(set(numbers)) < len(numbers) or not there.issuperset(numbers):
            raise GenerationError(
                f"a request takes each class once, from {sorted(map(str, there))}, not {numbers}"
            )
        names = tuple(None if n is None else classes[n] for n in numbers)
        folders = folder_names(classes)
        return cls(
            model, request, names, tuple(UNNAMED if n is None else folders[n] for n in numbers)
        )

    @property
    def sharded(self) -> bool:
        """Whether scans share files."""
        return self.request.format in SHARDED

    def position(self, number: int | None) -> int:
        """Return the position of a class's span among the spans."""
        return [span.number for span in self.request.spans].index(number)

    def file_name(self, which: int, index: int) -> str:
        """Return the path of a scan's file relative to the output, or of its member in a tar."""
        suffix = ".dcm" if self.request.format == "dicom" else ".png"
        return f"{self.folders[which]}/{index:09d}{suffix}"

    def shard_name(self, k: int) -> str:
        """Return the file name of shard `k`."""
        return f"scans-{k:06d}{SUFFIXES[self.request.format]}"

    def record(self, which: int, index: int) -> ScanRecord:
        """Return the record of a scan of span number `which`, for its own file and the manifest."""
        draw = self.request.draw
        return ScanRecord(
            synthetic=True,
            model=self.model,
            seed=draw.seed,
            index=index,
            class_name=self.names[which],
            truncation=UNSET if draw.truncation == 1.0 else draw.truncation,
            paired=draw.paired or UNSET,
        )

    def record_text(self, which: int) -> "RecordText":
        """Return the records of a span as JSON, which is faster than one by one."""
        return RecordText(self.record(which, 0))

    def manifest(self, first: int, last: int) -> Iterator[str]:
        """Yield the lines of the manifest for positions `first` to `last` - 1."""
        at, size = first, self.request.shard_size
        for span in self.request.between(first, last, most=1 << 62):
            which = self.position(span.number)
            text = self.record_text(which)
            for index in span.indices:
                if not self.sharded:
                    where = f'"file": {json.dumps(self.file_name(which, index))}'
                else:
                    where = f'"file": "{self.shard_name(at // size)}", ' + (
                        f'"member": {json.dumps(self.file_name(which, index))}'
                        if self.request.format == "tar"
                        else f'"row": {at % size}'
                    )
                yield f"{{{where}, {text.of(index)[1:]}\n"
                at += 1

    def files(self, first: int, last: int) -> Iterator[str]:
        """Yield the files of the scans at positions `first` to `last` - 1, each once."""
        size = self.request.shard_size
        if self.sharded:
            yield from map(self.shard_name, range(first // size, -(-last // size)))
            return
        for span in self.request.between(first, last, most=1 << 62):
            which = self.position(span.number)
            yield from (self.file_name(which, index) for index in span.indices)

    def position_of(self, file: str) -> int | None:
        """Return the position of the first scan in a file; None if the file is not part of the plan."""
        if self.sharded:
            stem = file.removeprefix("scans-").removesuffix(SUFFIXES[self.request.format])
            if not (stem.isascii() and stem.isdecimal()) or file != self.shard_name(int(stem)):
                return None
            at = int(stem) * self.request.shard_size
            return at if at < self.request.total else None
        folder, _, name = file.rpartition("/")
        stem = name.rpartition(".")[0]
        if folder not in self.folders or not (stem.isascii() and stem.isdecimal()):
            return None
        which, index = self.folders.index(folder), int(stem)
        place = self.request.spans[which].place(index)
        if place is None or file != self.file_name(which, index):
            return None
        return sum(s.kept for s in self.request.spans[:which]) + place

    def manifest_name(self, part: Part) -> str:
        """Return the file name of the manifest, or of a part's manifest."""
        if part.n == 1:
            return MANIFEST
        return f"manifest-{part.i}-of-{part.n}.jsonl"

    def to_record(self) -> RequestRecord:
        """Return the content of ``request.json``."""
        request = self.request
        return RequestRecord(
            format_version=FORMAT_VERSION,
            model=self.model,
            classes=tuple(
                ClassRecord(
                    class_name=name,
                    folder=folder,
                    number=span.number,
                    start=span.start,
                    count=span.count,
                    left_out=span.left_out or UNSET,
                )
                for name, folder, span in zip(self.names, self.folders, request.spans, strict=True)
            ),
            **dataclasses.asdict(request.draw),
            format=request.format,
            shard_size=request.shard_size if self.sharded else None,
        )

    def write(self, folder: Place, *, once: bool = False) -> None:
        """Write ``request.json`` into an output folder. For `once`, see `written_whole`."""
        write_record(folder / REQUEST, self.to_record(), once=once)

    @classmethod
    def read(cls, folder: Place) -> "Plan":
        """Read ``request.json`` from an output folder.

        Raises
        ------
        GenerationError
            The file is missing, damaged or has another format version.
        """
        file = folder / REQUEST
        try:
            told = json.loads(read_text(file))
            version = told["format_version"]
            if newer := why_newer(file, version, FORMAT_VERSION):
                raise _Other(f"{newer}, or choose another folder")
            if version != FORMAT_VERSION:
                raise _Other(
                    f"{file} has format {quoted(version)}, not {FORMAT_VERSION}: it comes from an older scangan; "
                    f"choose another folder"
                )
            return cls._of_record(to_record(RequestRecord, told))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise GenerationError(
                f"{folder} has no scans from gen-scans; choose another folder"
            ) from error
        except _Other:
            raise
        except (ValueError, TypeError, KeyError, RecursionError, GenerationError) as error:
            raise GenerationError(
                f"{file} is damaged ({fault_of(error)}); choose another folder"
            ) from error

    @classmethod
    def _of_record(cls, told: RequestRecord) -> "Plan":
        if any(c.folder != _plain(c.folder) or not c.folder for c in told.classes):
            raise ValueError("the folder of a class is not a plain name")
        spans = tuple(Span(c.number, c.start, c.count, c.left_out or ()) for c in told.classes)
        return cls(
            told.model,
            Request(
                spans=spans,
                draw=Draw(told.seed, told.truncation, told.paired),
                format=told.format,
                shard_size=told.shard_size or 1,
            ),
            tuple(c.class_name for c in told.classes),
            tuple(c.folder for c in told.classes),
        )

    def difference(self, before: "Plan") -> str:
        """Describe how this request differs from an earlier one; empty if it does not."""
        old, new = to_told(before.to_record()), to_told(self.to_record())
        for told, plan in ((old, before), (new, self)):
            told["model"] = told["model"][:12]
            told["classes"] = ", ".join(map(_range, plan.names, plan.request.spans))
        found = [f"{key} {old[key]} -> {new[key]}" for key in new if old[key] != new[key]]
        if not found and self.request.spans != before.request.spans:
            found = ["the same number of scans is left out, but not the same ones"]
        if not found and self.folders != before.folders:
            found = [f"folders {', '.join(before.folders)} -> {', '.join(self.folders)}"]
        return "; ".join(found)


def refuse_inside_scans(path: Place) -> None:
    """Refuse to write into a folder of scans, whose readers would take the new files for its own."""
    for folder in path.resolve().parents:
        # A store may grant access to OUT alone.
        with contextlib.suppress(GenerationError, StoreError, OSError):
            Plan.read(folder)
            inside = folder
            break
    else:
        return
    raise GenerationError(
        f"{path} is inside {inside}, a folder of scans, and would be read as one of its classes or "
        f"scans; choose another place"
    )


class RecordText:
    """The JSON of a record, into which one index after another is filled."""

    def __init__(self, record: ScanRecord) -> None:
        # No name can contain this text, because JSON escapes quotes.
        self._before, self._after = json.dumps(to_told(record)).split('"index": 0,', 1)

    def of(self, index: int) -> str:
        """Return the JSON for an index; always ASCII."""
        return f'{self._before}"index": {index},{self._after}'


class _Other(GenerationError):
    """The file has another version and is not damaged."""


def renamed_classes(folder: Place) -> dict[str, str]:
    """Return the class of each folder that gen-scans could not name after its class; often none."""
    try:
        plan = Plan.read(folder)
    except (GenerationError, OSError):
        return {}
    return {
        normal(own): normal(name)
        for own, name in zip(plan.folders, plan.names, strict=True)
        if name is not None and own != name and not why_no_name(name)
    }


def folder_names(classes: tuple[str, ...]) -> list[str]:
    """Return a folder name for each class: its name, without what some file systems refuse.

    The names are all different, even on a file system that ignores case.
    """
    names = [
        _plain(normal(name)).encode()[:LONGEST].decode(errors="ignore").strip(". ")
        for name in classes
    ]
    same = [_as_one(name) for name in names]
    alone = [
        one != ""
        and same.count(one) == 1
        and not is_ours(one)
        and not MISLEADING.fullmatch(one)
        and one.split(".")[0] not in DEVICES
        for one in same
    ]
    taken = {one for one, is_alone in zip(same, alone, strict=True) if is_alone}
    folders = []
    for number, (name, is_alone) in enumerate(zip(names, alone, strict=True)):
        own = name
        if not is_alone:
            own = f"{name.split('.')[0].strip('_')}_{number}"
            while _as_one(own) in taken:
                own += "_"
            taken.add(_as_one(own))
        folders.append(own)
    return folders


def _as_one(name: str) -> str:
    """Fold what some file systems ignore: upper and lower case, and the two ways to write é."""
    return normal(name).casefold()


def is_ours(name: str) -> bool:
    """Return whether gen-scans writes files with this name."""
    pattern = r"\d{9,}\.(png|dcm)|scans-\d{6,}\.(tar|npz)|manifest(-\d+-of-\d+)?\.jsonl"
    named = {_as_one(one) for one in (REQUEST, SHEET, OLD_SHEET, README)}
    return _as_one(name) in named or re.fullmatch(pattern, name) is not None


def _plain(name: str) -> str:
    plain = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in name)
    return plain.strip(". ")


def _range(name: str | None, span: Span) -> str:
    start = f" from {span.start}" if span.start else ""
    of = "" if name is None else f" of {name}"
    without = f" ({len(span.left_out)} left out)" if span.left_out else ""
    return f"{span.count}{start}{of}{without}"
