"""What happens at a tick: score the generator, keep the best, write it down, draw samples."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.tensorboard import SummaryWriter

from scangan.core.counted import counted
from scangan.core.files import write_bytes
from scangan.core.png import encode_png
from scangan.core.sheet import NOTICE, contact_sheet
from scangan.evaluation.metrics import RealReference, Scores
from scangan.training.context import Context
from scangan.training.data import TrainingScans
from scangan.training.ema import BATCHES, with_own_statistics
from scangan.training.networks import Generator
from scangan.training.report import draw_report
from scangan.training.run import Best
from scangan.training.sampling import step_draws
from scangan.training.scoring import generate, score_generator
from scangan.training.step import TrainingStep
from scangan.training.words import describe, variety_warning

GRID = 8  # scans of a class in a sample sheet
DIVERGED, TICKS = 5.0, 3  # times the best score, in so many ticks one after the other


@dataclasses.dataclass
class Progress:
    """What a run remembers of its ticks; saved with it."""

    best_score: float = float("inf")
    best_kimg: float = 0.0
    bad_ticks: int = 0

    def note(self, score: float, kimg: float) -> bool:
        """Note a score (lower is better); whether it is the best."""
        improved = score < self.best_score
        if improved:
            self.best_score, self.best_kimg = score, kimg
        # Scores near zero are chance; a run that good does not diverge by wavering.
        far = not np.isfinite(score) or score > DIVERGED * max(self.best_score, 0.01)
        self.bad_ticks = self.bad_ticks + 1 if far else 0
        return improved

    def why_stop(self, kimg: float, patience: float) -> str | None:
        """Say why to end the run early; None to go on."""
        if self.bad_ticks >= TICKS:
            return f"{self.bad_ticks} scores one after the other were far worse than the best: it diverged"
        if patience and kimg - self.best_kimg >= patience:
            return (
                f"nothing improved for {kimg - self.best_kimg:.0f} kimg (--patience {patience:g})"
            )
        return None


class Measurer:
    """Scores generators against held-back real scans; knows all earlier ticks of the run.

    Parameters
    ----------
    context : Context
        The run, and who reads of it.
    scans : TrainingScans
        Of the run; synthetic ones among them are not scored against.
    """

    def __init__(self, context: Context, scans: TrainingScans) -> None:
        self.run, self.options, self.say = context.run, context.options, context.say
        self.scans = scans
        self.real = real = scans.real()
        self.reference = RealReference(
            real.images, real.labels, real.classes, held_back=real.held_back
        )
        self.progress = Progress()
        self.lines: list[dict[str, Any]] = []
        self._warned: set[str] = set()

    @property
    def real_scores(self) -> dict[str, Any]:
        """What real scans score, to compare with."""
        reference = self.reference
        return {
            "real_kid": reference.real_kid,
            "mean_real_class_kid": reference.mean_real_class_kid,
            "probe_accuracy": reference.probe_accuracy,
            "real_precision": reference.real_precision,
            "real_recall": reference.real_recall,
        }

    def introduce(self) -> None:
        """Say what is scored against what."""
        held, all_of = int(self.scans.held_back.sum()), len(self.scans.images)
        probe = self.reference.probe_accuracy
        self.say(
            f"{counted(all_of - held, 'scan')} to train on, {held} held back to score against; real scans "
            f"score KID x1000 {max(self.reference.mean_real_class_kid, 0) * 1000:.1f}"
            + ("" if probe is None else f", {probe:.0%} in right class")
        )
        seen = self.reference.not_held_back
        if seen:
            why = "too few scans to hold any back" if self.options.held_back else "none held back"
            self.say(
                f"{', '.join(seen)}: {why}; scored against those trained on, which cannot tell "
                f"learning from copying"
            )

    def resume(self) -> None:
        """Read what was measured before."""
        self.lines = self.run.read_metrics()
        for n in range(1, len(self.lines) + 1):
            variety_warning(self.lines[:n], self._warned)

    def tick(
        self,
        trained: TrainingStep,
        step: int,
        losses: dict[str, float],
        speed: float,
        board: SummaryWriter,
    ) -> None:
        """Score the raw and the averaged generator; keep, record, draw."""
        kimg = step * self.options.batch / 1000
        candidates = {"raw": trained.generator.eval(), "ema": self._averaged(trained)}
        scores = {kind: self._score(model, trained.device) for kind, model in candidates.items()}
        trained.generator.train()
        best = self._keep_best(candidates, scores, kimg)
        line: dict[str, Any] = {"step": step, "kimg": kimg, **losses}
        line |= {"augment_p": float(trained.augment_p), "images_per_second": round(speed, 1)}
        line |= {kind: s.to_dict() for kind, s in scores.items()} | {"best": best}
        self.lines.append(line)
        self.run.append_metrics(line)
        self.say(describe(self.lines, self.real_scores))
        for warning in variety_warning(self.lines, self._warned):
            self.say(f"warning: {warning}")
        _record(board, line, self._sample(candidates["ema"], kimg))

    def _score(self, model: Generator, device: torch.device) -> Scores:
        options = self.options
        return score_generator(model, self.reference, options.latent, options.seed, device)

    def _keep_best(
        self, candidates: dict[str, Generator], scores: dict[str, Scores], kimg: float
    ) -> str | None:
        """Save the better of the candidates if it is the best so far; which one that is."""
        kind = min(scores, key=lambda k: scores[k].mean_class_kid)
        if not self.progress.note(scores[kind].mean_class_kid, kimg):
            return None
        state = {k: v.cpu() for k, v in candidates[kind].state_dict().items()}
        self.run.save_best(Best(state, kind, kimg, scores[kind].to_dict() | self.real_scores))
        return kind

    def draw_report(self, title: str) -> None:
        """Write ``report.png``: how the run went, and real beside the best synthetic scans."""
        model, _ = self.run.load_generator()
        draws = step_draws(self.options.seed, 0, "samples", torch.device("cpu"))
        images, labels = generate(model, GRID, self.options.latent, draws)
        rows = range(len(self.scans.classes))
        synthetic = [(self.scans.classes[k], images[labels == k][:GRID]) for k in rows]
        rng = np.random.default_rng(self.options.seed)
        real = []
        for k in rows:
            of_class = np.flatnonzero(self.real.labels == k)
            chosen = rng.choice(of_class, GRID, replace=len(of_class) < GRID)
            real.append((self.scans.classes[k], np.asarray(self.real.images[np.sort(chosen)])))
        picture = draw_report(
            self.lines, real, synthetic, real_scores=self.real_scores, title=title
        )
        write_bytes(self.run.report, picture)

    def _averaged(self, trained: TrainingStep) -> Generator:
        options, device = self.options, trained.device
        draws = step_draws(options.seed, 0, "statistics", device)
        latents = [draws.normal(options.batch, options.latent) for _ in range(BATCHES)]
        labels = None
        if self.options.by_class:
            order = torch.arange(BATCHES * options.batch, device=device)
            labels = list((order % len(self.scans.classes)).split(options.batch))
        return with_own_statistics(trained.ema, latents, labels)

    def _sample(self, model: Generator, kimg: float) -> npt.NDArray[np.uint8]:
        draws = step_draws(self.options.seed, 0, "samples", next(model.parameters()).device)
        per_class = GRID if self.options.by_class else GRID * GRID
        images, _ = generate(model, per_class, self.options.latent, draws)
        names = self.scans.classes if self.options.by_class else ("",) * GRID
        rows = list(zip(names, images.reshape(len(names), GRID, *images.shape[1:]), strict=True))
        sheet = contact_sheet(rows, f"synthetic, {kimg:.1f} kimg")
        name = f"{round(kimg * 1000):09d}.png"
        write_bytes(self.run.path / "samples" / name, encode_png(sheet, {"Comment": NOTICE}))
        return sheet


def _record(board: SummaryWriter, line: dict[str, Any], sheet: npt.NDArray[np.uint8]) -> None:
    """Show a tick in TensorBoard."""
    step = line["step"]
    for name in ("loss_d", "loss_g", "loss_class", "augment_p", "images_per_second"):
        board.add_scalar(f"training/{name}", line[name], step)
    for kind in ("raw", "ema"):
        for name in ("kid", "mean_class_kid", "mean_agreement", "mean_precision", "mean_recall"):
            if line[kind][name] is not None:
                board.add_scalar(f"{kind}/{name}", line[kind][name], step)
        for name, value in line[kind]["variety"].items():
            board.add_scalar(f"{kind}/variety/{name}", value, step)
    board.add_image("samples", sheet, step, dataformats="HW")
    board.flush()
