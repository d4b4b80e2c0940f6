"""Every schedule as one torch LRScheduler, for any torch optimizer and any loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.optim.rates import Rates, check_optimizer
from thalweg.schedules import Schedule, parse
from thalweg.schedules.schedule import check_schedule


class Scheduler(torch.optim.lr_scheduler.LRScheduler):
    """Sets each group's `lr` to its own rate times schedule(step, horizon), steps counted from 1.

    optimizer: any torch optimizer; its rates now are the groups' own rates
    schedule: such as warmup(100) >> cosine(), or its text
    horizon: number of steps planned; needed by schedules that follow the end of the run
    Raises UsageError (a ValueError) for a horizon that is missing or below 1.

    Made, it sets the rate of the first step; `step()`, called after `optimizer.step()`, that of the
    next. A schedule with a plateau takes `step(loss)` after a step that was evaluated, `step()`
    after any other. A rate that somebody else sets is gone on from, so that schedulers of one
    optimizer multiply, as torch's chainable ones do; a group that comes late brings its own rate.
    The state holds plain values only. Loading it takes over the schedule and horizon in it, and
    sets the rates.

    Against torch, whose count t is our step - 1, of a horizon of n steps:
        cosine, linear, polynomial  equal to CosineAnnealingLR(T_max=n) up to T_max, and to
            LinearLR(1, floor, n) and PolynomialLR(n, power); our floor is a share of the rate,
            eta_min a rate
        step         StepLR(n / stages, factor), but the last stage is not left
        exponential  ExponentialLR(floor ** (1 / n)), and level after the horizon
        restarts     CosineAnnealingWarmRestarts(period, multiplier)
        one_cycle    OneCycleLR of n + 1 steps, whose last is our end, pct_start = (rise n + 1) /
            (n + 1), without the momentum
        plateau      ReduceLROnPlateau(eps=0), for losses above 0; below 0 torch takes a slightly
            worse loss for a better one

    >>> import torch
    >>> from thalweg import Scheduler, cosine, warmup
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> scheduler = Scheduler(optimizer, warmup(2) >> cosine(), horizon=6)
    >>> rates = []
    >>> for _ in range(6):
    ...     optimizer.step()
    ...     rates.append(round(optimizer.param_groups[0]["lr"], 4))
    ...     scheduler.step()
    >>> rates
    [0.05, 0.1, 0.1, 0.0854, 0.05, 0.0146]
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | str,
        *,
        horizon: int | None = None,
    ):
        check_optimizer(optimizer)
        if isinstance(schedule, str):
            schedule = parse(schedule)
        check_schedule(schedule)
        schedule(1, horizon)
        self._rates = Rates(optimizer, schedule, horizon)
        super().__init__(optimizer)
        self.base_lrs = self._rates.base  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def schedule(self) -> Schedule:
        return self._rates.schedule

    @property
    def horizon(self) -> int | None:
        return self._rates.horizon

    def step(self, loss: float | Tensor | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """On to the next step; loss: of an evaluation made now, for a schedule with a plateau."""
        if loss is not None:
            if not self.schedule.needs_evaluations:
                raise UsageError(f"{self.schedule} looks at no loss: call step() without one")
            self._rates.saw(self.last_epoch + 1, _number(loss))
        super().step()

    def get_lr(self) -> list[float | Tensor]:
        """Every group's rate at the current step."""
        self._rates.set(self.last_epoch + 1)
        return list(self._rates.last)

    def state_dict(self) -> dict[str, Any]:
        """All that it needs to go on, in plain numbers, texts and lists."""
        return {
            "schedule": str(self.schedule),
            "horizon": self.horizon,
            "step": self.last_epoch + 1,
            "factor": self._rates.factor,
            "base_lrs": list(self._rates.base),
            "last_lrs": list(self._rates.last),
            "evaluations": [list(row) for row in self._rates.evaluations],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state; raises UsageError where it is none, or has other groups."""
        missing = [name for name in self.state_dict() if name not in state_dict]
        if missing:
            raise UsageError(f"this is no state of a thalweg.Scheduler: {missing[0]!r} is missing")
        groups = self.optimizer.param_groups
        if len(state_dict["last_lrs"]) != len(groups):
            raise UsageError(
                f"the state is of {len(state_dict['last_lrs'])} parameter groups, and the "
                f"optimizer has {len(groups)}: add the same groups first"
            )
        rates = self._rates
        rates.schedule, rates.horizon = parse(state_dict["schedule"]), state_dict["horizon"]
        rates.factor = state_dict["factor"]
        rates.base[:], rates.last[:] = state_dict["base_lrs"], state_dict["last_lrs"]
        rates.evaluations = [(number, loss) for number, loss in state_dict["evaluations"]]
        rates.write()
        self.last_epoch = state_dict["step"] - 1
        self._step_count = state_dict["step"]
        self._last_lr = [_copy(group["lr"]) for group in groups]


def _number(loss: Any) -> float:
    """The loss of an evaluation. Raises UsageError for what is not one number."""
    try:
        return float(loss)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"loss is {loss!r}: it must be one number") from None


def _copy(lr: float | Tensor) -> float | Tensor:
    return lr.clone() if isinstance(lr, Tensor) else lr
