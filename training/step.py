"""One training step: an update of the discriminator and one or more of the generator."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from scangan.artifacts.train_options import TrainOptions
from scangan.training import losses
from scangan.training.augment import diff_augment, flip
from scangan.training.data import TrainingScans
from scangan.training.discriminator import Discriminator, make_discriminator
from scangan.training.ema import ema_decay, update_ema
from scangan.training.feature_discriminator import (
    ALONE_KIMG,
    BETAS,
    RATE,
    FeatureDiscriminator,
    make_feature_discriminator,
)
from scangan.training.networks import Generator, make_generator
from scangan.training.parallel import ALONE, Rank, share_statistics
from scangan.training.sampling import Draws, Purpose, Sampler, step_draws

LOSSES = ("loss_d", "loss_g", "loss_class")
Judged = tuple[Tensor, Tensor | None]  # realness [N] and class logits [N, K]


def fast_precision(device: torch.device) -> torch.dtype | None:
    """Return bfloat16 if the device multiplies it in hardware, else None (float32)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    native = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    supported = any(getattr(torch.cpu, name, lambda: False)() for name in native)
    return torch.bfloat16 if supported else None


def learning_rate_factor(schedule: str, share: float, hold: float = 0.0) -> float:
    """Return the factor for the learning rates after `share` (0 to 1) of the run.

    The rates are constant for the share `hold` of the run, then decay to 0 at its end.
    """
    share = max(0.0, share - hold) / (1.0 - hold)
    if schedule == "linear":
        return 1.0 - share
    return 1.0


def class_share(options: TrainOptions, seen: int) -> float:
    """Return the strength of conditioning, 0 to 1, after `seen` scans (Shahbazi et al. 2022)."""
    start, end = options.ramp_start * 1000, options.ramp_end * 1000
    if seen >= end:
        return 1.0
    return max(0.0, (seen - start) / (end - start)) if end > start else 0.0


@dataclasses.dataclass(frozen=True)
class Moment:
    """The settings of one step. They depend only on its number, so resuming is exact.

    Parameters
    ----------
    number : int
        Number of the step, from 0.
    class_share : float
        Strength of conditioning, 0 to 1.
    noise : float
        Standard deviation of the noise on the discriminator's input.
    augment_draws, noise_draws : Draws
        Sources of randomness for augmentation and noise; each pass of the discriminator draws anew.
    dropout : torch.Generator or None
        Source of randomness for dropout; None without dropout.
    """

    number: int
    class_share: float
    noise: float
    augment_draws: Draws
    noise_draws: Draws
    dropout: torch.Generator | None


def make_step(
    options: TrainOptions, scans: TrainingScans, device: torch.device, rank: Rank = ALONE
) -> "TrainingStep":
    """Make a training step: networks with random weights, and the scans not held back."""
    torch.manual_seed(options.seed)
    classes = len(scans.classes) if options.arch == "acgan" else 0
    generator, discriminator = (
        make_generator(options, classes),
        make_discriminator(options, classes),
    )
    images = torch.from_numpy(scans.images[~scans.held_back]).to(device)
    labels = torch.from_numpy(scans.labels[~scans.held_back]).to(device)
    sampler = Sampler(images, labels, classes if options.balanced else 0)
    features = make_feature_discriminator(options, classes)
    return TrainingStep(generator, discriminator, sampler, options, device, rank, features)


class TrainingStep:
    """Networks, optimisers and scans; call it with a step's number to take that step.

    Parameters
    ----------
    generator, discriminator : Module
        The networks; they are moved to `device`, channels last.
    sampler : Sampler
        Source of real scans.
    options : TrainOptions
        Losses, learning rates, batch.
    device : torch.device
        Where to compute.
    rank : Rank
        This process, which takes its share of every batch.
    features : FeatureDiscriminator, optional
        Further discriminators, which look through frozen features.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        sampler: Sampler,
        options: TrainOptions,
        device: torch.device,
        rank: Rank = ALONE,
        features: FeatureDiscriminator | None = None,
    ) -> None:
        layout = torch.channels_last
        self.generator = generator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.discriminator = discriminator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        for network in (self.generator, self.discriminator):
            share_statistics(network, rank)
        self.sampler, self.options, self.device, self.rank = sampler, options, device, rank
        betas = (options.beta1, options.beta2)
        self.optimizer_g = torch.optim.Adam(generator.parameters(), options.lr_g, betas, fused=True)
        self.optimizer_d = torch.optim.Adam(
            discriminator.parameters(), options.lr_d, betas, fused=True
        )
        self.features = features
        if features is not None:
            features.to(device=device, memory_format=layout)  # type: ignore[call-overload]
            self.optimizer_f = torch.optim.Adam(
                features.judges.parameters(), RATE, BETAS, fused=True
            )
        start = 0.0 if options.augment_target else options.augment_p
        self.augment_p = torch.tensor(start, device=device)
        self.anchors = torch.zeros(2, device=device)  # for LeCam: D's averages on real and on fake
        self._precision = fast_precision(device)

    def __call__(self, number: int) -> Tensor:
        """Take step `number` (from 0); return the losses, float [3] in the order of `LOSSES`."""
        options, now = self.options, self._moment(number)
        self._set_learning_rates(number)
        self._set_class_share(now.class_share)
        n = options.batch // self.rank.world
        real, label = self.sampler.draw(n, self._draws(number, "scans"))
        if options.mirror:
            real = flip(real, self._draws(number, "mirror"))
        latents = self._draws(number, "latents")
        # Fake scans have the classes of the real ones. One generator pass serves both updates.
        fake = self._generate(latents.normal(n, options.latent), label)
        loss_d, loss_class = self._update_discriminator(real, fake.detach(), label, now)
        loss_g = self._update_generator(real, fake, label, now)
        for _ in range(options.g_steps - 1):
            fake = self._generate(latents.normal(n, options.latent), label)
            loss_g = self._update_generator(real, fake, label, now)
        seen = (number + 1) * options.batch
        decay = ema_decay(options.ema_kimg, seen, options.batch, options.ema_warmup)
        update_ema(self.ema, self.generator, decay)
        return self.rank.mean(torch.stack([loss_d, loss_g, loss_class]).detach())

    def _update_discriminator(
        self, real: Tensor, fake: Tensor, label: Tensor, now: Moment
    ) -> tuple[Tensor, Tensor]:
        options = self.options
        (on_real, logits), (on_fake, fake_logits) = self._judge_both(real, fake, label, now)
        if options.loss == "bce":
            flipped = None
            if options.label_flip:
                draws = self._draws(now.number, "flips")
                flipped = (draws.uniform(len(real), 2) < options.label_flip).T
            loss = losses.bce_discriminator(on_real, on_fake, options.label_smoothing, flipped)
        elif options.loss == "hinge":
            loss = losses.hinge_discriminator(on_real, on_fake)
            if options.lecam:
                loss = loss + options.lecam * self._lecam(on_real, on_fake, now.number)
        else:
            loss = losses.relativistic(on_real, on_fake)
        loss_class = losses.classifier(logits, label)
        if options.aux_on_fake:
            loss_class = 0.5 * (loss_class + losses.classifier(fake_logits, label))
        total = loss + options.aux_weight * now.class_share * loss_class
        if now.number % options.penalty_every == 0:
            # Lazy regularisation: rarer, but stronger (Karras et al. 2020, appendix B).
            total = total + options.penalty_every * self._penalties(real, fake, label, now)
        self._take(self.discriminator, self.optimizer_d, total)
        if self.features is not None and now.number % options.feature_every == 0:
            self._update_features(self.features, real, fake, label, now)
        if options.augment_target:
            self._adapt(on_real - on_fake if options.loss == "relativistic" else on_real)
        return loss, loss_class

    def _update_features(
        self, features: FeatureDiscriminator, real: Tensor, fake: Tensor, label: Tensor, now: Moment
    ) -> None:
        seen = self._as_seen(torch.cat([real, fake]), now)
        on_real, on_fake = features(seen, label.repeat(2)).chunk(2)
        self._take(features.judges, self.optimizer_f, losses.hinge_discriminator(on_real, on_fake))

    def _update_generator(self, real: Tensor, fake: Tensor, label: Tensor, now: Moment) -> Tensor:
        options = self.options
        self._let_discriminators_learn(False)  # no gradients for their weights here
        if options.loss == "relativistic":
            (on_real, _), (on_fake, logits) = self._judge_both(real, fake, label, now)
            loss = losses.relativistic(on_fake, on_real)
        else:
            on_fake, logits = self._judge(self._as_seen(fake, now), label, now)
            generator_loss = {"bce": losses.bce_generator, "hinge": losses.hinge_generator}
            loss = generator_loss[options.loss](on_fake)
        loss_class = losses.classifier(logits, label)
        total = loss + options.aux_weight * now.class_share * loss_class
        if self.features is not None and self._listens(now):
            # Rarer, but stronger, like the gradient penalties.
            weight = options.feature_weight * options.feature_every
            total = total + weight * losses.hinge_generator(
                self.features(self._as_seen(fake, now), label)
            )
        self._take(self.generator, self.optimizer_g, total)
        self._let_discriminators_learn(True)
        return loss

    def _let_discriminators_learn(self, whether: bool) -> None:
        self.discriminator.requires_grad_(whether)
        if self.features is not None:
            self.features.judges.requires_grad_(whether)

    def _listens(self, now: Moment) -> bool:
        """Whether the generator listens to the discriminators of features in this step."""
        return (
            now.number % self.options.feature_every == 0
            and self.options.kimg_at(now.number) >= ALONE_KIMG
        )

    def _judge_both(
        self, real: Tensor, fake: Tensor, label: Tensor, now: Moment
    ) -> tuple[Judged, Judged]:
        real, fake = self._as_seen(real, now), self._as_seen(fake, now)
        if self.options.batch_norm:
            # In one batch, the statistics would tell D which scans are real.
            return self._judge(real, label, now), self._judge(fake, label, now)
        n = len(real)
        realness, logits = self._judge(torch.cat([real, fake]), label.repeat(2), now)
        if logits is None:
            return (realness[:n], None), (realness[n:], None)
        return (realness[:n], logits[:n]), (realness[n:], logits[n:])

    def _penalties(self, real: Tensor, fake: Tensor, label: Tensor, now: Moment) -> Tensor:
        total = torch.zeros((), device=self.device)
        for weight, images in ((self.options.r1, real), (self.options.r2, fake)):
            if weight:
                images = images.detach().requires_grad_()
                # In float32, as bfloat16 has too few digits for a gradient of a gradient.
                realness, _ = self.discriminator(self._as_seen(images, now), label, now.dropout)
                total = total + weight * losses.gradient_penalty(realness, images)
        return total

    def _lecam(self, on_real: Tensor, on_fake: Tensor, number: int) -> Tensor:
        means = self.rank.mean(torch.stack([on_real.mean(), on_fake.mean()]).detach())
        # Moving averages over about 100 steps; in the first steps, over all steps so far.
        self.anchors.lerp_(means, max(0.01, 1.0 / (number + 1)))
        return losses.lecam(on_real, on_fake, self.anchors)

    @torch.no_grad()
    def _adapt(self, realness: Tensor) -> None:
        """Raise or lower the augmentation probability by how sure D is (Karras et al. 2020, ADA)."""
        options = self.options
        excess = self.rank.mean(realness.sign().mean()) - options.augment_target
        change = options.batch / (options.augment_kimg * 1000)
        self.augment_p.add_(excess.sign() * change).clamp_(0.0, options.augment_p)

    def _take(self, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        self.rank.average_gradients(network.parameters())
        optimizer.step()

    def _generate(self, z: Tensor, label: Tensor) -> Tensor:
        with self._autocast():
            fake: Tensor = self.generator(z, label)
        return fake.float()

    def _judge(self, x: Tensor, label: Tensor, now: Moment) -> Judged:
        with self._autocast():
            judged: Judged = self.discriminator(x, label, now.dropout)
        return judged

    def _as_seen(self, x: Tensor, now: Moment) -> Tensor:
        """Augment scans and add noise, as for every input of the discriminator."""
        x = diff_augment(x, now.augment_draws, self.options.augment, self.augment_p)
        if now.noise:
            x = x + now.noise * now.noise_draws.normal(*x.shape)
        return x

    def _autocast(self) -> torch.autocast:
        dtype = self._precision or torch.float32
        return torch.autocast(self.device.type, dtype, enabled=self._precision is not None)

    def _moment(self, number: int) -> Moment:
        options, seen = self.options, number * self.options.batch
        dropout = self._draws(number, "dropout").generator if options.dropout else None
        if dropout and self.rank.number:  # dropout cannot take a share of common numbers
            dropout.manual_seed(dropout.initial_seed() ^ self.rank.number)
        return Moment(
            number,
            class_share(options, seen),
            options.instance_noise * max(0.0, 1.0 - seen / (options.noise_kimg * 1000)),
            self._draws(number, "augment"),
            self._draws(number, "noise"),
            dropout,
        )

    def _draws(self, number: int, purpose: Purpose) -> Draws:
        return step_draws(self.options.seed, number, purpose, self.device, self.rank)

    def _set_learning_rates(self, number: int) -> None:
        options = self.options
        share = number / options.steps
        factor = learning_rate_factor(options.lr_schedule, share, options.lr_hold)
        rates = [(self.optimizer_g, options.lr_g), (self.optimizer_d, options.lr_d)]
        if self.features is not None:
            rates.append((self.optimizer_f, RATE))
        for optimizer, rate in rates:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def _set_class_share(self, share: float) -> None:
        for network in (self.generator, self.discriminator, self.ema):
            if network.ramped:
                network.share.fill_(share)

    def state_dict(self) -> dict[str, object]:
        """Return all state needed to resume."""
        state: dict[str, object] = {name: part.state_dict() for name, part in self._parts().items()}
        return state | {"augment_p": self.augment_p.clone(), "anchors": self.anchors.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the state from `state_dict`."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.augment_p.copy_(state["augment_p"])
        if "anchors" in state:  # older runs had no LeCam penalty
            self.anchors.copy_(state["anchors"])

    def _parts(self) -> dict[str, Any]:
        features = {}
        if self.features is not None:
            features = {"features": self.features, "optimizer_f": self.optimizer_f}
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema": self.ema,
            "optimizer_g": self.optimizer_g,
            "optimizer_d": self.optimizer_d,
            **features,
        }
