"""What the layers show, where their numbers were recorded: dead, saturated, without a gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from thalweg.health.rates import keeps_16_bits
from thalweg.health.view import Suspicion, View, number
from thalweg.record.foreign.log import Series

GONE = 0.9
"""A layer of which this share of units gives nothing is dead, or saturated."""

CONFIDENCE = {
    ("dead_units", True): 0.7,
    ("dead_units", False): 0.4,
    ("saturated_units", True): 0.85,
    ("saturated_units", False): 0.8,
}
"""How sure one is, by whether they were so from the start: what dies on the way was often killed
by something else.
"""

UNMOVED, STEEP, SHORT = 3, 1e-2, 1e-5
"""Rows in which a weight has not moved, though its gradient is more than this share of the largest,
while the others' usual steps are more than this share of themselves.
"""

FADED = 1e-4
"""A gradient that arrives at the first layers at this share of what the last ones get."""


def dead_units(view: View) -> Suspicion | None:
    """A layer most of whose units are zero for every sample."""
    return _gone(view, "dead:", "dead_units", "give zero for every sample")


def saturated_units(view: View) -> Suspicion | None:
    """A layer most of whose units sit at the flat ends of their curve."""
    return _gone(view, "saturated:", "saturated_units", "sit at the flat ends of their curve")


def _gone(view: View, prefix: str, key: str, words: str) -> Suspicion | None:
    worst: tuple[float, str, Series] | None = None
    for name, series in _of(view, prefix):
        share = float(np.median(series.values[-3:]))
        if worst is None or share > worst[0]:
            worst = (share, name, series)
    if worst is None or worst[0] < GONE:
        return None
    share, name, series = worst
    is_from_start = float(series.values[0]) > 0.5 * share
    since = float(series.steps[np.flatnonzero(series.values >= 0.9 * share)[0]])
    first = float(series.values[0])
    return Suspicion(
        key,
        since,
        CONFIDENCE[key, is_from_start],
        f"{100 * share:.0f}% of the units of {name} {words} ({100 * first:.0f}% at the start)",
        {"layer": name, "share": share, "first_share": first},
    )


def vanishing_gradient(view: View) -> Suspicion | None:
    """The first layers get next to nothing of the gradient that the last ones get."""
    norms = [
        (name, float(np.median(series.values)))
        for name, series in _of(view, "gradient_norm:")
        if name.endswith("weight") and len(series) and np.isfinite(series.values).all()
    ]
    norms = [(name, norm) for name, norm in norms if norm > 0]  # what is frozen has none
    if len(norms) < 4:
        return None
    first, last = norms[0], norms[-1]
    if first[1] > FADED * last[1]:
        return None
    return Suspicion(
        "vanishing_gradient",
        0.0,
        0.85,
        f"the gradient of {first[0]} is {number(first[1])}, that of {last[0]} {number(last[1])}: "
        "next to nothing arrives at the first layers",
        {"first_layer": first[0], "first": first[1], "last_layer": last[0], "last": last[1]},
    )


def empty_inputs(view: View) -> Suspicion | None:
    """The first weights get a gradient of exactly zero, and their bias does not.

    Where the next get none either, or the loss is below a guess's, they are frozen by intent.
    """
    norms = dict(_of(view, "gradient_norm:"))
    first = next((name for name in norms if name.endswith("weight")), None)
    bias = norms.get(f"{first.removesuffix('weight')}bias") if first is not None else None
    if first is None or bias is None or len(norms[first]) < 3:
        return None
    is_zero = norms[first].values == 0.0
    if not is_zero[-1] or not (bias.values[-3:] > 0).all():
        return None
    at = int(np.flatnonzero(~is_zero)[-1]) + 1 if not is_zero.all() else 0
    if len(is_zero) - at < 3 or not (bias.values[at:] > 0).all():
        return None
    others = [norm for name, norm in norms.items() if name.endswith("weight") and name != first]
    is_next_frozen = bool(others) and not others[0].values[-1] > 0
    knows = view.chance is not None and view.main is not None and view.is_no_guess(view.main)
    if is_next_frozen or knows:
        return None
    since = float(norms[first].steps[at])
    return Suspicion(
        "stuck_at_chance",
        since,
        0.96,
        f"from {view.name(since)} on the gradient of {first} is exactly 0 while its bias gets "
        f"{number(float(bias.values[-1]))}: every input of that layer is 0, so nothing can be "
        "learnt from it",
        {"layer": first, "since": since},
    )


def left_behind(view: View) -> Suspicion | None:
    """Weights that get a gradient and no longer move, while others do: the optimizer has lost them.

    Those that are frozen by intent get no gradient, those before a normalisation next to none.
    """
    moves, slopes = dict(_of(view, "update_norm:")), dict(_of(view, "gradient_norm:"))
    sizes = dict(_of(view, "parameter_norm:"))
    if len(moves) < 2 or not moves.keys() <= slopes.keys() & sizes.keys():
        return None
    still = {name: _stands_since(norms) for name, norms in moves.items()}
    lost = {name: step for name, step in still.items() if step is not None}
    if not lost or len(lost) == len(moves):
        return None
    since = max(lost.values())
    late = {name: _late(slopes[name], since) for name in moves}
    steps = [
        _late(moves[n], since) / max(_late(sizes[n], since), 1e-12) for n in still.keys() - lost
    ]
    enough = STEEP * max(late.values())
    lost = {name: step for name, step in lost.items() if late[name] > enough}
    if not lost or np.median(steps) < SHORT:
        return None  # the others hardly move either: it is the rate, or the rounding
    since = min(lost.values())
    some = ", ".join(list(lost)[:2]) + (f" and {len(lost) - 2} more" if len(lost) > 2 else "")
    rounds = keeps_16_bits(view)
    why = (
        "their steps round to nothing in bfloat16" if rounds else "the optimizer does not hold them"
    )
    return Suspicion(
        "lost_updates" if rounds else "not_trained",
        since,
        0.9,
        f"from {view.name(since)} on {some} of {len(moves)} parameters get a gradient and do not "
        f"move: {why}",
        {"parameters": list(lost), "since": since},
    )


def _stands_since(norms: Series) -> float | None:
    """The first row from which on it has not moved, for a few rows at least."""
    moved = np.flatnonzero(norms.values > 0)
    at = int(moved[-1]) + 1 if len(moved) else 0
    return float(norms.steps[at]) if len(norms) - at >= UNMOVED else None


def _late(series: Series, since: float) -> float:
    """Its median since then."""
    values = series.values[series.steps >= since]
    return float(np.median(values)) if len(values) else 0.0


def _of(view: View, prefix: str) -> Iterator[tuple[str, Series]]:
    for name, series in view.log.series.items():
        if name.startswith(prefix) and len(series):
            yield name.removeprefix(prefix), series
