"""Looking at gradients that a closure makes inside of the optimizer's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Look = Callable[[torch.optim.Optimizer, Any, Any], None]


def late(look: Look) -> Callable[[torch.optim.Optimizer, Any, Any], Any]:
    """A step's pre-hook that looks once the gradients stand: after the first call of the closure
    where the step is given one, else at once.

    >>> p = torch.nn.Parameter(torch.ones(1))
    >>> optimizer = torch.optim.SGD([p], lr=0.1)
    >>> seen = []
    >>> _ = optimizer.register_step_pre_hook(late(lambda *_: seen.append(float(p.grad))))
    >>> optimizer.step(lambda: (3 * p).sum().backward())
    >>> seen
    [3.0]
    """

    def before(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        closure = kwargs.get("closure") if "closure" in kwargs else (*args, None)[1]
        if not callable(closure):
            look(optimizer, args, kwargs)
            return None
        is_first = True

        def looked_at() -> Any:
            nonlocal is_first
            result = closure()
            if is_first:
                is_first = False
                look(optimizer, args, kwargs)
            return result

        rest = {name: value for name, value in kwargs.items() if name != "closure"}
        return (args[0], looked_at, *args[2:]), rest

    return before
