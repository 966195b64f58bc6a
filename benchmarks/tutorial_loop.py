"""The loop of the well-known tutorials, on our networks: what our step is measured against."""

from unittest.mock import patch

import torch
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, Dataset

from scangan.training import discriminator, losses
from scangan.training.augment import diff_augment
from scangan.training.discriminator import make_discriminator
from scangan.training.ema import ema_decay
from scangan.training.networks import make_generator
from scangan.training.sampling import step_draws


class FloatScans(Dataset):
    """Scans and labels one by one, each turned into floats: what ToTensor and Normalize do."""

    def __init__(self, scans):
        self.scans = scans

    def __len__(self):
        return len(self.scans.labels)

    def __getitem__(self, index):
        image = torch.from_numpy(self.scans.images[index])[None].float().div(255)
        return (image - 0.5) / 0.5, int(self.scans.labels[index])


class TutorialLoop:
    """The structure of PyTorch's DCGAN tutorial, and of the ACGANs written after it.

    Unlike `TrainingStep`: a DataLoader instead of scans in memory (they are decoded already, which
    folders of images are not); float32 and contiguous tensors; a pass of D and a backward pass for
    real and another one for fake scans; D's weights keep collecting gradients while G learns;
    PyTorch's own spectral norm; Adam is not fused; the losses are read after every step.
    """

    def __init__(self, options, scans, device="cpu", workers=0):
        torch.manual_seed(options.seed)
        self.options, self.device = options, torch.device(device)
        classes = len(scans.classes)
        self.generator = make_generator(options, classes).to(device)
        with patch.object(discriminator, "spectral_norm", spectral_norm):
            self.discriminator = make_discriminator(options, classes).to(device)
        self.ema = make_generator(options, classes).to(device).requires_grad_(False)
        self.ema.load_state_dict(self.generator.state_dict())
        betas = (options.beta1, options.beta2)
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), options.lr_g, betas)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), options.lr_d, betas)
        self.loader = DataLoader(
            FloatScans(scans),
            options.batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,  # else a small set starts them anew every few steps
        )
        self.history = []
        self._batches = iter(self.loader)

    def __call__(self, step):
        """Take a step."""
        real, label = (part.to(self.device) for part in self._next_batch())
        draws = step_draws(self.options.seed, step, "augment", self.device)
        self._rng = torch.Generator(self.device).manual_seed(step)
        weight = self.options.aux_weight

        # Real scans, then fake ones
        self.optimizer_d.zero_grad()
        on_real, logits = self._judge(real, label, draws)
        share = 0.5 * weight if self.options.aux_on_fake else weight
        loss_real = self._realness(on_real, True) + share * losses.classifier(logits, label)
        loss_real.backward()
        z = torch.randn(len(real), self.options.latent, device=self.device)
        fake = self.generator(z, label)
        on_fake, logits = self._judge(fake.detach(), label, draws)
        loss_fake = self._realness(on_fake, False)
        if self.options.aux_on_fake:
            loss_fake = loss_fake + share * losses.classifier(logits, label)
        loss_fake.backward()
        self.optimizer_d.step()

        # The generator
        self.optimizer_g.zero_grad()
        on_fake, logits = self._judge(fake, label, draws)
        adversarial = {"bce": losses.bce_generator, "hinge": losses.hinge_generator}
        loss_g = adversarial[self.options.loss](on_fake)
        loss_g = loss_g + weight * losses.classifier(logits, label)
        loss_g.backward()
        self.optimizer_g.step()
        self._average(step)
        self.history.append((loss_real.item(), loss_fake.item(), loss_g.item()))

    def _next_batch(self):
        try:
            return next(self._batches)
        except StopIteration:  # an epoch is over
            self._batches = iter(self.loader)
            return next(self._batches)

    def _judge(self, x, label, draws):
        x = diff_augment(x, draws, self.options.augment, self.options.augment_p)
        return self.discriminator(x, label, self._rng)

    def _realness(self, realness, real):
        """The half of D's loss that is about real, or about fake scans."""
        if self.options.loss == "hinge":
            return F.relu(1.0 - realness if real else 1.0 + realness).mean()
        target = torch.full_like(realness, 1.0 - self.options.label_smoothing if real else 0.0)
        return F.binary_cross_entropy_with_logits(realness, target)

    @torch.no_grad()
    def _average(self, step):
        seen = (step + 1) * self.options.batch
        decay = ema_decay(self.options.ema_kimg, seen, self.options.batch, self.options.ema_warmup)
        for averaged, now in zip(self.ema.parameters(), self.generator.parameters(), strict=True):
            averaged.mul_(decay).add_(now, alpha=1 - decay)
