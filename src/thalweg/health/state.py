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
    curve = view.main
    if curve is None:
        return "unknown", "the log holds no loss that is ever finite" + _of_first(said)
    if len(curve.raw_v) < FEW and not said:
        rows = "1 value" if len(curve.raw_v) == 1 else f"{len(curve.raw_v)} values"
        return "unknown", (
            f"the log holds {rows} of the loss, too few to tell how the run goes: it takes {FEW}, "
            "so log, or evaluate, more often"
        )
    if view.is_game and not said:
        return "unknown", "two networks play against each other, and their losses do not tell"
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
    name = "training loss" if curve is view.loss else "validation loss"
    end = "was still falling" if moved == "improving" else "had levelled off"
    text = (
        f"{name} went from {number(curve.first)} to {number(curve.last)} by "
        f"{view.name(curve.raw_t[-1])} and {end}"
    )
    validation = view.validation
    if validation is None or curve is validation:
        return text
    best = validation.best
    where = view.name(validation.t[validation.best_at])
    return f"{text}; validation loss is {number(validation.last)}, at best {number(best)} ({where})"
