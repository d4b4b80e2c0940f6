"""The table of faults: what is planted, where, and how close to the fault-free run one must end.

A fault of the data writes into a run's stream; one of the process hangs on the clock of its steps,
its network or its loss; what a contender must do itself (rate, precision, workers) is a number.
"""

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.faultbench.planted import Clock, Loss
from benchmarks.faultbench.tasks import Stream

DAY = 86_400
"""Seconds that the clock jumps."""

ROOM = 4096
"""Bytes that a file may have once the disk is full."""

BURST = 10
"""Batches of a burst."""


@dataclass(frozen=True)
class Plan:
    """When things happen in a run of `num_steps` steps.

    share: how much of them is over when the fault comes; a process dies after 55%, a little before
    a checkpoint
    """

    num_steps: int = 2000
    share: float = 0.4

    @property
    def fault_at(self) -> int:
        return round(self.num_steps * self.share) + 1

    @property
    def killed_at(self) -> int:
        return self.num_steps * 11 // 20 + 3

    @property
    def every(self) -> int:
        """Steps between checkpoints."""
        return self.num_steps // 8

    @property
    def recurring(self) -> list[int]:
        """Steps of a fault that comes back: 500, 1,000 and 1,500 of 2,000."""
        return [self.num_steps * quarter // 4 for quarter in (1, 2, 3)]


@dataclass(frozen=True)
class Wires:
    """What a fault of the process may hang on."""

    clock: Clock
    network: nn.Module
    loss: Loss
    plan: Plan


@dataclass(frozen=True)
class Fault:
    """One fault.

    tolerance: how much worse the final validation loss may be, where the fault-free seeds differ
    by less; 0: the weights must be equal to the bit
    data, wire, between: plant it in the stream, in the process, or in the run's folder before it
    is started again
    lr_factor: of the learning rate from `plan.fault_at` on
    num_workers, kills_worker: data workers, and whether one of them is killed
    """

    name: str
    what: str
    tolerance: float = 0.01
    data: Callable[[Stream, Plan, np.random.Generator], None] | None = None
    wire: Callable[[Wires], None] | None = None
    between: Callable[[Path], None] | None = None
    lr_factor: float = 1.0
    precision: str = "float32"
    num_workers: int = 0
    kills_worker: bool = False

    @property
    def is_exact(self) -> bool:
        """Must the weights be equal to the bit?"""
        return self.tolerance == 0.0

    @property
    def healthy(self) -> "Fault":
        """The run without the fault that this one is compared with."""
        name = "healthy" if self.precision == "float32" else f"healthy {self.precision}"
        if self.num_workers:
            name += f", {self.num_workers} workers"
        return Fault(name, "nothing", 0.0, precision=self.precision, num_workers=self.num_workers)


# ------------------------------------------------------------ in the data


def nan_sample(stream: Stream, plan: Plan, source: np.random.Generator) -> None:
    """All features of one training row, wherever it comes."""
    stream.x[stream.rows == stream.rows[_some(stream, plan.fault_at, source)]] = np.nan


def inf_feature(stream: Stream, plan: Plan, source: np.random.Generator) -> None:
    """One feature of one training row, wherever it comes."""
    row = stream.rows[_some(stream, plan.fault_at, source)]
    column = source.integers(stream.x.shape[1])
    stream.x[stream.rows == row, column] = np.inf


def mislabelled(share: float) -> Callable[[Stream, Plan, np.random.Generator], None]:
    """The targets of a share of ten batches change places, batch by batch."""

    def plant(stream: Stream, plan: Plan, source: np.random.Generator) -> None:
        for step in range(plan.fault_at, plan.fault_at + BURST):
            targets = stream.y[stream.at(step)]
            chosen = source.permutation(len(targets))[: max(2, round(share * len(targets)))]
            targets[chosen] = targets[np.roll(chosen, 1)]

    return plant


def overflow(stream: Stream, plan: Plan, _: np.random.Generator) -> None:
    """One batch a million times too large: beyond fp16's 65,504."""
    stream.x[stream.at(plan.fault_at)] *= 1e6


def corrupted(stream: Stream, plan: Plan, source: np.random.Generator) -> None:
    """A batch of noise a hundred times as large as the features, every quarter of the run."""
    for step in plan.recurring:
        batch = stream.x[stream.at(step)]
        batch[:] = 100.0 * source.standard_normal(batch.shape)


def _some(stream: Stream, step: int, source: np.random.Generator) -> int:
    """A position within the batch of a step."""
    return int(source.integers(stream.at(step).start, stream.at(step).stop))


# ------------------------------------------------------------ in the process


def large_gradient(wires: Wires) -> None:
    """Every parameter's gradient times 1,000, once."""
    clock, step = wires.clock, wires.plan.fault_at
    for p in wires.network.parameters():
        p.register_hook(lambda gradient: 1000.0 * gradient if clock.now == step else None)


def nan_loss(wires: Wires) -> None:
    """The loss function gives NaN once, on a batch that has nothing wrong."""
    wires.loss.nan_at = wires.plan.fault_at


def killed(wires: Wires) -> None:
    """SIGKILL."""
    wires.clock.at(wires.plan.killed_at, lambda: os.kill(os.getpid(), signal.SIGKILL))


def full_disk(wires: Wires) -> None:
    """From a step on no file can grow (a limit of the process, which Python sees as an OSError)."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    wires.clock.at(
        wires.plan.fault_at, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    )


def jumping_clock(wires: Wires) -> None:
    """`time.time` goes a day ahead, and two days back a little later."""
    right, late = time.time, 0.0

    def jump(seconds: float) -> None:
        nonlocal late
        late += seconds

    time.time = lambda: right() + late
    wires.clock.at(wires.plan.fault_at, lambda: jump(DAY))
    wires.clock.at(wires.plan.killed_at, lambda: jump(-2 * DAY))


# ------------------------------------------------------------ in the folder


def torn(folder: Path) -> None:
    """The newest file of weights is cut in half."""
    for pattern in ("*.safetensors", "*.ckpt", "*.pt"):
        found = sorted(folder.rglob(pattern), key=lambda path: path.stat().st_mtime_ns)
        if found:
            os.truncate(found[-1], found[-1].stat().st_size // 2)
            return


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("NaN sample", "one row of the data is NaN", data=nan_sample),
        Fault("Inf feature", "one feature of a row is infinite", data=inf_feature),
        Fault("mislabelled burst", "ten batches of permuted labels", data=mislabelled(1.0)),
        Fault("mild burst", "ten batches with a tenth permuted", data=mislabelled(0.1)),
        Fault("gradient x 1000", "all gradients of one step", wire=large_gradient),
        Fault("lr x 100", "from a step on", 0.05, lr_factor=100.0),
        Fault("fp16 overflow", "a batch x 1e6, in fp16", data=overflow, precision="fp16"),
        Fault("corrupted batch", "noise x 100 at three steps, 500 apart", data=corrupted),
        Fault("NaN loss", "the loss is NaN once", wire=nan_loss),
        Fault("killed", "SIGKILL, started again", 0.0, wire=killed),
        Fault("torn checkpoint", "killed, the newest cut in half", 0.0, wire=killed, between=torn),
        Fault("full disk", "no file can grow from a step on", 0.0, wire=full_disk),
        Fault("dead worker", "a data worker killed", 0.0, num_workers=2, kills_worker=True),
        Fault("clock jump", "the time of day a day ahead, then back", 0.0, wire=jumping_clock),
    )
}
"""By name; the order is that of the table that is printed."""
