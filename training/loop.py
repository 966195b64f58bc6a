"""The training loop."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from scangan.artifacts.train_options import LOWEST_RATE
from scangan.core.errors import TrainingError
from scangan.core.terminal import progress_bar
from scangan.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from scangan.training.context import Context
from scangan.training.data import TrainingScans
from scangan.training.measure_tick import Measurer
from scangan.training.starting_weights import read_weights_file, start_from
from scangan.training.step import LOSSES, make_step

LOOK = 50  # steps between two looks at the losses; each look waits for the device


class Stopped(TrainingError):
    """The run was stopped by Ctrl-C or SIGTERM. It was saved and can be resumed."""


def train_session(context: Context, scans: TrainingScans, *, last: bool = True) -> bool:
    """Start or resume training; return whether there was anything left to do.

    If other sessions follow, so that this is not the `last`, a signal at its very end stops it, too.

    Raises
    ------
    TrainingError
        The losses became NaN.
    Stopped
        A signal stopped the run.
    """
    session = Session(context, scans)
    session.resume()
    return session.loop(last)


class Session:
    """One process's part of a run.

    Parameters
    ----------
    context : Context
        The run, its options and the device.
    scans : TrainingScans
        Scans to train on and to score against.
    """

    def __init__(self, context: Context, scans: TrainingScans) -> None:
        self.context = context
        self.run, self.options, self.rank = context.run, context.options, context.rank
        self.measurer = Measurer(context, scans) if self.rank.first else None
        self.take_step = make_step(self.options, scans, context.device, self.rank)
        self.step = 0
        self.sums = torch.zeros(len(LOSSES), device=context.device)
        self.summed = 0

    def resume(self) -> None:
        """Restore the state from ``last.pt``, if it exists."""
        saved = load_checkpoint(self.run, self.context.device)
        if saved:
            self.take_step.load_state_dict(saved.networks)
            self.step = saved.step
            self.sums, self.summed = saved.sums.to(self.context.device), saved.summed
        elif self.context.start:
            weights = read_weights_file(self.context.start, "start over with --force")
            self.context.say(start_from(weights, self.take_step, self.run.classes))
        if self.measurer:
            self.run.cut_metrics(self.step)
            if saved:
                self.measurer.resume()
                self.measurer.stopping = saved.progress
                if self.step < self.options.steps:
                    self.context.say(
                        f"resuming at {self._kimg():.1f} of {self.options.kimg:g} kimg"
                    )

    def loop(self, last: bool = True) -> bool:
        """Train to the end, tick by tick; return whether there was anything left to do."""
        options = self.options
        why = self._why_stop()
        if self.step >= options.steps or why:
            if why and self.step < options.steps:
                self.context.say(f"stopped early: {why}")
            if not self.run.report.exists():  # the run was killed while drawing it
                self._draw_report()
            return False
        if self.measurer:
            self.measurer.introduce()
        with (
            _stop_signals() as stop,
            progress_bar("scans", quiet=self.context.quiet or not self.rank.first) as bar,
            self._board() as board,
        ):
            total = options.steps * options.batch
            done = self.step * options.batch
            task = bar.add_task("training", total=total, completed=done, note="")
            started, first = time.monotonic(), self.step
            while self.step < options.steps:
                # Update D, then G
                self.sums += self.take_step(self.step)
                self.step += 1
                self.summed += 1
                bar.advance(task, options.batch)
                looking, ticking = self.step % LOOK == 0, options.is_tick(self.step)

                # Show the losses, and stop if they are NaN
                if looking or ticking:
                    losses = self._losses()
                    bar.update(task, note=self._note(losses))

                # Score, sample, save
                if ticking:
                    seconds = time.monotonic() - started
                    speed = (self.step - first) * options.batch / seconds
                    if self.measurer:
                        self.measurer.tick(self.take_step, self.step, losses, speed, board)
                    self._forget_losses()
                    self._save()
                    why = self._why_stop()
                    if why and self.step < options.steps:
                        self.context.say(f"stopped early: {why}")
                        break
                    started, first = time.monotonic(), self.step

                # Save and exit on a signal, all processes together
                if self.rank.anyone(bool(stop)) and self.step < options.steps:
                    self._save()
                    self.rank.agree(None)  # wait until it is saved: when one process exits, all end
                    raise Stopped(
                        f"stopped at {self._kimg():.1f} of {options.kimg:g} kimg and saved; "
                        f"run the same command again to continue"
                    )
            self._draw_report()
            if not last and self.rank.anyone(bool(stop)):
                raise Stopped(f"{self.run.path} is done; run the same command again to continue")
        return True

    def _draw_report(self) -> None:
        if self.measurer:
            self.measurer.draw_report(f"{self.context.title}: {self._kimg():.4g} kimg")

    def _losses(self) -> dict[str, float]:
        losses = dict(zip(LOSSES, (self.sums / self.summed).tolist(), strict=True))
        if all(map(math.isfinite, losses.values())):
            return losses
        lower = " ".join(
            f"--set {name}={max(getattr(self.options, name) / 2, LOWEST_RATE):g}"
            for name in ("lr_g", "lr_d")
        )
        raise TrainingError(
            f"{self.run.path}: the losses became NaN at {self._kimg():.1f} kimg; lower the learning "
            f"rates ({lower}) and choose another --out, or start over with --force, which deletes the "
            f"best generator so far"
        )

    def _forget_losses(self) -> None:
        self.sums.zero_()
        self.summed = 0

    def _note(self, losses: dict[str, float]) -> str:
        return "  ".join(
            [f"D {losses['loss_d']:.2f}", f"G {losses['loss_g']:.2f}"]
            + ([f"class {losses['loss_class']:.2f}"] if losses["loss_class"] else [])
        )

    def _why_stop(self) -> str | None:
        why = None
        if self.measurer and self.measurer.lines:
            # As of the last tick: a run that was stopped between ticks ends where it would have ended.
            kimg = self.measurer.lines[-1].kimg
            why = self.measurer.stopping.why_stop(kimg, self.options.patience)
        return self.rank.agree(why)

    def _board(self) -> Any:
        if not self.rank.first:
            return nullcontext()
        return SummaryWriter(str(self.run.path), purge_step=self.step + 1)

    def _save(self) -> None:
        if self.measurer is None:
            return
        checkpoint = Checkpoint(
            step=self.step,
            networks=self.take_step.state_dict(),
            progress=self.measurer.stopping,
            sums=self.sums.cpu(),
            summed=self.summed,
        )
        save_checkpoint(self.run, checkpoint)

    def _kimg(self) -> float:
        return self.options.kimg_at(self.step)


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list instead of exiting; a second Ctrl-C exits at once."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, which alone gets signals
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
