"""The run on disk: ``config.json``, ``metrics.jsonl``, ``last.pt``, ``best.safetensors``, ``samples/``."""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scangan.runtime.files import read_jsonl, write_json, write_jsonl, written_whole
from scangan.training.errors import TrainingError
from scangan.training.networks import Generator
from scangan.training.options import TrainOptions

FORMAT_VERSION = 1
MAY_GROW = {"kimg"}  # a finished run may be continued for longer


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
        file = self.path / "config.json"
        if not file.is_file():
            raise TrainingError(
                f"{self.path} is no run; make one: train-gan SOURCE --out {self.path}"
            )
        try:
            config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{file} is damaged: {error}") from error
        if config.get("format_version", 0) > FORMAT_VERSION:
            raise TrainingError(f"{self.path} was made by a newer scangan; update scangan")
        return config

    @property
    def options(self) -> TrainOptions:
        """The options it was started with."""
        try:
            return TrainOptions(**self.config["options"])
        except TypeError as error:
            raise TrainingError(
                f"{self.path}/config.json has an unknown option: {error}"
            ) from error

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that the generator is conditional on; empty for an unconditional one."""
        conditional = self.options.arch == "acgan"
        return tuple(self.config["dataset"]["classes"]) if conditional else ()

    def start(self, config: dict[str, Any], items: list[dict[str, Any]]) -> None:
        """Write the configuration, or check it against that of the run to be resumed.

        Raises
        ------
        TrainingError
            The folder holds a run with another configuration, or something else.
        """
        if not (self.path / "config.json").exists():
            (self.path / "samples").mkdir(parents=True, exist_ok=True)
            write_jsonl(self.path / "items.jsonl", items)
            write_json(self.path / "config.json", config)
            return
        before = self.config
        differing = [
            f"{key} {before['options'].get(key)} -> {value}"
            for key, value in config["options"].items()
            if before["options"].get(key) != value and key not in MAY_GROW
        ]
        if before["dataset"]["fingerprint"] != config["dataset"]["fingerprint"]:
            differing.append("the scans")
        if differing:
            raise TrainingError(
                f"{self.path} holds a run with another configuration ({', '.join(differing)}); "
                f"choose another --out, or delete it"
            )
        write_json(self.path / "config.json", config | {"started": before["started"]})

    def save_state(self, state: dict[str, Any]) -> None:
        """Save all that resuming needs as ``last.pt``."""
        with written_whole(self.path / "last.pt") as beside:
            torch.save(state, beside)

    def load_state(self, device: torch.device) -> dict[str, Any] | None:
        """Load ``last.pt`` without unpickling any code; None where the run has not got that far."""
        file = self.path / "last.pt"
        if not file.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(f"{file} cannot be read ({reason}); delete the run") from error
        return state

    def save_best(self, best: Best) -> None:
        """Save the best measured generator as ``best.safetensors``."""
        metadata = {
            "format_version": str(FORMAT_VERSION),
            "kind": best.kind,
            "kimg": f"{best.kimg:.3f}",
            "scores": json.dumps(best.scores),
        }
        with written_whole(self.path / "best.safetensors") as beside:
            save_file({k: v.contiguous() for k, v in best.state.items()}, beside, metadata)

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
            with safe_open(file, framework="pt") as tensors:
                metadata = tensors.metadata()
                state = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
            scores = json.loads(metadata["scores"])
            return Best(state, metadata["kind"], float(metadata["kimg"]), scores)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise TrainingError(f"{file} is damaged: {error}") from error

    def load_generator(self) -> tuple[Generator, Best]:
        """Load the best generator in evaluation mode, on the CPU."""
        options, best = self.options, self.load_best()
        model = make_generator(options, len(self.classes))
        try:
            model.load_state_dict(best.state)
        except RuntimeError as error:
            raise TrainingError(f"{self.path}/best.safetensors does not fit its config") from error
        return model.eval(), best

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def cut_metrics(self, step: int) -> None:
        """Drop what was measured after `step`: a killed run is about to measure it again."""
        file = self.path / "metrics.jsonl"
        if file.exists():
            text = file.read_text(encoding="utf-8")
            if text and not text.endswith("\n"):  # killed in the middle of a line
                file.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
            write_jsonl(file, [line for line in read_jsonl(file) if line["step"] <= step])


def make_generator(options: TrainOptions, classes: int) -> Generator:
    """Make the generator that `options` describe, with random weights."""
    return Generator(size=options.size, width=options.width, latent=options.latent, classes=classes)
