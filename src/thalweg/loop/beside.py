"""The guard beside a loop that applies its own updates: asked before each, told after it.

saw_loss ... -> before_step -> the loop clips and updates -> after_step
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thalweg.backends.base import CLIP_EPS
from thalweg.backends.torch import norm_of
from thalweg.loop.drain import Drain
from thalweg.loop.norms import Statistics
from thalweg.loop.phase import Phase
from thalweg.loop.rescue import Rescue
from thalweg.loop.step import measures_of
from thalweg.optim.bounds import Bounds
from thalweg.optim.lowering import Lowering, write_rate
from thalweg.probes.quiet import remove
from thalweg.types import Event, Mode, Recorder, Step


class Beside:
    """See `thalweg.Guard`, which owns the update; this one takes gradients away before it.

    A step is no step where no weight has a gradient: torch's optimizers then leave weights, moments
    and counters alone. What else the loop does in a step, such as its schedule, it does.

    number: steps taken before; scaler: a torch.amp.GradScaler, if there is one
    is_alone: else only the gradient counts, which all processes have alike

    >>> from thalweg.record import Memory
    >>> p = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(p.parameters(), lr=0.1)
    >>> guard = Beside(p, optimizer, mode="advise", record=Memory())
    >>> loss = p(torch.tensor([[float("nan")]])).sum()
    >>> guard.saw_loss(loss)
    >>> loss.backward()
    >>> guard.before_step(); optimizer.step(); step = guard.after_step()
    >>> bool(p.weight.isfinite()), step.number, [event.kind for event in step.events]
    (True, 1, ['nonfinite'])
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        mode: Mode,
        record: Recorder,
        number: int = 0,
        scaler: Any = None,
        is_alone: bool = True,
    ):
        self.number = number
        self._optimizer = optimizer
        self._scaler = scaler
        self._is_alone = is_alone
        self._device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._lowering = Lowering()
        self._drain = Drain(
            Rescue(mode, Phase(model, optimizer), self._lowering), self._device, lambda: record
        )
        self._statistics = Statistics(model)
        self._rates = _Rates(optimizer, self._lowering, lambda: self.number + 1)
        self._num_told = 0
        self._began = time.perf_counter()
        self._losses: list[Tensor] = []
        self._measured: dict[str, Any] = {}
        self._statistics.keep()
        self._drain.before_step(number)

    # ------------------------------------------------------------ one step

    def saw_loss(self, loss: Tensor) -> None:
        """A micro-batch's; a step's is the mean of its."""
        self._losses.append(loss.detach())

    @torch.no_grad()
    def before_step(self, norm: Tensor | float | None = None) -> None:
        """All gradients stand: take them away where they must not be applied, or scale them down.

        norm: theirs before the loop has clipped them, if it has
        """
        gradients = self._gradients()
        norm = norm_of(gradients) if norm is None else norm
        measured: dict[str, Any] = {"gradient_norm": norm}
        if self._losses:
            parts, self._losses = self._losses, []
            measured["loss"] = parts[0] if len(parts) == 1 else torch.stack(parts).mean()
        if self._scaler is not None:
            one = torch.ones((), device=self._device)
            measured["loss_scale"] = self._scaler.scale(one)
        bounds = self._drain.rescue.bounds
        if bounds is not None:
            self._bound(bounds, measured, gradients)
        self._measured = measured

    def _bound(self, bounds: Bounds, measured: dict[str, Any], gradients: list[Tensor]) -> None:
        """Waits for the device."""
        norm, loss = float(measured["gradient_norm"]), float(measured.get("loss", 0.0))
        is_beyond = self._is_alone and not (math.isfinite(loss) and loss <= bounds.loss)
        if is_beyond or not math.isfinite(norm):
            for p in self._parameters():
                p.grad = None
            measured["is_skipped"] = True
        elif norm > bounds.norm:
            factor = min(1.0, bounds.clip_to / (float(norm_of(gradients)) + CLIP_EPS))
            torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage]
            measured["clip_factor"] = factor

    def after_step(self, *, samples: int = 0, epoch: float = 0.0) -> Step:
        """The loop has made its update, or would have; what is known of the step."""
        self.number += 1
        measured, self._measured = {"loss": math.nan, **self._measured}, {}
        if measured.pop("is_skipped", False):
            self._statistics.undo_if_skipped({"loss": math.nan, "gradient_norm": math.nan})
        now, before = time.perf_counter(), self._began
        self._began = now
        lr, ended = self._rates.last()
        step = Step(
            number=self.number,
            samples=samples,
            epoch=epoch,
            lr=lr,
            seconds=now - before,
            measures=measures_of(measured),
        )
        for event in ended:
            self._drain.tell(event, step)
        self._drain.put(step)
        self._drain.before_step(self.number)
        self._statistics.keep()
        return step

    def _parameters(self) -> list[Tensor]:
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self._parameters() if p.grad is not None]

    # ------------------------------------------------------------ what came of it

    def news(self) -> list[Event]:
        """What has happened since this was last asked."""
        events = self._drain.events[self._num_told :]
        self._num_told += len(events)
        return events

    @property
    def is_stopped(self) -> bool:
        """Has the guard given the run up?"""
        return self._drain.stopped is not None

    def close(self) -> None:
        """Look at what waits, and take the hooks away."""
        self._rates.close()
        self._drain.now()


class _Seen(NamedTuple):
    lr: float
    ended: tuple[Event, ...]


class _Rates:
    """Lowers the rates for as long as an update takes. number: gives that of the coming step"""

    def __init__(
        self, optimizer: torch.optim.Optimizer, lowering: Lowering, number: Callable[[], int]
    ):
        self._optimizer = optimizer
        self._lowering = lowering
        self._number = number
        self._seen: _Seen | None = None
        self._kept: list[float] = []
        self._handles: list[Any] = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def _before(self, *given: Any) -> None:
        number, groups = self._number(), self._optimizer.param_groups
        lr = float(groups[0]["lr"])
        ended = self._lowering.see(number, lr)
        factor = self._lowering.factor(number)
        self._seen = _Seen(lr * factor, ended)
        if factor != 1.0:
            self._kept = [float(group["lr"]) for group in groups]
            for group, kept in zip(groups, self._kept, strict=True):
                write_rate(group, kept * factor)

    def _after(self, *given: Any) -> None:
        for group, kept in zip(self._optimizer.param_groups, self._kept, strict=False):
            write_rate(group, kept)
        self._kept = []

    def last(self) -> _Seen:
        """The rate of the update that was made; of the coming one, where a scaler let it be."""
        self._after()
        seen, self._seen = self._seen, None
        return seen or _Seen(float(self._optimizer.param_groups[0]["lr"]), ())

    def close(self) -> None:
        self._after()
        remove(self._handles)
