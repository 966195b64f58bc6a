"""The training loop."""

import datetime
import platform
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from scangan.evaluation.metrics import RealReference, Scores
from scangan.preprocessing.dataset import PreparedDataset, is_prepared, load_dataset
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.pipeline import prepare, summary
from scangan.runtime.console import progress_bar
from scangan.runtime.files import only_writer, write_bytes
from scangan.runtime.png import encode_png
from scangan.runtime.sheet import NOTICE, contact_sheet
from scangan.training.ema import BATCHES, with_own_statistics
from scangan.training.errors import TrainingError
from scangan.training.networks import Discriminator, Generator
from scangan.training.options import TrainOptions
from scangan.training.run import FORMAT_VERSION, Best, Run, make_generator
from scangan.training.sampling import Sampler, step_rng
from scangan.training.scoring import generate, score_generator
from scangan.training.step import LOSSES, TrainingStep, fast_precision

GRID = 8  # scans of a class in a sample sheet


class Stopped(TrainingError):
    """The run was asked to stop (Ctrl-C or SIGTERM), saved itself, and can be resumed."""


def train(
    source: str | Path,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    device: str = "auto",
    command: str = "",
    report: Callable[[str], None] = lambda line: None,
    quiet: bool = True,
) -> Run:
    """Train a GAN; the same call again resumes a run that was stopped or killed.

    Parameters
    ----------
    source : path
        A prepared dataset, or a folder of scans, which is first prepared into ``out/dataset``.
    out : path
        The run folder.
    options : TrainOptions, optional
        Networks and schedule.
    device : {"auto", "cpu", "cuda"}
        Where to train; auto takes a GPU if there is one.
    command : str
        What was typed, for the record.
    report : callable
        Takes a line of text at every tick.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    TrainingError
        The run cannot be started or resumed as asked, or its losses are no numbers any more.
    Stopped
        It was stopped by a signal, and saved.
    """
    options, run = options or TrainOptions(), Run(Path(out))
    place = choose_device(device)
    run.check_free()
    with only_writer(run.path / ".lock"):
        _train(Path(source), run, options, place, command, report, quiet)
    return run


def _train(
    source: Path,
    run: Run,
    options: TrainOptions,
    device: torch.device,
    command: str,
    report: Callable[[str], None],
    quiet: bool,
) -> None:
    dataset = _open_source(source, run, options, report, quiet)
    conditional = options.arch == "acgan"
    if conditional and len(dataset.classes) < 2:
        raise TrainingError(
            f"{source} has one class only ({dataset.classes[0]}); an ACGAN needs two or more: "
            f"use --arch dcgan"
        )
    labels = dataset.labels if conditional else np.zeros_like(dataset.labels)
    reference = RealReference(dataset.images, labels, dataset.classes if conditional else ("all",))
    run.start(_config(dataset, options, command, device), dataset.items)
    session = _Session(run, options, dataset, reference, device, report)
    session.resume()
    session.loop(quiet)


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device that works."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: this torch finds no GPU; use --device cpu, or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _open_source(
    source: Path, run: Run, options: TrainOptions, report: Callable[[str], None], quiet: bool
) -> PreparedDataset:
    if not source.exists():
        raise TrainingError(
            f"{source} does not exist; give a prepared dataset or a folder of scans"
        )
    if run.path.resolve().is_relative_to(source.resolve()):
        raise TrainingError(f"{run.path} lies in {source}, or is it; choose an --out outside of it")
    if is_prepared(source):
        dataset = load_dataset(source)
        if dataset.size != options.size:
            raise TrainingError(
                f"{source} is prepared at {dataset.size} pixels, not {options.size}; "
                f"use --size {dataset.size}, or prepare it with --size {options.size}"
            )
        return dataset
    target = run.path / "dataset"
    if not (run.path / "config.json").exists():
        shutil.rmtree(target, ignore_errors=True)  # of a start that failed; the scans may be others
    dataset = prepare(source, target, PrepOptions(size=options.size), quiet=quiet)
    report(summary(dataset))
    return dataset


def _config(
    dataset: PreparedDataset, options: TrainOptions, command: str, device: torch.device
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "options": options.to_dict(),
        "command": command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dataset": {
            "classes": list(dataset.classes),
            "counts": dataset.counts,
            "fingerprint": dataset.fingerprint,
            "preprocessing": dataset.info["options"],
        },
        "versions": {
            "scangan": version("scangan"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": device.type,
            "arithmetic": "bf16" if fast_precision(device) else "fp32",
        },
    }


class _Session:
    """One process's part of a run: networks, optimisers, and what is measured at each tick."""

    def __init__(
        self,
        run: Run,
        options: TrainOptions,
        dataset: PreparedDataset,
        reference: RealReference,
        device: torch.device,
        report: Callable[[str], None],
    ) -> None:
        self.run, self.options, self.device, self.report = run, options, device, report
        self.reference, self.classes = reference, run.classes
        torch.manual_seed(options.seed)
        generator = make_generator(options, len(self.classes))
        discriminator = Discriminator(
            size=options.size, width=options.width, classes=len(self.classes)
        )
        images = torch.from_numpy(np.array(dataset.images)).to(device)
        labels = torch.from_numpy(dataset.labels).to(device)
        self.networks = TrainingStep(
            generator,
            discriminator,
            Sampler(images, labels, len(self.classes)),
            options,
            device,
        )
        self.step = 0
        self.best_score = float("inf")
        self.sums = torch.zeros(len(LOSSES), device=device)
        self.summed = 0

    def resume(self) -> None:
        """Go back to where ``last.pt`` was saved, if it was."""
        state = self.run.load_state(self.device)
        self.run.cut_metrics(state["step"] if state else 0)
        if state:
            self.networks.load_state_dict(state["networks"])
            self.step, self.best_score = state["step"], state["best_score"]
            self.sums, self.summed = state["sums"].to(self.device), state["summed"]
            self.report(f"resuming at {self._kimg():.1f} of {self.options.kimg:g} kimg")

    def loop(self, quiet: bool) -> None:
        """Train to the end, with a tick every so often."""
        options = self.options
        probe = self.reference.probe_accuracy
        self.report(
            f"{len(self.reference.classes)} classes; real scans score KID x1000 "
            f"{self.reference.real_kid * 1000:.1f} (one half against the other)"
            + ("" if probe is None else f", class agreement {probe:.0%} (held back)")
        )
        with (
            _stop_signals() as stop,
            progress_bar("scans", quiet=quiet) as bar,
            SummaryWriter(str(self.run.path), purge_step=self.step + 1) as board,
        ):
            total = options.steps * options.batch
            done = self.step * options.batch
            task = bar.add_task("training", total=total, completed=done, note="")
            started, first = time.monotonic(), self.step
            while self.step < options.steps:
                # One optimiser update of D and one of G
                self.sums += self.networks(self.step)
                self.step += 1
                self.summed += 1
                bar.advance(task, options.batch)

                # Show how it goes, now and then: reading a loss waits for the device
                if self.step % 50 == 0 and not bar.disable:
                    loss_d, loss_g, loss_aux = (self.sums / self.summed).tolist()
                    bar.update(task, note=f"D {loss_d:.2f} G {loss_g:.2f} class {loss_aux:.2f}")

                # Score, sample, save
                if options.is_tick(self.step):
                    seconds = time.monotonic() - started
                    self._tick(board, (self.step - first) * options.batch / seconds)
                    started, first = time.monotonic(), self.step

                # Save and leave when told to
                if stop and self.step < options.steps:
                    self._save()
                    raise Stopped(
                        f"stopped at {self._kimg():.1f} of {options.kimg:g} kimg and saved; "
                        f"the same command again goes on"
                    )

    def _tick(self, board: SummaryWriter, speed: float) -> None:
        options = self.options
        losses = dict(zip(LOSSES, (self.sums / self.summed).tolist(), strict=True))
        if not all(np.isfinite(list(losses.values()))):
            raise TrainingError(
                f"{self.run.path}: the losses are no numbers any more at {self._kimg():.1f} kimg; "
                f"the best generator before is kept; start anew with another --seed"
            )
        self.sums.zero_()
        self.summed = 0
        candidates = {"raw": self.networks.generator.eval(), "ema": self._averaged()}
        scores = {
            kind: score_generator(model, self.reference, options.latent, options.seed, self.device)
            for kind, model in candidates.items()
        }
        self.networks.generator.train()
        kind = min(scores, key=lambda k: scores[k].mean_class_kid)
        improved = scores[kind].mean_class_kid < self.best_score
        self._record(board, losses, scores, speed, kind if improved else None)
        if improved:
            self.best_score = scores[kind].mean_class_kid
            state = {k: v.cpu() for k, v in candidates[kind].state_dict().items()}
            self.run.save_best(Best(state, kind, self._kimg(), self._scores(scores[kind])))
        self._sample(candidates["ema"])
        self._save()

    def _averaged(self) -> Generator:
        options, rng = self.options, step_rng(self.options.seed, 0, "statistics", self.device)
        shape = (options.batch, options.latent)
        latents = [torch.randn(shape, generator=rng, device=self.device) for _ in range(BATCHES)]
        labels: list[Tensor] | None = None
        if self.classes:
            order = torch.arange(BATCHES * options.batch, device=self.device)
            labels = list((order % len(self.classes)).split(options.batch))
        return with_own_statistics(self.networks.ema, latents, labels)

    def _scores(self, scores: Scores) -> dict[str, Any]:
        return scores.to_dict() | {
            "real_kid": self.reference.real_kid,
            "probe_accuracy": self.reference.probe_accuracy,
        }

    def _record(
        self,
        board: SummaryWriter,
        losses: dict[str, float],
        scores: dict[str, Scores],
        speed: float,
        improved: str | None,
    ) -> None:
        line: dict[str, Any] = {"step": self.step, "kimg": self._kimg(), **losses}
        line |= {kind: s.to_dict() for kind, s in scores.items()}
        self.run.append_metrics(line | {"best": improved, "images_per_second": round(speed, 1)})
        for name, value in losses.items():
            board.add_scalar(f"loss/{name}", value, self.step)
        for kind, s in scores.items():
            board.add_scalar(f"{kind}/kid", s.kid, self.step)
            board.add_scalar(f"{kind}/class_kid", s.mean_class_kid, self.step)
            if s.mean_agreement is not None:
                board.add_scalar(f"{kind}/agreement", s.mean_agreement, self.step)
        board.flush()
        shown = scores["ema"]
        agreement = shown.mean_agreement
        self.report(
            f"{self._kimg():8.1f} kimg  KID x1000 {shown.kid * 1000:6.1f}"
            f" (raw {scores['raw'].kid * 1000:6.1f})"
            + ("" if agreement is None else f"  class agreement {agreement:4.0%}")
            + f"  variety {min(shown.variety.values()):.2f}"
            + (f"  best so far ({improved})" if improved else "")
        )

    def _sample(self, model: Generator) -> None:
        rng = step_rng(self.options.seed, 0, "samples", self.device)
        per_class = GRID if self.classes else GRID * GRID
        images, _ = generate(model, per_class, self.options.latent, rng)
        names = self.classes or ("",) * GRID
        rows = list(zip(names, images.reshape(len(names), GRID, *images.shape[1:]), strict=True))
        sheet = contact_sheet(rows, f"synthetic, {self._kimg():.1f} kimg")
        name = f"{round(self._kimg() * 1000):09d}.png"
        write_bytes(self.run.path / "samples" / name, encode_png(sheet, {"Comment": NOTICE}))

    def _save(self) -> None:
        self.run.save_state(
            {
                "format_version": FORMAT_VERSION,
                "step": self.step,
                "networks": self.networks.state_dict(),
                "best_score": self.best_score,
                "sums": self.sums.cpu(),
                "summed": self.summed,
            }
        )

    def _kimg(self) -> float:
        return self.step * self.options.batch / 1000


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list instead of dying of them; a second Ctrl-C kills."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: then nobody sends us signals either
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
