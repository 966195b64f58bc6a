"""Several processes as one: shares of a batch, averaged gradients, shared BatchNorm statistics.

Gradients are averaged by one all-reduce of all of them together: the networks are a few megabytes,
and a discriminator that is used in both updates does not fit DistributedDataParallel's hooks.
"""

import atexit
import dataclasses
import datetime
import functools
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

# The others wait while the first one prepares scans.
TIMEOUT = datetime.timedelta(hours=12)


@dataclasses.dataclass(frozen=True)
class Rank:
    """One process of ``torchrun``: which of how many it is.

    Parameters
    ----------
    number : int
        From 0; the first one scores, reports and saves.
    world : int
        Number of processes.
    store : Store, optional
        Where they count which of them failed.
    """

    number: int = 0
    world: int = 1
    store: Any = None

    @property
    def first(self) -> bool:
        """Whether this process is the one that scores, reports and saves."""
        return self.number == 0

    def own(self, whole: Tensor) -> Tensor:
        """This process's own share of a batch [N, ...]: N / world neighbours."""
        return whole.tensor_split(self.world)[self.number] if self.world > 1 else whole

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.mean(torch.cat([g.flatten() for g in gradients]))
        for g, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            g.copy_(mean.view_as(g))

    def mean(self, x: Tensor) -> Tensor:
        """The mean of a tensor over the processes; the tensor itself where there is one."""
        if self.world == 1:
            return x
        x = x.clone()
        dist.all_reduce(x)
        return x / self.world

    def agree(self, value: T) -> T:
        """What the first process says, in all of them."""
        if self.world == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, 0)
        return said[0]

    def anyone(self, value: bool) -> bool:
        """Whether it holds in any process."""
        if self.world == 1:
            return value
        held = torch.tensor(int(value))  # on the CPU: no GPU has to be waited for
        dist.all_reduce(held, dist.ReduceOp.MAX)
        return bool(held)

    def fails_first(self) -> bool:
        """Whether no other process has failed before; from now on, this one has."""
        if self.store is None:
            return True
        try:
            return bool(self.store.add("failed", 1) == 1)
        except RuntimeError:  # it went with the process that kept it
            return False


ALONE = Rank()


@functools.cache  # once: a second `train` in the same processes finds them joined
def join_processes() -> Rank:
    """Join the processes that ``torchrun`` started; `ALONE` where it started none.

    All but the first one lose their standard output: what all of them print is to be read once.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    from torch.distributed.rendezvous import rendezvous  # which not every build of torch has

    store, number, world = next(rendezvous("env://", timeout=TIMEOUT))
    on_gpus = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=world, timeout=TIMEOUT)
    atexit.register(_leave)
    if number:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    return Rank(number, world, store)


def _leave() -> None:
    """End gloo's threads while there is an interpreter: they hold tensors, and would abort after it."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def raise_first_failure(rank: Rank) -> Iterator[None]:
    """Raise only what failed first; the other processes fail of the same, or of its end, and exit."""
    try:
        yield
    except BaseException as error:
        if rank.fails_first():
            raise
        raise SystemExit(getattr(error, "exit_code", 1)) from None


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the processes. Its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Sum.apply(gradient)  # type: ignore[no-untyped-call]


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose statistics are those of the whole batch, however many processes share it.

    torch's SyncBatchNorm needs a GPU.
    """

    shared = False  # over all processes, where `share_statistics` says so

    def forward(self, x: Tensor) -> Tensor:
        if not (self.shared and self.training):
            return super().forward(x)
        x32 = x.float()
        mean, variance = _whole_statistics(x32)
        self._remember(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        out = (x32 - mean[:, None, None]) * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return out.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, local: int) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        count = local * dist.get_world_size()
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        self.num_batches_tracked.add_(1)


def _whole_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] over all processes' [N, C, H, W]."""
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    own = torch.stack([mean, variance])
    # Every process's own, not sums of squares: those lose digits where the mean is large.
    gathered = own.new_zeros(dist.get_world_size(), *own.shape)
    gathered[dist.get_rank()] = own
    means, variances = _Sum.apply(gathered).unbind(1)  # type: ignore[no-untyped-call]
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def share_statistics(network: nn.Module, rank: Rank) -> None:
    """Let every BatchNorm of a network see the whole batch."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.shared = rank.world > 1
