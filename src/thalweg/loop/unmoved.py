"""A loop in which losses came with gradients and no step was ever made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from thalweg.health.made import made
from thalweg.probes.gradients import sample
from thalweg.types import Finding

MOST_JOINED = 8
"""Losses without a step that may be parts of one batch."""

STEP = "call optimizer.step() after loss.backward()"


def never_moved(
    num_losses: int, were_zeroed: bool, begun: Sequence[tuple[Tensor, Tensor]]
) -> Iterator[Finding]:
    """were_zeroed: gradients were, between two losses; begun: weights, each with a sample of it
    from the start
    """
    if num_losses < 2 or not (num_losses > MOST_JOINED or were_zeroed):
        return
    if not all(torch.equal(sample(p), before) for p, before in begun):
        return
    text = f"{num_losses} losses came with gradients, and no weight was ever moved"
    if any(p.grad is not None and not p.grad.isfinite().all() for p, _ in begun):
        text += ": the gradients are not finite, so that each step was skipped"
        yield made("TW402", 1, 0.9, text, numbers={"losses": num_losses})
    else:
        yield made("TW307", 1, 0.95, text, remedy=STEP)
