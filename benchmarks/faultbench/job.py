"""What a contender is given: one run to make, and where to say what it noticed."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

import thalweg
from benchmarks.faultbench.faults import Fault, Plan, Wires
from benchmarks.faultbench.planted import Clock, Loss, Samples
from benchmarks.faultbench.tasks import LR, Stream, Task
from thalweg.schedules import Schedule

LOG_EVERY = 50
"""Steps between the loss values that a contender logs."""


@dataclass
class Job:
    """One attempt at one run.

    folder: the contender's own, the same for a second attempt; is_again: is this the second?
    said: what the contender or a library said, a line each
    stopped: why the contender ended the run before its time, as a result and not as a crash
    """

    task: Task
    seed: int
    plan: Plan
    fault: Fault
    folder: Path
    is_again: bool = False
    said: list[str] = field(default_factory=list)
    stopped: str | None = None

    def wired(self) -> tuple[nn.Module, Loss]:
        """A fresh network and its loss, with the fault in them; a second attempt has none."""
        network = self.task.network(self.seed)
        clock = Clock()
        loss = Loss(self.task.problem.kind, clock)
        clock.watch(network)
        if self.fault.wire is not None and not self.is_again:
            self.fault.wire(Wires(clock, network, loss, self.plan))
        return network, loss

    def samples(self, order: np.ndarray | None = None) -> Samples:
        """The stream as a Dataset; order: the one in which the contender takes its samples."""
        stream = self._stream()
        places = None
        if order is not None:
            places = torch.empty(len(order), dtype=torch.int64)
            places[torch.from_numpy(order)] = torch.arange(len(order))
        deadly = stream.at(self.plan.fault_at).start if self.fault.kills_worker else None
        return Samples(stream, self.folder / "worker-killed", places=places, deadly=deadly)

    def _stream(self) -> Stream:
        stream = self.task.stream(self.seed, self.plan.num_steps)
        if self.fault.data is not None:
            self.fault.data(stream, self.plan, np.random.default_rng([self.seed, 2]))
        return stream

    @property
    def schedule(self) -> Schedule:
        """Warm-up over a twentieth, then down along a cosine; the same for all."""
        return thalweg.warmup(self.plan.num_steps // 20) >> thalweg.cosine()

    def scheduler(self, optimizer: torch.optim.Optimizer) -> LambdaLR:
        """The schedule as torch's own scheduler, which counts from 0."""
        schedule, horizon = self.schedule, self.plan.num_steps
        return LambdaLR(optimizer, lambda done: schedule(min(done + 1, horizon), horizon))

    def disturb(self, step: int, scheduler: LambdaLR) -> None:
        """Before a step: the fault's factor on the rate, in the scheduler as in the optimizer."""
        if step == self.plan.fault_at and self.fault.lr_factor != 1.0 and not self.is_again:
            scheduler.base_lrs = [self.fault.lr_factor * rate for rate in scheduler.base_lrs]
            for group in scheduler.optimizer.param_groups:
                group["lr"] *= self.fault.lr_factor

    def logged(self, name: str, value: float | Tensor) -> None:
        """A number that the contender shows its user: one that is not finite has been said."""
        if not math.isfinite(float(value)):
            self.said.append(f"its log shows {name} {float(value)}")


def adamw(network: nn.Module, *, fused: bool = True) -> torch.optim.Optimizer:
    """torch's AdamW, for all contenders but thalweg."""
    return torch.optim.AdamW(network.parameters(), lr=LR, fused=fused)
