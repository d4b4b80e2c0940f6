"""An optimizer that starts anew where it stands: its moments forgotten, its averages kept."""

from __future__ import annotations

import torch

KEPT = ("ema", "master")
"""States that are no moments: the running mean of the weights, and their float32 copy."""


def reset_moments(optimizer: torch.optim.Optimizer) -> None:
    """Forget what the optimizer remembers of past gradients, and how many steps it took.

    >>> import thalweg
    >>> x = torch.ones(1, requires_grad=True)
    >>> optimizer = thalweg.Adam([x], lr=0.1)
    >>> x.sum().backward(); optimizer.step()
    >>> reset_moments(optimizer); dict(optimizer.state[x])
    {}
    """
    for p in [p for group in optimizer.param_groups for p in group["params"]]:
        state = optimizer.state.get(p)
        if state:
            optimizer.state[p] = {name: state[name] for name in KEPT if name in state}
