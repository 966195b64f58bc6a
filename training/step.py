"""One step: an optimiser update of the discriminator and one of the generator."""

import copy
from typing import Any

import torch
from torch import Tensor

from scangan.training import losses
from scangan.training.augment import diff_augment
from scangan.training.ema import ema_decay, update_ema
from scangan.training.networks import Discriminator, Generator
from scangan.training.options import TrainOptions
from scangan.training.sampling import Sampler, step_rng

LOSSES = ("loss_d", "loss_g", "loss_class")


def fast_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device multiplies it in hardware, else None (float32)."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    native = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    supported = any(getattr(torch.cpu, name, lambda: False)() for name in native)
    return torch.bfloat16 if supported else None


class TrainingStep:
    """Networks, optimisers and scans; calling it with the number of a step takes that step.

    Parameters
    ----------
    generator, discriminator : Module
        Moved to `device`, channels last.
    sampler : Sampler
        Real scans.
    options : TrainOptions
        Learning rates, weights, batch.
    device : torch.device
        Where to compute.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        sampler: Sampler,
        options: TrainOptions,
        device: torch.device,
    ) -> None:
        layout = torch.channels_last
        self.generator = generator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.discriminator = discriminator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        self.sampler, self.options, self.device = sampler, options, device
        betas = (options.beta1, options.beta2)
        self.optimizer_g = torch.optim.Adam(generator.parameters(), options.lr, betas, fused=True)
        self.optimizer_d = torch.optim.Adam(
            discriminator.parameters(), options.lr, betas, fused=True
        )
        self._precision = fast_precision(device)

    def __call__(self, step: int) -> Tensor:
        """Take step number `step` (from 0); the losses, float [3] in the order of `LOSSES`."""
        options = self.options
        n = options.batch
        rng = step_rng(options.seed, step, "scans", self.device)
        real, label = self.sampler.draw(n, rng)
        rng = step_rng(options.seed, step, "latents", self.device)
        z = torch.randn(n, options.latent, generator=rng, device=self.device)
        self._augment_rng = step_rng(options.seed, step, "augment", self.device)
        # The fake scans have the classes of the real ones; one generator pass serves both updates.
        with self._autocast():
            fake = self.generator(z, label)
        fake = fake.float()

        # Discriminator: real and fake in one pass
        both, both_labels = torch.cat([real, fake.detach()]), label.repeat(2)
        realness, logits = self._judge(both, both_labels)
        loss_d = losses.hinge_discriminator(realness[:n], realness[n:])
        loss_class = losses.classifier(None if logits is None else logits[:n], label)
        self.optimizer_d.zero_grad()
        (loss_d + options.aux_weight * loss_class).backward()
        self.optimizer_d.step()

        # Generator, through a discriminator whose weights need no gradient
        self.discriminator.requires_grad_(False)
        realness, logits = self._judge(fake, label)
        loss_g = losses.hinge_generator(realness)
        self.optimizer_g.zero_grad()
        (loss_g + options.aux_weight * losses.classifier(logits, label)).backward()
        self.optimizer_g.step()
        self.discriminator.requires_grad_(True)

        seen = (step + 1) * n
        update_ema(self.ema, self.generator, ema_decay(options.ema_kimg, seen, n))
        return torch.stack([loss_d.detach(), loss_g.detach(), loss_class.detach()])

    def _judge(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.options.augment:
            x = diff_augment(x, self._augment_rng)
        with self._autocast():
            realness, logits = self.discriminator(x, label)
        return realness.float(), None if logits is None else logits.float()

    def _autocast(self) -> torch.autocast:
        dtype = self._precision or torch.float32
        return torch.autocast(self.device.type, dtype, enabled=self._precision is not None)

    def state_dict(self) -> dict[str, Any]:
        """All state, for resuming."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier `state_dict`."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema": self.ema,
            "optimizer_g": self.optimizer_g,
            "optimizer_d": self.optimizer_d,
        }
