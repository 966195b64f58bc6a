"""One step: an optimiser update of the discriminator and one or more of the generator."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from scangan.training import losses
from scangan.training.augment import diff_augment, flip
from scangan.training.discriminator import Discriminator
from scangan.training.ema import ema_decay, update_ema
from scangan.training.networks import Generator
from scangan.training.options import TrainOptions
from scangan.training.parallel import ALONE, Shard, share_statistics
from scangan.training.sampling import Sampler, step_draws

LOSSES = ("loss_d", "loss_g", "loss_class")


def fast_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device multiplies it in hardware, else None (float32)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    native = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    supported = any(getattr(torch.cpu, name, lambda: False)() for name in native)
    return torch.bfloat16 if supported else None


def learning_rate_factor(schedule: str, share: float, hold: float = 0.0) -> float:
    """What a schedule multiplies learning rates with when `share` (0 to 1) of the run is over.

    They are constant over the share `hold` of the run, and decay to 0 over what is left of it.
    """
    share = max(0.0, share - hold) / (1.0 - hold)
    if schedule == "linear":
        return 1.0 - share
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * share))
    return 1.0


def class_share(options: TrainOptions, seen: int) -> float:
    """How much the class counts, 0 to 1, after `seen` scans (Shahbazi et al. 2022)."""
    start, end = options.ramp_start * 1000, options.ramp_end * 1000
    if seen >= end:
        return 1.0
    return max(0.0, (seen - start) / (end - start)) if end > start else 0.0


class TrainingStep:
    """Networks, optimisers and scans; calling it with the number of a step takes that step.

    Parameters
    ----------
    generator, discriminator : Module
        Moved to `device`, channels last.
    sampler : Sampler
        Real scans.
    options : TrainOptions
        Losses, learning rates, batch.
    device : torch.device
        Where to compute.
    shard : Shard
        This process's part of every batch.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        sampler: Sampler,
        options: TrainOptions,
        device: torch.device,
        shard: Shard = ALONE,
    ) -> None:
        layout = torch.channels_last
        self.generator = generator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.discriminator = discriminator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        for network in (self.generator, self.discriminator):
            share_statistics(network, shard)
        self.sampler, self.options, self.device, self.shard = sampler, options, device, shard
        betas = (options.beta1, options.beta2)
        self.optimizer_g = torch.optim.Adam(generator.parameters(), options.lr_g, betas, fused=True)
        self.optimizer_d = torch.optim.Adam(
            discriminator.parameters(), options.lr_d, betas, fused=True
        )
        start = 0.0 if options.augment_target else options.augment_p
        self.augment_p = torch.tensor(start, device=device)
        self.anchors = torch.zeros(2, device=device)  # of LeCam: D's averages on real, on fake
        self._precision = fast_precision(device)

    def __call__(self, step: int) -> Tensor:
        """Take step number `step` (from 0); the losses, float [3] in the order of `LOSSES`."""
        self._schedule(step)
        n = self.options.batch // self.shard.world
        real, label = self.sampler.draw(n, self._draws("scans"))
        if self.options.mirror:
            real = flip(real, self._draws("mirror"))
        latents = self._draws("latents")
        # The fake scans have the classes of the real ones; one generator pass serves both updates.
        fake = self._generate(latents.normal(n, self.options.latent), label)
        loss_d, loss_class = self._update_discriminator(real, fake.detach(), label)
        loss_g = self._update_generator(real, fake, label)
        for _ in range(self.options.g_steps - 1):
            fake = self._generate(latents.normal(n, self.options.latent), label)
            loss_g = self._update_generator(real, fake, label)
        seen = (step + 1) * self.options.batch
        decay = ema_decay(self.options.ema_kimg, seen, self.options.batch, self.options.ema_warmup)
        update_ema(self.ema, self.generator, decay)
        return self.shard.mean(torch.stack([loss_d, loss_g, loss_class]).detach())

    def _schedule(self, step: int) -> None:
        options, seen = self.options, step * self.options.batch
        self._step = step
        factor = learning_rate_factor(options.lr_schedule, step / options.steps, options.lr_hold)
        for optimizer, rate in ((self.optimizer_g, options.lr_g), (self.optimizer_d, options.lr_d)):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        self._share = class_share(options, seen)
        for network in (self.generator, self.discriminator, self.ema):
            if network.ramped:
                network.share.fill_(self._share)
        self._noise = options.instance_noise * max(0.0, 1.0 - seen / (options.noise_kimg * 1000))
        self._augment_draws, self._noise_draws = self._draws("augment"), self._draws("noise")
        self._dropout_rng = self._draws("dropout").generator if options.dropout else None
        if self._dropout_rng and self.shard.rank:  # numbers of its own: it cannot take a part
            self._dropout_rng.manual_seed(self._dropout_rng.initial_seed() ^ self.shard.rank)

    def _draws(self, purpose: Any) -> Any:
        return step_draws(self.options.seed, self._step, purpose, self.device, self.shard)

    def _update_discriminator(
        self, real: Tensor, fake: Tensor, label: Tensor
    ) -> tuple[Tensor, Tensor]:
        options = self.options
        (on_real, logits), (on_fake, fake_logits) = self._judge_both(real, fake, label)
        if options.loss == "bce":
            flipped = None
            if options.label_flip:
                flipped = (self._draws("flips").uniform(len(real), 2) < options.label_flip).T
            loss = losses.bce_discriminator(on_real, on_fake, options.label_smoothing, flipped)
        elif options.loss == "hinge":
            loss = losses.hinge_discriminator(on_real, on_fake)
            if options.lecam:
                loss = loss + options.lecam * self._lecam(on_real, on_fake)
        else:
            loss = losses.relativistic(on_real, on_fake)
        loss_class = losses.classifier(logits, label)
        if options.aux_on_fake:
            loss_class = 0.5 * (loss_class + losses.classifier(fake_logits, label))
        total = loss + options.aux_weight * self._share * loss_class
        if self._step % options.penalty_every == 0:
            # Lazily, and so much more: Karras et al. 2020, appendix B.
            total = total + options.penalty_every * self._penalties(real, fake, label)
        self._take(self.discriminator, self.optimizer_d, total)
        if options.augment_target:
            self._adapt(on_real - on_fake if options.loss == "relativistic" else on_real)
        return loss, loss_class

    def _update_generator(self, real: Tensor, fake: Tensor, label: Tensor) -> Tensor:
        self.discriminator.requires_grad_(False)  # its weights need no gradient here
        if self.options.loss == "relativistic":
            (on_real, _), (on_fake, logits) = self._judge_both(real, fake, label)
            loss = losses.relativistic(on_fake, on_real)
        else:
            on_fake, logits = self._judge(self._seen_by_discriminator(fake), label)
            generator_loss = {"bce": losses.bce_generator, "hinge": losses.hinge_generator}
            loss = generator_loss[self.options.loss](on_fake)
        weight = self.options.aux_weight * self._share
        self._take(
            self.generator, self.optimizer_g, loss + weight * losses.classifier(logits, label)
        )
        self.discriminator.requires_grad_(True)
        return loss

    def _take(self, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        self.shard.average_gradients(network.parameters())
        optimizer.step()

    def _generate(self, z: Tensor, label: Tensor) -> Tensor:
        with self._autocast():
            fake: Tensor = self.generator(z, label)
        return fake.float()

    def _seen_by_discriminator(self, x: Tensor) -> Tensor:
        x = diff_augment(x, self._augment_draws, self.options.augment, self.augment_p)
        if self._noise:
            x = x + self._noise * self._noise_draws.normal(*x.shape)
        return x

    def _judge(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        with self._autocast():
            judged: tuple[Tensor, Tensor | None] = self.discriminator(x, label, self._dropout_rng)
        return judged

    def _judge_both(
        self, real: Tensor, fake: Tensor, label: Tensor
    ) -> tuple[tuple[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]:
        real, fake = self._seen_by_discriminator(real), self._seen_by_discriminator(fake)
        if self.options.batch_norm:
            # Together, the statistics would tell D what is real.
            return self._judge(real, label), self._judge(fake, label)
        n = len(real)
        realness, logits = self._judge(torch.cat([real, fake]), label.repeat(2))
        if logits is None:
            return (realness[:n], None), (realness[n:], None)
        return (realness[:n], logits[:n]), (realness[n:], logits[n:])

    def _penalties(self, real: Tensor, fake: Tensor, label: Tensor) -> Tensor:
        total = torch.zeros((), device=self.device)
        for weight, images in ((self.options.r1, real), (self.options.r2, fake)):
            if weight:
                images = images.detach().requires_grad_()
                # In float32: bfloat16 has too few digits for a gradient of a gradient.
                realness, _ = self.discriminator(
                    self._seen_by_discriminator(images), label, self._dropout_rng
                )
                total = total + weight * losses.gradient_penalty(realness, images)
        return total

    def _lecam(self, on_real: Tensor, on_fake: Tensor) -> Tensor:
        means = self.shard.mean(torch.stack([on_real.mean(), on_fake.mean()]).detach())
        # Averages with a memory of about 100 steps; those of the first steps count as many as there are.
        self.anchors.lerp_(means, max(0.01, 1.0 / (self._step + 1)))
        return losses.lecam(on_real, on_fake, self.anchors)

    @torch.no_grad()
    def _adapt(self, realness: Tensor) -> None:
        """Raise the probability of augmenting when D is too sure (Karras et al. 2020, ADA)."""
        options = self.options
        excess = self.shard.mean(realness.sign().mean()) - options.augment_target
        change = options.batch / (options.augment_kimg * 1000)
        self.augment_p.add_(excess.sign() * change).clamp_(0.0, options.augment_p)

    def _autocast(self) -> torch.autocast:
        dtype = self._precision or torch.float32
        return torch.autocast(self.device.type, dtype, enabled=self._precision is not None)

    def state_dict(self) -> dict[str, Any]:
        """All state, for resuming."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        return state | {"augment_p": self.augment_p.clone(), "anchors": self.anchors.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier `state_dict`."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.augment_p.copy_(state["augment_p"])
        if "anchors" in state:  # older runs had no LeCam penalty
            self.anchors.copy_(state["anchors"])

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema": self.ema,
            "optimizer_g": self.optimizer_g,
            "optimizer_d": self.optimizer_d,
        }
