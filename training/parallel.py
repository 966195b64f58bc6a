"""Data-parallel training: shares of a batch, averaged gradients, shared BatchNorm statistics.

One all-reduce averages all gradients together: the networks are only a few megabytes, and
DistributedDataParallel's hooks do not allow using the discriminator in both updates.
"""

import atexit
import dataclasses
import datetime
import functools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from scangan.core.errors import TrainingError

T = TypeVar("T")

# Long, as the other processes wait while the first one prepares scans.
TIMEOUT = datetime.timedelta(hours=12)
# What gloo and NCCL say of a process that was killed, or whose machine is out of reach.
GONE = re.compile(r"Connection (closed|reset) by peer|remote process exited|Broken pipe")


@dataclasses.dataclass(frozen=True)
class Rank:
    """One process of ``torchrun``: its number and how many there are.

    Parameters
    ----------
    number : int
        From 0; the first one scores, reports and saves.
    world : int
        Number of processes.
    store : Store, optional
        Where the processes count failures.
    """

    number: int = 0
    world: int = 1
    store: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that scores, reports and saves."""
        return self.number == 0

    def own(self, whole: Tensor) -> Tensor:
        """Return the share of this process in a batch [N, ...]: N / world neighbours."""
        return whole.tensor_split(self.world)[self.number] if self.world > 1 else whole

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient with its mean over the processes."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.mean(torch.cat([g.flatten() for g in gradients]))
        for g, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            g.copy_(mean.view_as(g))

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes; with one process, the tensor itself."""
        if self.world == 1:
            return x
        x = x.clone()
        dist.all_reduce(x)
        return x / self.world

    def agree(self, value: T) -> T:
        """Return the first process's value in all processes."""
        if self.world == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, 0)
        return said[0]

    def anyone(self, value: bool) -> bool:
        """Whether `value` is true in any process."""
        if self.world == 1:
            return value
        held = torch.tensor(int(value))  # on the CPU, to avoid waiting for the GPU
        dist.all_reduce(held, dist.ReduceOp.MAX)
        return bool(held)

    def fails_first(self) -> bool:
        """Record that this process failed; return whether it is the first to fail."""
        if self.store is None:
            return True
        try:
            return bool(self.store.add("failed", 1) == 1)
        except RuntimeError:  # the process that holds the store is gone
            return False


ALONE = Rank()


@functools.cache  # a second `train` in the same processes must not join again
def join_processes() -> Rank:
    """Join the processes that ``torchrun`` started; return `ALONE` if it started none.

    All but the first lose their standard output, so that each line appears once.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    from torch.distributed.rendezvous import rendezvous  # some builds of torch lack it

    store, number, world = next(rendezvous("env://", timeout=TIMEOUT))
    on_gpus = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=world, timeout=TIMEOUT)
    atexit.register(_leave)
    if number:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    return Rank(number, world, store)


def _leave() -> None:
    """End gloo's threads before the interpreter exits: they hold tensors and would abort it."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def raise_first_failure(rank: Rank) -> Iterator[None]:
    """Raise only the first failure; processes that fail after it exit silently.

    Raises
    ------
    TrainingError
        Another process of the run is gone.
    """
    try:
        yield
    except BaseException as error:
        if not rank.fails_first():
            raise SystemExit(getattr(error, "exit_code", 1)) from None
        if isinstance(error, RuntimeError) and GONE.search(str(error)):
            raise TrainingError(
                "another process of this run ended; restart it on its machine, or run the same command again on "
                "all machines, to continue"
            ) from error
        raise


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the processes. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Any:
        return _Sum.apply(gradient)  # type: ignore[no-untyped-call]


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm2d with the statistics of the whole batch, however many processes share it.

    torch's SyncBatchNorm needs a GPU.
    """

    shared = False  # `share_statistics` sets it

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [N, C, H, W] over N, H and W; N counts the images of all processes."""
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
    """Return the mean and variance [C] of [N, C, H, W] over all processes."""
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    own = torch.stack([mean, variance])
    # Combine variances, not sums of squares, which lose digits if the mean is large.
    gathered = own.new_zeros(dist.get_world_size(), *own.shape)
    gathered[dist.get_rank()] = own
    means, variances = _Sum.apply(gathered).unbind(1)  # type: ignore[no-untyped-call]
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def share_statistics(network: nn.Module, rank: Rank) -> None:
    """Make every BatchNorm of a network use the statistics of the whole batch."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.shared = rank.world > 1
