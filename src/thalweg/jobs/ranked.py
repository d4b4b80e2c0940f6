"""Changes tried one after the other and ranked; a rate is searched until it is between two others.

Each try ends at a rate that has come down to 0, as a run does: at the full rate a lower one looks
better at first, whatever it comes to later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.jobs.suggested import Suggestion, of_rate

SHARE, LEAST = 0.04, 15
"""Steps of a try: this share of those that the run made, and at least so many."""

ALIKE = 0.02
"""Losses that differ by less than this share are as good."""

MOST = 6
"""Tries of a run."""

FURTHER = 10.0
"""From one rate to the next, as long as the last one is the best."""


@dataclass(frozen=True, slots=True)
class Try:
    """loss: of validation after it, infinite where there is none"""

    change: Suggestion
    loss: float


def steps_of_try(num_steps: int) -> int:
    """Steps of each try of a run of so many.

    >>> steps_of_try(100), steps_of_try(10_000)
    (15, 400)
    """
    return max(LEAST, round(SHARE * num_steps))


def own_schedule(begin: int, count: int) -> dict[str, Any]:
    """The settings of so many steps after a step, over whose second half the rate falls to 0.

    Of a try, and of what goes on with it: whatever the schedule was before, it is over.

    >>> own_schedule(200, 100)
    {'schedule': 'constant(200) >> wsd(decay=0.5)', 'warmup': 0, 'steps': 300}
    """
    before = f"constant({begin}) >> " if begin else ""
    return {"schedule": f"{before}wsd(decay=0.5)", "warmup": 0, "steps": begin + count}


def ranked(
    options: Sequence[Suggestion],
    attempt: Callable[[Suggestion], float],
    *,
    lr: float | None,
    most: int = MOST,
) -> list[Try]:
    """What each option comes to, the best first; most: tries; lr: the rate as it was.

    Of those that are as good as the best, the first comes first: what changes less.

    >>> from thalweg.jobs.suggested import suggestions
    >>> def attempt(change):
    ...     return abs(math.log10(change.settings.get("lr", 1e-4) / 0.03))
    >>> found = ranked(suggestions(["TW102"], {"lr": 1e-4}), attempt, lr=1e-4)
    >>> [each.change.settings.get("lr") for each in found]
    [0.0316, 0.01, 0.1, 0.001, None]
    """
    found = [Try(option, attempt(option)) for option in options[:most]]
    while lr is not None and len(found) < most and (rate := _next(found, lr)) is not None:
        option = of_rate(rate, lr)
        found.append(Try(option, attempt(option)))
    least = min(each.loss for each in found)
    return sorted(found, key=lambda each: least if _is_alike(each.loss, least) else each.loss)


def _next(found: Sequence[Try], lr: float) -> float | None:
    """Beyond the best rate where it is the last one, else between it and its neighbours.

    None: there is none, or no rate was to be searched.
    """
    if not any(each.change.leads for each in found):
        return None
    rows = sorted(
        (float(each.change.settings.get("lr", lr)), each.loss)
        for each in found
        if each.change.settings.keys() <= {"lr"}
    )
    rates, losses = [rate for rate, _ in rows], [loss for _, loss in rows]
    least = min(losses)
    if math.isinf(least):
        return rates[0] / FURTHER**2
    if rates[-1] > lr and _is_alike(losses[-1], least):
        return rates[-1] * FURTHER  # also where nothing has moved yet
    if _is_alike(losses[rates.index(lr)], least):
        return None
    return _about(rates, losses.index(least))


def _about(rates: Sequence[float], i: int) -> float | None:
    """A rate below the lowest, or between one and its farther neighbours; None: these are near."""
    if i == 0:
        return rates[0] / FURTHER
    for other in (*rates[i + 1 : i + 2], rates[i - 1]):
        if max(other / rates[i], rates[i] / other) > 0.9 * FURTHER:
            return math.sqrt(other * rates[i])
    return None


def _is_alike(loss: float, least: float) -> bool:
    return loss <= least + ALIKE * abs(least)
