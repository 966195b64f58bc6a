"""The run on disk: ``config.json``, ``metrics.jsonl``, ``last.pt``, ``best.safetensors``, ``samples/``."""

import dataclasses
import io
import json
import pickle
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor

from scangan.core.class_names import with_normal_names
from scangan.core.errors import TrainingError
from scangan.core.files import (
    read_bytes,
    read_jsonl,
    read_text,
    write_json,
    write_jsonl,
    written_whole,
)
from scangan.core.versions import why_newer
from scangan.training.networks import Generator, GeneratorBank, make_generator
from scangan.training.options import TrainOptions

FORMAT_VERSION = 3
MAY_GROW = {"kimg"}  # a run may be continued for longer, at constant rates
MAY_CHANGE = {"patience"}
PARTS = (
    "config.json", "last.pt", "best.safetensors", "metrics.jsonl", "items.jsonl", "report.png",
    "samples", "classes", "dataset", "events.out.tfevents.*",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Best:
    """The kept generator of a run.

    Parameters
    ----------
    state : dict
        Its tensors, by name.
    kind : {"raw", "ema"}
        As trained, or its moving average with BatchNorm statistics of its own.
    kimg : float
        When it was measured.
    scores : dict
        What was measured.
    """

    state: dict[str, Tensor]
    kind: str
    kimg: float
    scores: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def config(self) -> dict[str, Any]:
        """The content of ``config.json``.

        Raises
        ------
        TrainingError
            `path` is no run, or one of a newer format.
        """
        config = self._read_config()
        if newer := why_newer(self.path, config["format_version"], FORMAT_VERSION):
            raise TrainingError(newer)
        return config

    def _read_config(self) -> dict[str, Any]:
        file = self.path / "config.json"
        if not file.is_file():
            if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
                raise TrainingError(f"{self.path} is not a run; give the --out of train-gan")
            raise TrainingError(
                f"{self.path} is not a run; make one: "
                f"train-gan SOURCE --out {shlex.quote(str(self.path))}"
            )
        try:
            config: dict[str, Any] = json.loads(
                read_text(file), object_pairs_hook=with_normal_names
            )
        except ValueError as error:
            raise TrainingError(f"{file} is damaged: {error}") from error
        wanted = {"format_version": int, "options": dict, "dataset": dict, "versions": dict}
        if not isinstance(config, dict) or any(
            not isinstance(config.get(key), kind) for key, kind in wanted.items()
        ):
            raise TrainingError(f"{file} is damaged, or no run's: it lacks what a run's config has")
        return config

    @property
    def options(self) -> TrainOptions:
        """The options it was started with."""
        told = self.config["options"]
        try:
            return TrainOptions.from_dict(told)
        except TrainingError as error:
            raise TrainingError(f"{self.path}/config.json: {error}") from error

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that the generator is conditional on; empty for an unconditional one."""
        return tuple(self.config["dataset"]["classes"]) if self.options.by_class else ()

    @property
    def report(self) -> Path:
        """The picture of how it went, which is made when all else is done."""
        return self.path / "report.png"

    @property
    def started(self) -> bool:
        """Whether it has a configuration: all before that is preparation."""
        return (self.path / "config.json").exists()

    def check_free(self) -> None:
        """Refuse a folder that holds something else than a run.

        Raises
        ------
        TrainingError
            It does.
        """
        if self.path.exists() and not self.path.is_dir():
            raise TrainingError(f"{self.path} is a file; choose another --out")
        if self.started:
            try:
                self._read_config()
            except TrainingError as error:
                raise TrainingError(f"{error}; choose another --out") from error
        elif self.path.exists() and not self._mark.exists():
            names = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
            if names:
                raise TrainingError(
                    f"{self.path} is not empty and no run (it has {min(names)}); choose another --out"
                )

    @contextmanager
    def beginning(self, anew: bool) -> Iterator[None]:
        """Prepare a run inside: where that fails, nothing of it stays.

        A hidden mark says, after a kill, that what lies there is a run's and may be deleted.

        Parameters
        ----------
        anew : bool
            Delete the run that is there.
        """
        if anew or not self.started:
            self._mark.touch()
            self._clear()
        try:
            yield
        finally:
            if not self.started:
                self._clear()
            self._mark.unlink(missing_ok=True)

    @property
    def _mark(self) -> Path:
        return self.path / ".unstarted"

    def _clear(self) -> None:
        """Delete what a run writes, and nothing else."""
        for pattern in PARTS:
            for path in self.path.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def start(self, config: dict[str, Any], items: list[dict[str, Any]]) -> None:
        """Write the configuration, and the scans with what is held back of them."""
        (self.path / "samples").mkdir(parents=True, exist_ok=True)
        write_jsonl(self.path / "items.jsonl", items)
        write_json(self.path / "config.json", config)

    def go_on(self, config: dict[str, Any]) -> None:
        """Check the configuration against that of the run that is there.

        Raises
        ------
        TrainingError
            They differ in more than the length.
        """
        before = self.config
        if before["format_version"] < FORMAT_VERSION:
            raise TrainingError(
                f"{self.path} was made by an older scangan and cannot go on; start over with --force"
            )
        options = self.options.to_dict()  # one that the run did not know has its default
        differing = _differing(options, config["options"])
        if before["dataset"]["fingerprint"] != config["dataset"]["fingerprint"]:
            differing.append("the scans")
        if differing:
            raise TrainingError(
                f"{self.path} holds a run with another configuration ({', '.join(differing)}); "
                f"choose another --out, or start over with --force"
            )
        if config["options"] != options:
            self.report.unlink(missing_ok=True)  # it is of the run as it was
            write_json(self.path / "config.json", config | {"started": before["started"]})

    def held_back(self, count: int) -> npt.NDArray[np.bool_]:
        """Which of its `count` scans it does not train on: bool [N].

        Raises
        ------
        TrainingError
            Its list of scans is missing or damaged.
        """
        file = self.path / "items.jsonl"
        try:
            held = np.array([item["held_back"] for item in read_jsonl(file)])
            if held.shape != (count,) or held.dtype != np.bool_:
                raise ValueError
            return held
        except (FileNotFoundError, ValueError, LookupError, TypeError) as error:
            raise TrainingError(f"{file} is missing or damaged; start over with --force") from error

    def save_state(self, state: dict[str, Any]) -> None:
        """Save all that resuming needs as ``last.pt``."""
        data = io.BytesIO()  # torch's own writer does not say that a disk is full
        torch.save(state, data)
        with written_whole(self.path / "last.pt") as beside:
            beside.write_bytes(data.getbuffer())

    def load_state(self, device: torch.device) -> dict[str, Any] | None:
        """Load ``last.pt`` without unpickling any code; None where the run has not got that far."""
        file = self.path / "last.pt"
        if not file.exists():
            return None
        data = io.BytesIO(read_bytes(file))  # torch's own reader calls a bad sector a damaged file
        try:
            state: dict[str, Any] = torch.load(data, map_location=device, weights_only=True)
            newer = why_newer(file, state["format_version"], FORMAT_VERSION)
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TrainingError(
                f"{file} cannot be read ({reason}); start over with --force"
            ) from error
        if newer:
            raise TrainingError(newer)
        return state

    def save_best(self, best: Best) -> None:
        """Save the best measured generator as ``best.safetensors``."""
        metadata = {
            "format_version": str(FORMAT_VERSION),
            "kind": best.kind,
            "kimg": f"{best.kimg:.3f}",
            "scores": json.dumps(best.scores),
        }
        data = serialize({k: v.contiguous() for k, v in best.state.items()}, metadata)
        with written_whole(self.path / "best.safetensors") as beside:
            beside.write_bytes(data)

    def load_best(self) -> Best:
        """Load the best measured generator.

        Raises
        ------
        TrainingError
            There is none yet, or the file is damaged.
        """
        file = self.path / "best.safetensors"
        if not file.exists():
            _ = self.config  # no run at all is the likelier mistake
            raise TrainingError(
                f"{self.path} has no checkpoint yet; let train-gan reach its first tick"
            )
        try:
            # Read whole: of a memory map that is cut short meanwhile the process would die.
            data = read_bytes(file)
            state = deserialize(data)
            header = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + header])["__metadata__"]
            scores = json.loads(metadata["scores"], object_pairs_hook=with_normal_names)
            return Best(state, metadata["kind"], float(metadata["kimg"]), scores)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise TrainingError(f"{file} is damaged ({error}); start over with --force") from error

    def load_generator(self) -> tuple[Generator | GeneratorBank, Best]:
        """Load the best generator in evaluation mode, on the CPU."""
        options, best = self.options, self.load_best()
        model: Generator | GeneratorBank
        if options.per_class:
            model = GeneratorBank([make_generator(options, 0) for _ in self.classes])
        else:
            model = make_generator(options, len(self.classes))
        try:
            model.load_state_dict(best.state)
        except RuntimeError as error:
            raise TrainingError(f"{self.path}/best.safetensors does not fit its config") from error
        if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
            raise TrainingError(f"{self.path}/best.safetensors is damaged: it has infinite weights")
        return model.eval(), best

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read the lines of ``metrics.jsonl``; none where there is no such file yet."""
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return []
        text = read_text(file)
        whole = text[: text.rfind("\n") + 1]  # a kill may have cut the last line
        return [
            json.loads(line, object_pairs_hook=with_normal_names) for line in whole.splitlines()
        ]

    def cut_metrics(self, step: int) -> None:
        """Drop what was measured after `step`: a killed run is about to measure it again."""
        lines = [line for line in self.read_metrics() if line["step"] <= step]
        file = self.path / "metrics.jsonl"
        if file.exists():
            write_jsonl(file, lines)


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Which options of a run that is there may not be what they are now."""
    found = []
    for key, value in now.items():
        old = before[key]
        if old == value or key in MAY_CHANGE:
            continue
        if key in MAY_GROW and value > old:
            schedule = before["lr_schedule"]
            if schedule == "constant":
                continue
            # Over a longer run they would be higher from here on than they were a step before.
            found.append(f"{key} {old:g} -> {value:g}, over which {schedule} learning rates decay")
        else:
            found.append(f"{key} {old} -> {value}")
    return found
