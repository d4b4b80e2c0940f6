"""Guard: the update of a loop of one's own, with the stability guard around it.

with guard.forward():               # keys dropout by step and micro-batch
    loss = loss_of(net, batch)
loss.backward()
step = guard.step(loss)             # unscale, limits, clip, update, zero; None inside a window
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.keys import Purpose, key
from thalweg.loop.drain import Drain
from thalweg.loop.gradients import OrderedSum
from thalweg.loop.norms import Statistics
from thalweg.loop.phase import Phase
from thalweg.loop.rescue import Rescue
from thalweg.loop.step import measures_of
from thalweg.optim.lowering import Lowering
from thalweg.optim.rates import check_optimizer
from thalweg.optim.updater import updater
from thalweg.record import Memory, Record
from thalweg.record.files import find
from thalweg.tasks.draws import seed_device
from thalweg.types import Event, Mode, Recorder, Step


class Guard:
    """Owns the update of a loop of one's own: unscale, limits, clip, update, zero.

    optimizer: thalweg's or any torch optimizer; scaler: a torch.amp.GradScaler, if there is one
    seed: of dropout; accumulate: micro-batches that make one update
    mode: "advise" says what it would do, and applies no step that is not finite; "act" skips,
    rolls back, lowers the rate; "off"
    record: where to write, a Record or a folder; by default the memory
    number: updates so far; samples: the weights of all micro-batches so far
    Raises UsageError for a setting out of range.

    >>> import torch, thalweg
    >>> x, net = torch.randn(8, 3), torch.nn.Linear(3, 1)
    >>> with thalweg.Guard(net, torch.optim.SGD(net.parameters(), lr=0.1)) as guard:
    ...     for _ in range(3):
    ...         with guard.forward():
    ...             loss = net(x).square().mean()
    ...         loss.backward()
    ...         step = guard.step(loss)
    >>> step.number, guard.number
    (3, 3)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        scaler: Any = None,
        seed: int = 0,
        accumulate: int = 1,
        mode: Mode = "advise",
        record: Recorder | str | os.PathLike[str] | None = None,
    ):
        check_optimizer(optimizer)
        if accumulate < 1:
            raise UsageError(f"accumulate is {accumulate!r}: it must be 1 or more")
        if mode not in get_args(Mode):
            raise UsageError(f"mode is {mode!r}: it must be {', '.join(get_args(Mode))}")
        self.optimizer = optimizer
        self.accumulate = accumulate
        self.seed = seed
        self.number = 0
        self.samples = 0.0
        self._scaler = scaler
        self._device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._update = updater(optimizer)
        self._statistics = Statistics(model)
        self._lowering = Lowering()
        rescue = Rescue(mode, Phase(model, optimizer), self._lowering)
        self._drain = Drain(rescue, self._device, lambda: self.record)
        self._record = record
        self._began = time.perf_counter()
        self._statistics.keep()
        self._open_window()

    def _open_window(self) -> None:
        self._losses: list[Tensor] = []
        self._weights: list[float] = []
        self._total: OrderedSum | None = None

    # ------------------------------------------------------------ one step

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Around the forward pass: what it draws is counted by step and micro-batch."""
        shard = len(self._losses)
        if shard == 0:
            self._statistics.keep()
        seed_device(key(Purpose.STEP, self.seed, self.number + 1, shard), self._device)
        yield

    def step(self, loss: Tensor, *, weight: float = 1.0) -> Step | None:
        """Take in a micro-batch whose gradients stand in `.grad`; the step, once a window is full.

        loss: as the model gave it, not scaled; weight: how much the micro-batch counts in its
        window, such as its number of samples or tokens
        """
        if not weight > 0:
            raise UsageError(f"weight is {weight!r}: it must be larger than 0")
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise UsageError("guard.step takes the mean loss of the batch, a tensor of one number")
        self._losses.append(loss.detach())
        self._weights.append(float(weight))
        if self.accumulate > 1:
            self._take_in()
            if len(self._losses) < self.accumulate:
                return None
        return self._apply()

    def flush(self) -> Step | None:
        """End a window that is not full, as at the end of an epoch; None where none is open."""
        return self._apply() if self._losses else None

    def _take_in(self) -> None:
        params = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self._total is None:
            self._total = OrderedSum(params)
        self._total.add(self._weights[-1] / self._weights[0])

    def _apply(self) -> Step:
        """The update of a window, and what was measured of it."""
        number, total = self.number + 1, sum(self._weights)
        if self._total is not None:
            self._total.finish(self._weights[0] / total)
        shares = [weight / total for weight in self._weights]
        losses = [loss * share for loss, share in zip(self._losses, shares, strict=True)]
        loss = self._losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        measured: dict[str, Any] = {"loss": loss}
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
            one = torch.ones((), device=self._device)
            measured["loss_scale"] = self._scaler.scale(
                one
            )  # waits for nothing, as get_scale would

        bounds = self._drain.rescue.bounds
        lr = float(self.optimizer.param_groups[0]["lr"])
        ended = self._lowering.see(number, lr)
        lr *= self._lowering.factor(number)
        with self._lowering.applied(self.optimizer, number):
            measured |= self._update(loss, bounds)
        if bounds is not None:
            self._statistics.undo_if_skipped(measured, bounds)
        if self._scaler is not None:
            self._scaler.update()
        for p in [p for group in self.optimizer.param_groups for p in group["params"]]:
            p.grad = None

        self.number = number
        self.samples += total
        step = self._as_step(measured, lr)
        self._open_window()
        for event in ended:
            self._drain.tell(event, step)
        self._drain.put(step)
        self._drain.before_step(number)
        self._statistics.keep()  # for a step whose forward pass is not inside of `forward`
        return step

    def _as_step(self, measured: Mapping[str, Any], lr: float) -> Step:
        now, before = time.perf_counter(), self._began
        self._began = now
        return Step(
            number=self.number,
            samples=round(self.samples),
            epoch=0.0,
            lr=lr,
            seconds=now - before,
            measures=measures_of(measured),
        )

    @property
    def events(self) -> list[Event]:
        """What happened so far."""
        return self._drain.events

    @property
    def is_stopped(self) -> bool:
        """Has the guard given the run up? Going on would make no sense; an event says why."""
        return self._drain.stopped is not None

    @property
    def record(self) -> Recorder:
        """Where everything that happens is written; a folder's is opened at the first use."""
        if self._record is None:
            self._record = Memory()
        elif isinstance(self._record, str | os.PathLike):
            folder = Path(self._record)
            is_there = find(folder) is not None
            self._record = (
                Record.reopen(folder, from_step=self.number) if is_there else Record(folder)
            )
        return self._record

    # ------------------------------------------------------------ its state, and the end

    def to_tree(self) -> dict[str, Any]:
        """How far it has come, and what the guard remembers; between two windows only."""
        if self._losses:
            raise UsageError(
                f"a window of {self.accumulate} micro-batches is open ({len(self._losses)} seen): "
                "save after a step, or flush() first"
            )
        self._drain.now()
        return {
            "number": self.number,
            "samples": self.samples,
            "seed": self.seed,
            "lowering": self._lowering.to_tree(),
            "rescue": self._drain.rescue.to_tree(),
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `to_tree` gave; the model and the optimizer are restored already."""
        self.number, self.samples = tree["number"], tree["samples"]
        self.seed = tree["seed"]
        self._lowering.restore(tree["lowering"])
        self._drain.rescue.restore(tree["rescue"], self.number)
        self._statistics.keep()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drain, and flush the record."""
        self._drain.now()
        self.record.close()
