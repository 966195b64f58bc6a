"""What happens at a tick: score the generator, save the best, log the scores, draw samples."""

import functools
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.tensorboard import SummaryWriter

from scangan.artifacts.run_records import Tick
from scangan.artifacts.scores import KeptScores, RealScores, Scores
from scangan.core.counted import counted
from scangan.core.files import write_bytes
from scangan.core.png import encode_png
from scangan.core.sheet import NOTICE, contact_sheet
from scangan.evaluation.metrics import RealReference
from scangan.training.checkpoints import Best, load_generator, save_best
from scangan.training.context import Context
from scangan.training.data import TrainingScans
from scangan.training.discriminator_auc import DiscriminatorAuc
from scangan.training.early_stopping import EarlyStopping
from scangan.training.ema import BATCHES, with_own_statistics
from scangan.training.networks import Generator
from scangan.training.progress_text import describe, variety_warning
from scangan.training.report_figure import draw_report
from scangan.training.sampling import step_draws
from scangan.training.scoring import generate, scans_to_score
from scangan.training.step import TrainingStep

Kind = Literal["raw", "ema"]
GRID = 8  # scans per class in a sample sheet


class Measurer:
    """Scores generators against held-back real scans and remembers the earlier ticks of the run.

    Parameters
    ----------
    context : Context
        The run, its options, and where lines of text go.
    scans : TrainingScans
        The scans of the run; synthetic ones are not scored against.
    """

    def __init__(self, context: Context, scans: TrainingScans) -> None:
        self.run, self.options, self.say = context.run, context.options, context.say
        self.scans = scans
        self.real = scans.real()
        self.stopping = EarlyStopping()
        self.lines: list[Tick] = []
        self._warned: set[str] = set()

    @functools.cached_property
    def reference(self) -> RealReference:
        """What scans are scored against; a run that has nothing left to do never needs it."""
        real = self.real
        return RealReference(
            real.images, real.labels, real.classes, held_back=real.held_back, groups=real.groups
        )

    @functools.cached_property
    def _auc(self) -> DiscriminatorAuc:
        return DiscriminatorAuc(self.real, self.options.seed)

    @property
    def real_scores(self) -> RealScores:
        """Scores of real scans, for comparison."""
        reference = self.reference
        return RealScores(
            real_kid=reference.real_kid,
            mean_real_class_kid=reference.mean_real_class_kid,
            probe_accuracy=reference.probe_accuracy,
            real_precision=reference.real_precision,
            real_recall=reference.real_recall,
        )

    def introduce(self) -> None:
        """Report how many scans are trained on and scored against, and what real scans score."""
        held, all_of = int(self.scans.held_back.sum()), len(self.scans.images)
        probe = self.reference.probe_accuracy
        self.say(
            f"{counted(all_of - held, 'scan')} to train on, {held} held back to score against; real scans "
            f"score KID x1000 {max(self.reference.mean_real_class_kid, 0) * 1000:.1f}"
            + ("" if probe is None else f", class agreement {probe:.0%}")
        )
        if self.options.feature_weight:
            self.say(
                "the generator also learns through the network that scores it (feature_weight), so these "
                "scores flatter; judge with eval-scans, which has other networks"
            )
        seen = self.reference.not_held_back
        if seen:
            why = (
                "too few scans or subjects to hold any back"
                if self.options.held_back
                else "none held back"
            )
            self.say(
                f"{', '.join(seen)}: {why}; scores compare with the training scans, so they cannot "
                f"tell learning from copying"
            )

    def resume(self) -> None:
        """Load the earlier ticks of the run."""
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
        """Score the raw and the averaged generator, save the better one if it is the best, log it all."""
        options, kimg = self.options, self.options.kimg_at(step)
        candidates: dict[Kind, Generator] = {
            "raw": trained.generator.eval(),
            "ema": self._averaged(trained),
        }
        made = {
            kind: scans_to_score(model, options.latent, options.seed, trained.device)
            for kind, model in candidates.items()
        }
        trained.generator.train()
        scores = {kind: self.reference.score(*scans) for kind, scans in made.items()}
        training, synthetic = self._auc.measure(trained.discriminator.eval(), made["raw"])
        trained.discriminator.train()
        best = self._keep_best(candidates, scores, kimg)
        line = Tick(
            step=step,
            kimg=kimg,
            loss_d=losses["loss_d"],
            loss_g=losses["loss_g"],
            loss_class=losses["loss_class"],
            augment_p=float(trained.augment_p),
            images_per_second=round(speed, 1),
            raw=scores["raw"],
            ema=scores["ema"],
            auc_training=training,
            auc_synthetic=synthetic,
            best=best,
        )
        self.lines.append(line)
        self.run.append_metrics(line)
        self.say(describe(self.lines, self.real_scores))
        for warning in variety_warning(self.lines, self._warned):
            self.say(f"warning: {warning}")
        _record(board, line, self._sample(candidates["ema"], kimg))

    def _keep_best(
        self, candidates: dict[Kind, Generator], scores: dict[Kind, Scores], kimg: float
    ) -> Kind | None:
        """Save the better candidate if it is the best so far; return its kind, or None."""
        kind = min(scores, key=lambda k: scores[k].mean_class_kid)
        if not self.stopping.note(scores[kind].mean_class_kid, kimg):
            return None
        state = {k: v.cpu() for k, v in candidates[kind].state_dict().items()}
        save_best(self.run, Best(state, kind, kimg, KeptScores.of(scores[kind], self.real_scores)))
        return kind

    def draw_report(self, title: str) -> None:
        """Write ``report.png``: the curves of the run, and real next to the best synthetic scans."""
        model, _ = load_generator(self.run)
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


def _record(board: SummaryWriter, tick: Tick, sheet: npt.NDArray[np.uint8]) -> None:
    """Log a tick to TensorBoard."""
    for name in ("loss_d", "loss_g", "loss_class", "augment_p", "images_per_second"):
        board.add_scalar(f"training/{name}", getattr(tick, name), tick.step)
    for kind, scores in (("raw", tick.raw), ("ema", tick.ema)):
        for name in ("kid", "mean_class_kid", "mean_agreement", "mean_precision", "mean_recall"):
            if (value := getattr(scores, name)) is not None:
                board.add_scalar(f"{kind}/{name}", value, tick.step)
        for name, value in scores.variety.items():
            board.add_scalar(f"{kind}/variety/{name}", value, tick.step)
    for name, aucs in (("auc_training", tick.auc_training), ("auc_synthetic", tick.auc_synthetic)):
        for of_class, value in aucs.items():
            board.add_scalar(f"{name}/{of_class}", value, tick.step)
    board.add_image("samples", sheet, tick.step, dataformats="HW")
    board.flush()
