"""When a descent ends: every rule at the last moment before its end, and at it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from thalweg import budget, converged, reached
from thalweg.errors import UsageError
from thalweg.health.improvement import num_without_improvement
from thalweg.loop.stopping import Pace
from thalweg.types import Evaluation, Progress

NAN = math.nan


RISING = frozenset({"accuracy"})


def progress(**parts: Any) -> Progress:
    empty = {"steps": 0, "samples": 0, "epochs": 0.0, "seconds": 0.0, "evaluations": ()}
    stale = num_without_improvement(parts.get("evaluations", ()))
    return Progress(**{**empty, "num_stale": stale, **parts})


def checks(*losses: float, noise: float | None = None, **more: float) -> list[Evaluation]:
    return [
        Evaluation(i, "validation", {"loss": loss, **more}, noise) for i, loss in enumerate(losses)
    ]


FALLING = checks(5, 4, 3, 2, 1)
FLAT = checks(1, 1, 1, 1)
ENDINGS = {
    "steps": (budget(steps=10), progress(steps=10), progress(steps=9), "budget"),
    "epochs": (budget(epochs=2), progress(epochs=2.0), progress(epochs=1.9), "budget"),
    "samples": (budget(samples=99), progress(samples=100), progress(samples=98), "budget"),
    "time": (budget(time=3), progress(seconds=3.1), progress(seconds=2.9), "budget"),
    "minutes": (budget(time="5m"), progress(seconds=301), progress(seconds=299), "budget"),
    "first of two": (
        budget(steps=10, epochs=1),
        progress(steps=10, epochs=0.5),
        progress(steps=9, epochs=0.9),
        "budget",
    ),
    "converged": (
        converged(patience=3),
        progress(evaluations=FLAT),
        progress(evaluations=FALLING),
        "converged",
    ),
    "converged, first falling": (
        converged(patience=2),
        progress(evaluations=checks(3, 2, 2, 2)),
        progress(evaluations=checks(3, 2, 2, 1)),
        "converged",
    ),
    "no gain beyond noise": (
        converged(patience=3),
        progress(evaluations=checks(1.0, 0.99, 0.98, 0.97, noise=0.1)),
        progress(evaluations=checks(1.0, 0.99, 0.98, 0.97, noise=0.001)),
        "converged",
    ),
    "small gains add up": (
        converged(patience=3),
        progress(evaluations=checks(1.0, 0.96, 0.97, 0.96, noise=0.1)),
        progress(evaluations=checks(1.0, 0.96, 0.92, 0.88, noise=0.1)),
        "converged",
    ),
    "not a number": (
        converged(patience=2),
        progress(evaluations=checks(1.0, NAN, NAN)),
        progress(evaluations=checks(1.0, NAN, 0.5)),
        "converged",
    ),
    "reached a loss": (
        reached(loss=0.5),
        progress(evaluations=checks(0.9, 0.5)),
        progress(evaluations=checks(0.4, 0.6)),
        "reached",
    ),
    "reached an accuracy": (
        reached(accuracy=0.9),
        progress(evaluations=checks(1.0, accuracy=0.95), rising=RISING),
        progress(evaluations=checks(1.0, accuracy=0.85), rising=RISING),
        "reached",
    ),
    "reached both": (
        reached(accuracy=0.9, loss=0.5),
        progress(evaluations=checks(0.4, accuracy=0.95), rising=RISING),
        progress(evaluations=checks(0.6, accuracy=0.95), rising=RISING),
        "reached",
    ),
    "a or b, a": (
        budget(steps=10) | converged(patience=3),
        progress(steps=10),
        progress(steps=9, evaluations=FALLING),
        "budget",
    ),
    "a or b, b": (
        budget(steps=10) | converged(patience=3),
        progress(steps=5, evaluations=FLAT),
        progress(steps=5),
        "converged",
    ),
    "a and b": (
        budget(steps=10) & converged(patience=3),
        progress(steps=10, evaluations=FLAT),
        progress(steps=10, evaluations=FALLING),
        "budget",
    ),
    "a and b, a alone": (
        converged(patience=3) & budget(steps=10),
        progress(steps=10, evaluations=FLAT),
        progress(steps=9, evaluations=FLAT),
        "converged",
    ),
}


@pytest.mark.parametrize(("until", "at", "before", "status"), ENDINGS.values(), ids=ENDINGS)
def test_a_rule_ends_then_and_not_before(until, at, before, status):
    ending = until(at)
    assert ending is not None
    assert ending.status == status
    assert ending.reason
    assert until(before) is None


HORIZONS = {
    "unknown": (converged(), None),
    "reached": (reached(loss=1), None),
    "or": (converged() | budget(steps=7), 7),
    "and": (converged() & budget(steps=7), None),
    "smaller": (budget(steps=7) | budget(epochs=2), 7),
    "larger": (budget(steps=7) & budget(epochs=2), 8),
    "time": (budget(time=10), 100),
    "time or steps": (budget(time=10) | budget(steps=5), 5),
}


@pytest.mark.parametrize(("until", "steps"), HORIZONS.values(), ids=HORIZONS)
def test_the_horizon_of_rules(until, steps):
    pace = Pace(steps_per_epoch=4, batch_size=10, size=40, seconds_per_step=0.1)
    assert until.horizon(pace) == steps


def test_a_budget_may_be_written_with_an_exponent():
    assert budget(steps=1e4) == budget(steps=10_000)


BAD_RULES = {
    "no budget": (budget, "needs one of"),
    "steps": (lambda: budget(steps=0), "steps=0"),
    "epochs": (lambda: budget(epochs=-1), "epochs=-1"),
    "samples": (lambda: budget(samples=0), "samples=0"),
    "time": (lambda: budget(time=NAN), "time=nan"),
    "time as text": (lambda: budget(time="soon"), "time='soon'"),
    "patience": (lambda: converged(patience=0), "patience=0"),
    "a text": (lambda: budget(steps="3"), "steps='3'"),
    "half a step": (lambda: budget(steps=3.5), "steps=3.5.*whole"),
    "half a sample": (lambda: budget(samples=0.5), "samples=0.5.*whole"),
    "half a patience": (lambda: converged(1.5), "patience=1.5.*whole"),
    "patience nan": (lambda: converged(NAN), "patience=nan"),
    "patience in words": (lambda: converged("long"), "patience='long'"),
    "a number beside": (lambda: budget(steps=3) | 3, "3 is no rule"),
    "a number too": (lambda: budget(steps=3) & 3, "3 is no rule"),
    "no goal": (reached, "needs a goal"),
}


@pytest.mark.parametrize(("build", "message"), BAD_RULES.values(), ids=BAD_RULES)
def test_a_rule_out_of_range_is_told(build, message):
    with pytest.raises(UsageError, match=message):
        build()
