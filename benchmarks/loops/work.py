"""What every loop is given: the network's widths, data in memory, and how many steps are timed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from benchmarks.network import MLP, fused_adamw

NUM_ROWS = 2048

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Work:
    """Steps to make: `skip` to warm up, then `count` that are timed, then one that is not."""

    widths: tuple[int, ...]
    batch_size: int
    skip: int
    count: int

    @property
    def num_steps(self) -> int:
        return self.skip + self.count + 1

    def data(self) -> Batch:
        """Random rows and classes, the same each time: (n, widths[0]) float32 and (n,) int64."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(NUM_ROWS, self.widths[0], generator=generator)
        y = torch.randint(self.widths[-1], (NUM_ROWS,), generator=generator)
        return x, y

    def network(self) -> MLP:
        """A fresh network, the same each time."""
        torch.manual_seed(0)
        return MLP(*self.widths)


class Stream:
    """Batches by index in a fresh order each epoch, and a stopwatch of CPU time on them.

    The watch is read whenever batch number `skip` and `skip + count` is asked for. What lies
    between is `count` whole steps of whoever asks, be it one batch ahead or not.
    """

    def __init__(self, work: Work):
        self._work = work
        self._readings: list[float] = []

    def __len__(self) -> int:
        return self._work.num_steps

    def __iter__(self) -> Iterator[Batch]:
        x, y = self._work.data()
        orders = self._orders()
        for number in range(self._work.num_steps):
            if number in (self._work.skip, self._work.skip + self._work.count):
                self._readings.append(time.process_time())
            rows = next(orders)
            yield x[rows], y[rows]

    def _orders(self) -> Iterator[torch.Tensor]:
        while True:
            yield from torch.randperm(NUM_ROWS).split(self._work.batch_size)

    @property
    def seconds(self) -> float:
        """CPU seconds of all threads over the timed steps."""
        first, last = self._readings
        return last - first


def hand_written(work: Work, network: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """The plain loop: CPU seconds of the timed steps."""
    stream = Stream(work)
    for x, y in stream:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return stream.seconds


def bare(work: Work) -> float:
    """The plain loop with torch's fused AdamW."""
    network = work.network()
    return hand_written(work, network, fused_adamw(network))
