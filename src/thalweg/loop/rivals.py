"""Do several optimizers share a loss, or step in turns, each on a loss of its own, as rivals do?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MOST_HEARD = 8
"""Parameters of each optimizer whose gradients are listened for."""

ENOUGH = 2
"""Steps in turns after which it is known."""


class Rivals:
    """Listens at the first steps. Rivals have a backward pass between the step of one and that of
    the other; optimizers that share a loss have none, whatever is done to the gradients.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], hooks: list[Any]):
        """hooks: where those that it registers are kept, for whoever removes them"""
        self._num_turns = 0
        self._are_partners = False
        self._last: torch.optim.Optimizer | None = None
        self._has_arrived: dict[torch.optim.Optimizer, bool] = {}
        if len(optimizers) < 2:
            return
        for optimizer in optimizers:
            hooks.append(optimizer.register_step_pre_hook(self._steps))
            own = [p for group in optimizer.param_groups for p in group["params"]]
            for p in [p for p in own if p.requires_grad][:MOST_HEARD]:
                hooks.append(p.register_post_accumulate_grad_hook(self._hears(optimizer)))

    @property
    def are_rivals(self) -> bool:
        return self._num_turns >= ENOUGH and not self._are_partners

    def _hears(self, optimizer: torch.optim.Optimizer) -> Any:
        def arrived(p: Tensor) -> None:
            self._has_arrived[optimizer] = True

        return arrived

    def _steps(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self._last is not None and self._last is not optimizer:
            if self._has_arrived.get(optimizer):
                self._num_turns += 1
            else:
                self._are_partners = True
        self._last = optimizer
        self._has_arrived.clear()
