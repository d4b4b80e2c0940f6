"""A loop in which losses came with gradients and the watched optimizer made no step, or no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from thalweg.health.made import made
from thalweg.probes.gradients import sample
from thalweg.probes.setup import held_by, other_optimizers
from thalweg.types import Finding

MOST_JOINED = 8
"""Losses without a step that may be parts of one batch."""

MANY = 32
"""Losses after the last step that are no batch any more, at so many times those of a usual step."""

TIMES = 4

ONCE = (
    "make the optimizer once, before the loop: one that is made anew forgets its momentum, its "
    "second moments and where its schedule stood; where a new phase begins with a new one, give "
    "that one a monitor of its own"
)

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


def has_stopped(num_since: int, num_losses: int, num_steps: int) -> bool:
    """Did far more losses come since the last step than a step has? num_losses, num_steps: in all

    >>> has_stopped(100, 157, 57), has_stopped(8, 408, 50)
    (True, False)
    """
    usual = (num_losses - num_since) / max(num_steps, 1)
    return num_since > max(MANY, TIMES * usual)


def stepped_by_another(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], number: int, num_since: int
) -> Iterator[Finding]:
    """The watched optimizers stepped last in step `number`, `num_since` losses ago, and one that is
    not watched holds weights of the model.
    """
    own = {id(p) for p in model.parameters()}
    others = [o for o in other_optimizers(optimizers) if own & held_by([o]).keys()]
    if others:
        last = f"has made no step since step {number:,}" if number else "has never made a step"
        text = (
            f"the optimizer that the monitor was given {last}, {num_since:,} losses ago, and "
            f"another {type(others[0]).__name__} holds the same weights: it was made anew in the "
            "loop"
        )
        numbers = {"losses": num_since}
        yield made("TW307", number, 0.8, text, numbers=numbers, severity="warn", remedy=ONCE)
