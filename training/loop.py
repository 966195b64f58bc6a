"""The training loop."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from scangan.evaluation.metrics import RealReference, Scores
from scangan.preprocessing.dataset import PreparedDataset
from scangan.runtime.console import progress_bar
from scangan.runtime.files import write_bytes
from scangan.runtime.png import encode_png
from scangan.runtime.sheet import NOTICE, contact_sheet
from scangan.training.ema import BATCHES, with_own_statistics
from scangan.training.errors import TrainingError
from scangan.training.networks import Discriminator, Generator
from scangan.training.options import TrainOptions
from scangan.training.run import FORMAT_VERSION, Best, Run, make_generator
from scangan.training.sampling import Sampler, step_rng
from scangan.training.scoring import generate, score_generator
from scangan.training.step import LOSSES, TrainingStep

GRID = 8  # scans of a class in a sample sheet


class Stopped(TrainingError):
    """The run was asked to stop (Ctrl-C or SIGTERM), saved itself, and can be resumed."""


class Session:
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
