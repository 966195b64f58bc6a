"""The run folder: begin, continue and read a run."""

import functools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from scangan.artifacts.records import parse_records, to_record, to_told, write_record, write_records
from scangan.artifacts.run_records import RunConfig, RunItem, Tick
from scangan.artifacts.scan_folder import refuse_inside_scans
from scangan.artifacts.train_options import TrainOptions
from scangan.core.address import Place
from scangan.core.class_names import with_normal_names
from scangan.core.errors import ExportError, FolderError, TrainingError, fault_of
from scangan.core.files import read_bytes, read_text
from scangan.core.printable import to_type
from scangan.core.versions import why_newer

FORMAT_VERSION = 3
MAY_GROW = {"kimg"}  # you may extend a run if its learning rates are constant
MAY_CHANGE = {"patience"}
WRITTEN = (
    "config.json", "last.pt", "best.safetensors", "metrics.jsonl", "items.jsonl", "report.png",
    "start.safetensors", "start_items.jsonl", "samples", "classes", "dataset", "events.out.tfevents.*",
)  # fmt: skip
# The generator is whole, so starting over is not the first advice.
NOT_WITHOUT = (
    "restore it; without it you can only export the run, or train again into another folder"
)
SHAPE = {"format_version": int, "options": dict, "dataset": dict, "versions": dict}


class Run:
    """A run folder.

    Parameters
    ----------
    path : Path
        Its path; it does not have to exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @functools.cached_property
    def config(self) -> RunConfig:
        """The content of ``config.json``, read once.

        Raises
        ------
        TrainingError
            `path` is not a run, is damaged, or has a newer format.
        """
        told, file = self.read_config(), self.path / "config.json"
        if newer := why_newer(self.path, told["format_version"], FORMAT_VERSION):
            raise TrainingError(newer)
        try:
            options = TrainOptions.from_dict(told["options"])
            return to_record(RunConfig, told | {"options": options})
        except (TrainingError, ValueError) as error:
            raise TrainingError(
                f"{file} is damaged ({fault_of(error)}); restore it, or start over with train-gan --force"
            ) from error

    def read_config(self) -> dict[str, Any]:
        """Read ``config.json`` of any version; raises as `config` does."""
        file = self.path / "config.json"
        if not file.is_file():
            if self._aside.exists() or self._moving.exists():
                raise TrainingError(
                    f"{self.path} was about to be replaced when train-gan was killed; run train-gan again: with "
                    f"--force to replace it, without to keep it"
                )
            if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
                raise TrainingError(f"{self.path} is not a run; give the --out of train-gan")
            raise TrainingError(
                f"{self.path} is not a run; make one: train-gan SOURCE --out {to_type(self.path)}"
            )
        try:
            told: dict[str, Any] = json.loads(read_text(file), object_pairs_hook=with_normal_names)
        except (ValueError, RecursionError) as error:
            raise TrainingError(
                f"{file} is damaged ({fault_of(error)}); restore it, or delete {self.path} and train again"
            ) from error
        if not isinstance(told, dict) or any(
            not isinstance(told.get(key), kind) for key, kind in SHAPE.items()
        ):
            raise TrainingError(
                f"{file} is damaged, or not from a run: it lacks fields of a run's config; restore it"
            )
        return told

    @property
    def options(self) -> TrainOptions:
        """The options of the run."""
        return self.config.options

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of a conditional generator; empty for an unconditional one."""
        return self.config.dataset.classes if self.options.by_class else ()

    @property
    def report(self) -> Path:
        """The path of ``report.png``, which is written last."""
        return self.path / "report.png"

    @property
    def start_file(self) -> Path:
        """The path of the networks that it started from, if it did not from random weights."""
        return self.path / "start.safetensors"

    @property
    def start_items(self) -> Path:
        """The path of the list of scans that those networks were trained on, if it is known."""
        return self.path / "start_items.jsonl"

    @property
    def started(self) -> bool:
        """Whether ``config.json`` exists; everything before that is preparation."""
        return (self.path / "config.json").exists()

    def check_free(self) -> None:
        """Refuse a folder that holds anything other than a run.

        Raises
        ------
        TrainingError
            The folder holds other files, or `path` is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise TrainingError(f"{self.path} is a file; choose another --out")
        if self.started:
            try:
                self.read_config()
            except TrainingError as error:
                raise TrainingError(f"{error}, or choose another --out") from error
        elif self.path.exists() and not self._mark.exists():
            names = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
            if names:
                raise TrainingError(
                    f"{self.path} is not empty and not a run (it has {min(names)}); choose another --out"
                )

    @contextmanager
    def beginning(self, anew: bool) -> Iterator[None]:
        """Set up a new run inside this context; if that fails, leave what was there before.

        A hidden file marks the folder as a run's while there is no configuration. If it is stopped or
        killed where no run was, scans that were prepared so far stay, for the next start.

        Parameters
        ----------
        anew : bool
            Delete an existing run once the new one is set up.

        Raises
        ------
        KeyboardInterrupt
            It was stopped. If a run was there, it is again, and the exception says so.
        """
        self._put_back()  # what a killed call left aside
        new = anew or not self.started
        had_scans = self.dataset.exists()
        if new:
            self._mark.touch()
            if self.started:
                self._set_aside()
            else:
                self._clear(keep=() if anew else ("dataset",))
        try:
            yield
        except KeyboardInterrupt:
            if not self._aside.exists():
                raise
            self._put_back()
            self._mark.unlink(missing_ok=True)
            raise KeyboardInterrupt(
                "stopped; the run that was there is as it was; run the same command again to start over"
            ) from None
        except Exception:
            if new:
                self._clear()
                self._put_back()
                self._mark.unlink(missing_ok=True)
            elif not had_scans:  # of scans that the run is refused with
                self.drop_dataset()
            raise
        self._drop_aside()
        self._mark.unlink(missing_ok=True)

    @property
    def dataset(self) -> Path:
        """The folder of scans that train-gan prepared itself; there is none for a prepared dataset."""
        return self.path / "dataset"

    def drop_dataset(self) -> None:
        """Delete the scans that train-gan prepared itself."""
        shutil.rmtree(self.dataset, ignore_errors=True)

    @property
    def _mark(self) -> Path:
        return self.path / ".unstarted"

    @property
    def _aside(self) -> Path:
        return self.path / ".before"

    @property
    def _moving(self) -> Path:
        return self.path / ".before.part"

    def _written(self) -> Iterator[Path]:
        """Find the files that a run writes, and nothing else."""
        for pattern in WRITTEN:
            yield from self.path.glob(pattern)

    def _clear(self, keep: tuple[str, ...] = ()) -> None:
        for path in self._written():
            if path.name in keep:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _set_aside(self) -> None:
        """Keep the existing run until the one that replaces it is set up."""
        self._moving.mkdir()
        # The configuration first: without it, what a kill leaves behind is not taken for a run.
        for path in sorted(self._written(), key=lambda path: path.name != "config.json"):
            path.rename(self._moving / path.name)
        self._moving.rename(self._aside)

    def _put_back(self) -> None:
        """Replace what there is by the run that was set aside, if one was; also half-way through a move."""
        if self._aside.exists():
            self._clear()
            self._aside.rename(self._moving)
        if self._moving.exists():
            for path in sorted(self._moving.iterdir(), key=lambda path: path.name == "config.json"):
                path.rename(self.path / path.name)
            self._moving.rmdir()

    def _drop_aside(self) -> None:
        doomed = self.path / ".before.old"  # a half-deleted run is not to be put back
        shutil.rmtree(doomed, ignore_errors=True)
        if self._aside.exists():
            self._aside.rename(doomed)
            shutil.rmtree(doomed)

    def start(
        self, config: RunConfig, items: list[RunItem], before: Sequence[RunItem] = ()
    ) -> None:
        """Write the configuration, and the list of scans with those held back.

        `before`: scans that the networks were trained on before this run.
        """
        (self.path / "samples").mkdir(parents=True, exist_ok=True)
        write_records(self.path / "items.jsonl", items)
        if before:
            write_records(self.start_items, before)
        self._write_config(config)

    def _write_config(self, config: RunConfig) -> None:
        write_record(self.path / "config.json", config)
        self.config = config

    def go_on(self, config: RunConfig, start: str | None = None) -> None:
        """Check the configuration against that of the existing run.

        Parameters
        ----------
        config : RunConfig
            The configuration that was asked for.
        start : str, optional
            The name of what a new run would start from.

        Raises
        ------
        TrainingError
            They differ in more than the length of the run.
        """
        before = self.config
        if before.format_version < FORMAT_VERSION:
            raise TrainingError(
                f"{self.path} was made by an older scangan and cannot be resumed; start over with --force"
            )
        differing = _differing(before.options.to_dict(), config.options.to_dict())
        if before.dataset.fingerprint != config.dataset.fingerprint:
            differing.append("the scans")
        started_from = before.started_from.name if before.started_from else None
        if start != started_from:
            differing.append(f"--start-from {started_from or 'nothing'} -> {start or 'nothing'}")
        if differing:
            raise TrainingError(
                f"{self.path} holds a run with another configuration ({', '.join(differing)}); "
                f"choose another --out, or start over with --force"
            )
        if config.options != before.options:
            self.report.unlink(missing_ok=True)  # it shows the shorter run
            kept = {"started": before.started, "started_from": before.started_from}
            self._write_config(replace(config, **kept))

    def read_items(self) -> list[RunItem]:
        """Read the list of scans, including those held back.

        Raises
        ------
        TrainingError
            ``items.jsonl`` is missing or damaged.
        """
        return self._items(self.path / "items.jsonl")

    def _items(self, file: Path) -> list[RunItem]:
        try:
            return list(parse_records(RunItem, read_bytes(file)))
        except FileNotFoundError as error:
            raise TrainingError(f"{file} is missing; {NOT_WITHOUT}") from error
        except ValueError as error:
            raise TrainingError(f"{file} is damaged ({fault_of(error)}); {NOT_WITHOUT}") from error

    def trained_before(self) -> list[RunItem]:
        """Read the scans that the networks which it started from were trained on; none if unknown.

        Raises
        ------
        TrainingError
            ``start_items.jsonl`` is damaged.
        """
        return self._items(self.start_items) if self.start_items.exists() else []

    def trained_on(self) -> list[RunItem]:
        """Read the scans that the networks have seen, in this run or before; raises as `read_items` does."""
        return [
            *(item for item in self.read_items() if not item.held_back),
            *self.trained_before(),
        ]

    def held_back(self, count: int) -> npt.NDArray[np.bool_]:
        """Return which of the `count` scans are held back: bool [N]; raises as `read_items` does."""
        held = np.array([item.held_back for item in self.read_items()], bool)
        if len(held) != count:
            raise TrainingError(
                f"{self.path / 'items.jsonl'} is damaged (it lists {len(held)} scans of {count}); "
                f"{NOT_WITHOUT}"
            )
        return held

    def append_metrics(self, tick: Tick) -> None:
        """Append a line to ``metrics.jsonl``."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_told(tick)) + "\n")

    def read_metrics(self) -> list[Tick]:
        """Read the lines of ``metrics.jsonl``; none if there is no such file yet.

        Raises
        ------
        TrainingError
            The file is damaged; the message names the line.
        """
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return []
        data = read_bytes(file)
        whole = data[: data.rfind(b"\n") + 1]  # a kill may have cut the last line
        try:
            return list(parse_records(Tick, whole))
        except ValueError as error:
            raise TrainingError(
                f"{file} is damaged ({fault_of(error)}); restore it, or start over with train-gan --force"
            ) from error

    def cut_metrics(self, step: int) -> None:
        """Drop the ticks after `step`, which a killed run is about to measure again."""
        lines = [tick for tick in self.read_metrics() if tick.step <= step]
        file = self.path / "metrics.jsonl"
        if file.exists():
            write_records(file, lines)


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the options that differ from those of the existing run and may not."""
    found = []
    for key, value in now.items():
        old = before[key]
        if old == value or key in MAY_CHANGE:
            continue
        if key in MAY_GROW and value > old:
            schedule = before["lr_schedule"]
            if schedule == "constant":
                continue
            # In a longer run, the rates would jump up at this step.
            found.append(
                f"{key} {old:g} -> {value:g}, which sets how {schedule} learning rates decay"
            )
        else:
            told = ("the default" if each is None else each for each in (old, value))
            found.append(f"{key} {' -> '.join(map(str, told))}")
    return found


def is_run(path: Path) -> bool:
    """Whether a folder is a run, of any version; other folders may have a ``config.json``, too."""
    try:
        Run(path).read_config()
    except (TrainingError, OSError):
        return False
    return True


def refuse_run(folder: Place, classes: Iterable[str] = ()) -> None:
    """Refuse a run, its samples, or a folder of runs: the pictures in it are not scans.

    `classes` are the folders in it that would be taken for classes.

    Raises
    ------
    FolderError
        It is one.
    """
    if not isinstance(folder, Path):
        return
    above = [folder.parent] if folder.name == "samples" else []
    for path in (folder, *above, *(folder / name for name in classes)):
        if is_run(path):
            raise FolderError(
                f"{path} is a run of train-gan; give the scans that it was trained on, or synthetic ones: "
                f"export-onnx RUN -o model.onnx, then gen-scans --model model.onnx"
            )


def open_run(path: str | Path) -> Run:
    """Open a run by its folder or its best checkpoint.

    Raises
    ------
    TrainingError
        `path` is not a run, is damaged, or has a newer format.
    ExportError
        The file is not a checkpoint of a run. It is not opened, as a pickle could run code.
    """
    path = Path(path)
    checkpoint = path.name == "best.safetensors" and (path.parent / "config.json").is_file()
    if checkpoint or not path.is_file():
        run = Run(path.parent if checkpoint else path)
        _ = run.config  # is it one?
        return run
    if path.suffix == ".safetensors":
        raise ExportError(
            f"{path} is not a checkpoint of a run (best.safetensors next to config.json); "
            f"give the run's folder"
        )
    raise ExportError(
        f"{path} was not opened, as files of this kind may contain code; give the folder of the run"
    )


def check_places(source: Place, out: Path, start: str | None) -> None:
    """Refuse a source that does not exist, and a run that would replace what it is made from."""
    if isinstance(source, Path):
        if not source.exists():
            raise TrainingError(
                f"{source} does not exist; give a prepared dataset or a folder of scans"
            )
        if out.resolve().is_relative_to(source.resolve()):
            raise TrainingError(f"{out} is {source} or inside it; choose an --out outside of it")
        if source.resolve().is_relative_to(out.resolve()):
            raise TrainingError(
                f"{source} is inside {out}; choose an --out that holds nothing else"
            )
    refuse_inside_scans(out)
    if not start:
        return
    from_run, to_run = Path(start).resolve(), out.resolve()
    # What does not exist may be the name of bundled weights.
    if from_run == to_run or (from_run.exists() and from_run.is_relative_to(to_run)):
        raise TrainingError(
            f"--start-from {start} is, or is inside, --out {out}, which a new run would replace; choose another "
            f"--out"
        )
