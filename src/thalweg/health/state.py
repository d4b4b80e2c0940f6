"""The state of a run, and the one sentence that says it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thalweg.health.codes import BY_KEY
from thalweg.health.curve import Curve
from thalweg.health.view import FEW, Suspicion, View, number
from thalweg.types import State

DIVERGING = {"nonfinite", "divergence", "exploding_gradient"}
STALLED = {"plateau", "stuck_at_chance", "lr_too_high", "vanishing_gradient", "not_trained"}

LATE = 0.2
"""The share of the run, from its end, in which one asks whether it still improves."""


def state_of(view: View, said: Sequence[Suspicion]) -> tuple[State, str]:
    """From the findings, the surest first, and from the curves."""
    why = _why_unknown(view, said)
    if why:
        return "unknown", why
    worst = next((each for each in said if _is_act(each)), None)
    keys = {each.key for each in said if _is_act(each)}
    if worst is not None and keys & DIVERGING:
        return "diverging", _of_first(said).removeprefix("; ")
    moved = "improving" if _still_falls(view) else "finished"
    if keys & STALLED or any(each.key == "plateau" for each in said):
        moved = "stalled"
    if worst is not None:
        return moved, _of_first(said).removeprefix("; ")
    return moved, _how_it_went(view, moved) + _of_first(said)


def _why_unknown(view: View, said: Sequence[Suspicion]) -> str:
    """Why nobody can tell how the run goes; empty where one can."""
    curve = view.main
    if curve is None:
        return "the log holds no loss that is ever finite" + _of_first(said)
    if len(curve.raw_v) < FEW and not said:
        rows = "1 value" if len(curve.raw_v) == 1 else f"{len(curve.raw_v)} values"
        return (
            f"the log holds {rows} of the loss, too few to tell how the run goes: it takes {FEW}, "
            "so log, or evaluate, more often"
        )
    if view.silent_losses and not said:
        return view.silent_losses
    if not np.any(curve.raw_v):
        return f"the loss is 0 in every row: nothing was measured{_of_first(said)}"
    return ""


def _is_act(each: Suspicion) -> bool:
    return (each.severity or BY_KEY[each.key].severity) == "act"


def _of_first(said: Sequence[Suspicion]) -> str:
    """The first finding as the end of a sentence; empty where there is none."""
    return f"; {BY_KEY[said[0].key].name}: {said[0].says}" if said else ""


def _still_falls(view: View) -> bool:
    """Did the loss (of validation, where there is one) gain beyond its noise in the last fifth?"""
    curve = view.validation or view.main
    if curve is None or len(curve) < 5:
        curve = view.main
    return (
        curve is not None and gain(curve) > 3 * curve.error and gain(curve) > 0.01 * curve.progress
    )


def gain(curve: Curve) -> float:
    """How much lower the last tenth is than the tenth before the last fifth."""
    before = float(np.median(curve.part(1 - LATE - 0.1, 1 - LATE)))
    return before - float(np.median(curve.part(0.9, 1.0)))


def _how_it_went(view: View, moved: str) -> str:
    curve = view.main
    assert curve is not None
    validation = view.validation
    name = "validation loss" if curve is validation else "training loss"
    is_apart = validation is not None and curve is not validation
    is_others = is_apart and curve.last >= curve.first  # it is that which falls
    end = "was still falling" if moved == "improving" else "had levelled off"
    text = (
        f"{name} went from {number(curve.first)} to {number(curve.last)} by "
        f"{view.name(curve.raw_t[-1])}"
    )
    text += "" if is_others else f" and {end}"
    if validation is None or curve is validation:
        return text
    best = validation.best
    where = view.name(validation.t[validation.best_at])
    text += f"; validation loss is {number(validation.last)}, at best {number(best)} ({where})"
    return f"{text}, and {end}" if is_others else text
