"""The exam of the schedules: every schedule x every law. A new schedule is one row."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

import thalweg
from thalweg import (
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    linear,
    one_cycle,
    plateau,
    polynomial,
    restarts,
    step,
    warmup,
    wsd,
)
from thalweg.errors import UsageError
from thalweg.schedules import BUILDERS, Schedule, parse
from thalweg.schedules.plateau import can_fall, wait_of

HORIZONS = (1, 2, 3, 10, 97, 1000)
NAN, INF = math.nan, math.inf
LOSSES = (3.0, 2.0, 2.0, NAN, 1.9999, 2.5, INF, 1.0, 1.0, 1.0, 1.0, -1.0, -1.00001, -2.0, -2.0)


@dataclass(frozen=True)
class Row:
    """schedule, and its text where that is not the row's; low: its factor after the end (None: it
    has no end); falls: it never rises; needs_horizon: it must know the end; evaluates: it looks at
    losses; jumps: it may be far from `low` at the last step.
    """

    schedule: Schedule
    low: float | None
    falls: bool = True
    needs_horizon: bool = True
    evaluates: bool = False
    jumps: bool = False


ENDLESS = {"low": None, "needs_horizon": False}

EXAM = {
    "constant()": Row(constant(), 1.0, needs_horizon=False),
    "constant(4) >> cosine()": Row(constant(4) >> cosine(), 0.0),
    "constant(0.5) >> linear()": Row(constant(0.5) >> linear(), 0.0, jumps=True),
    "cosine()": Row(cosine(), 0.0),
    "cosine(floor=0.2)": Row(cosine(floor=0.2), 0.2),
    "exponential()": Row(exponential(), 0.01),
    "exponential(floor=0.5)": Row(exponential(floor=0.5), 0.5),
    "inverse_sqrt()": Row(inverse_sqrt(), **ENDLESS),
    "inverse_sqrt(timescale=7.0)": Row(inverse_sqrt(7), **ENDLESS),
    "linear()": Row(linear(), 0.0),
    "linear(floor=0.5)": Row(linear(floor=0.5), 0.5),
    "linear(floor=1.0)": Row(linear(floor=1), 1.0),
    "one_cycle()": Row(one_cycle(), 4e-6, falls=False),
    "one_cycle(rise=0.0, floor=0.1)": Row(one_cycle(rise=0, floor=0.1), 0.1),
    "one_cycle(rise=1.0)": Row(one_cycle(rise=1.0), None, falls=False),
    "plateau()": Row(plateau(), evaluates=True, **ENDLESS),
    "plateau(factor=0.5, patience=1, cooldown=1, floor=0.3)": Row(
        plateau(0.5, patience=1, cooldown=1, floor=0.3), evaluates=True, **ENDLESS
    ),
    "warmup(5) >> plateau(factor=0.5, patience=0)": Row(
        warmup(5) >> plateau(0.5, patience=0), falls=False, evaluates=True, **ENDLESS
    ),
    "polynomial()": Row(polynomial(), 0.0),
    "polynomial(power=0.5, floor=0.1)": Row(polynomial(0.5, floor=0.1), 0.1, jumps=True),
    "restarts()": Row(restarts(), None, falls=False),
    "restarts(period=0.1, multiplier=2, floor=0.1)": Row(
        restarts(0.1, multiplier=2, floor=0.1), None, falls=False
    ),
    "restarts(period=6, multiplier=2)": Row(restarts(6, multiplier=2), falls=False, **ENDLESS),
    "step()": Row(step(), 0.01),
    "step(factor=0.5, stages=5)": Row(step(factor=0.5, stages=5), 0.5**4),
    "step(stages=1)": Row(step(stages=1), 1.0),
    "warmup(5)": Row(warmup(5), 1.0, falls=False, needs_horizon=False),
    "warmup(5) >> constant()": Row(warmup(5) >> constant(), 1.0, falls=False, needs_horizon=False),
    "warmup(5) >> cosine(floor=0.1)": Row(warmup(5) >> cosine(floor=0.1), 0.1, falls=False),
    "warmup(0.1) >> linear()": Row(warmup(0.1) >> linear(), 0.0, falls=False),
    "warmup(0) >> cosine()": Row(warmup(0) >> cosine(), 0.0),
    "wsd()": Row(wsd(), 0.0, jumps=True),
    "wsd(decay=3, floor=0.25)": Row(wsd(decay=3, floor=0.25), 0.25, jumps=True),
    "wsd(decay=1.0)": Row(wsd(decay=1.0), 0.0),
    "wsd(decay=0)": Row(wsd(decay=0), 1.0),
    "warmup(4) >> constant(0.5) >> wsd(decay=0.5)": Row(
        warmup(4) >> constant(0.5) >> wsd(decay=0.5), 0.0, falls=False, jumps=True
    ),
}
"""By the text that stands for them."""

every_row = pytest.mark.parametrize("row", EXAM.values(), ids=EXAM)
every_horizon = pytest.mark.parametrize("horizon", HORIZONS)


def evaluations(horizon: int) -> list[tuple[int, float]]:
    """Evaluations spread over a run, some of them no numbers."""
    every = max(1, horizon // len(LOSSES))
    return [(every * i, loss) for i, loss in enumerate(LOSSES)]


def values(schedule: Schedule, horizon: int, beyond: int = 0) -> list[float]:
    seen = evaluations(horizon)
    return [schedule(number, horizon, seen) for number in range(1, horizon + beyond + 1)]


def falls(numbers: list[float]) -> bool:
    return all(a >= b - 1e-12 for a, b in pairwise(numbers))


# Laws.


def test_the_exam_knows_every_schedule():
    assert {shape.name for row in EXAM.values() for _, shape in row.schedule.parts} == set(BUILDERS)
    assert all(getattr(thalweg, name) is builder for name, builder in BUILDERS.items())


@every_row
@every_horizon
def test_the_factor_stays_in_0_1(row, horizon):
    assert all(0 <= value <= 1 for value in values(row.schedule, horizon, beyond=20))


@every_row
@every_horizon
def test_it_starts_at_1_or_below_in_a_warmup(row, horizon):
    first = row.schedule(1, horizon)
    assert first == 1.0 if row.falls else first > 0


@every_row
def test_it_ends_at_its_floor_and_stays_there(row):
    """The last step still moves a little; after it the factor is the floor itself."""
    if row.low is None:
        pytest.skip("it has no end")
    for horizon in (100, 1000):
        assert row.schedule(horizon, horizon) >= row.low
        if not row.jumps:
            assert row.schedule(horizon, horizon) <= row.low + 1.5 / (0.9 * horizon)
        for number in (horizon + 1, horizon + 2, 10 * horizon):
            assert row.schedule(number, horizon) == pytest.approx(row.low, abs=1e-12)


@every_row
@every_horizon
def test_it_never_rises_after_its_warmup(row, horizon):
    if "restarts" in str(row.schedule):
        pytest.skip("it restarts")
    numbers = values(row.schedule, horizon, beyond=20)
    peak = numbers.index(max(numbers))
    assert falls(numbers[peak:])
    assert falls(numbers[peak::-1])
    assert peak == 0 or not row.falls


def test_rising_is_told_from_falling():
    assert not falls(values(warmup(5), 10))
    assert falls(values(linear(), 10))


@every_row
def test_it_is_a_pure_function(row):
    """The order of the calls does not matter, nor does an evaluation that comes later."""
    seen = evaluations(50)
    again = [row.schedule(number, 50, seen) for number in range(50, 0, -1)]
    assert again[::-1] == values(row.schedule, 50)
    for number in range(1, 51):
        so_far = [(at, loss) for at, loss in seen if at < number]
        assert row.schedule(number, 50, so_far) == again[50 - number]
    assert seen == evaluations(50)


@every_row
def test_only_a_plateau_looks_at_losses(row):
    assert row.schedule.needs_evaluations is row.evaluates
    seen = [(number, 1.0) for number in range(101)]
    changed = [row.schedule(n, 100, seen) != row.schedule(n, 100) for n in range(1, 101)]
    assert any(changed) is row.evaluates


@every_row
def test_without_a_horizon_it_works_or_says_what_to_give(row):
    assert row.schedule.needs_horizon is row.needs_horizon
    if row.needs_horizon:
        message = r"until=budget\(steps=\.\.\.\).*horizon=.*constant\(\)"
        with pytest.raises(UsageError, match=message) as caught:
            row.schedule(1, None)
        assert str(row.schedule) in str(caught.value)
        assert "\n" not in str(caught.value)
    else:
        numbers = [row.schedule(number, None) for number in range(1, 30)]
        assert numbers == [row.schedule(number, 1000) for number in range(1, 30)]
        assert numbers == [row.schedule(number) for number in range(1, 30)]


@every_row
@pytest.mark.parametrize(("number", "horizon"), [(0, 10), (-1, 10), (1, 0), (1, -5)])
def test_steps_and_horizon_are_counted_from_1(row, number, horizon):
    with pytest.raises(UsageError, match=r"step is|horizon is"):
        row.schedule(number, horizon)


@pytest.mark.parametrize(("text", "row"), EXAM.items(), ids=EXAM)
def test_its_text_stands_for_it(text, row):
    assert (str(row.schedule), repr(row.schedule)) == (text, text)
    again = parse(text)
    assert again == row.schedule
    assert hash(again) == hash(row.schedule)
    for horizon in HORIZONS:
        assert values(again, horizon, beyond=5) == values(row.schedule, horizon, beyond=5)
    assert eval(text, vars(thalweg) | dict(BUILDERS)) == row.schedule, "it is Python as well"


@every_row
def test_it_can_be_copied_and_pickled(row):
    for twin in (copy.deepcopy(row.schedule), pickle.loads(pickle.dumps(row.schedule))):
        assert twin == row.schedule
        assert values(twin, 50) == values(row.schedule, 50)


def test_different_schedules_differ():
    rows = [row.schedule for row in EXAM.values()]
    assert len({*rows}) == len(rows)
    assert warmup(1) != warmup(1.0), "a step and a share"
    assert restarts(1) != restarts(1.0)
    assert cosine(0) == cosine(0.0)
    assert cosine() != "cosine()"


def test_a_share_of_an_unknown_horizon_is_no_number_of_steps():
    with pytest.raises(UsageError, match="no end is planned"):
        (warmup(0.1) >> constant())(1, None)


# Shapes.


@pytest.mark.parametrize("steps", [1, 2, 5, 100])
def test_warmup_rises_along_a_line_to_1(steps):
    schedule = warmup(steps) >> constant()
    assert [schedule(n, None) for n in range(1, steps + 1)] == [
        n / steps for n in range(1, steps + 1)
    ]
    assert schedule(steps + 1, None) == 1.0


@pytest.mark.parametrize(
    ("share", "horizon", "steps"), [(0.05, 1000, 50), (0.1, 97, 10), (0.5, 3, 2), (1.0, 8, 8)]
)
def test_a_share_is_rounded_to_steps(share, horizon, steps):
    assert values(warmup(share) >> cosine(), horizon) == values(warmup(steps) >> cosine(), horizon)


FORMULAS: dict[str, tuple[Schedule, Callable[[float], float]]] = {
    "cosine": (cosine(), lambda x: (1 + math.cos(math.pi * x)) / 2),
    "cosine to 0.2": (cosine(0.2), lambda x: 0.2 + 0.8 * (1 + math.cos(math.pi * x)) / 2),
    "linear": (linear(), lambda x: 1 - x),
    "linear to 0.5": (linear(0.5), lambda x: 1 - x / 2),
    "polynomial": (polynomial(3, floor=0.1), lambda x: 0.1 + 0.9 * (1 - x) ** 3),
    "polynomial of power 1": (polynomial(1), lambda x: 1 - x),
    "exponential": (exponential(0.01), lambda x: 10 ** (-2 * x)),
    "wsd of all": (wsd(1.0, floor=0.5), lambda x: 1 - x / 2),
    "wsd": (wsd(0.0), lambda x: 1.0),
    "one cycle": (one_cycle(0.0, floor=0.0), lambda x: (1 + math.cos(math.pi * x)) / 2),
    "one rise": (one_cycle(1.0, start=0.2), lambda x: 1 - 0.4 * (1 + math.cos(math.pi * x))),
    "restarts": (restarts(1.0, floor=0.5), lambda x: 0.75 + 0.25 * math.cos(math.pi * x)),
}


def follows(schedule: Schedule, formula: Callable[[float], float], horizon: int) -> bool:
    points = [(k / horizon, value) for k, value in enumerate(values(schedule, horizon))]
    return all(value == pytest.approx(formula(x), abs=1e-12) for x, value in points)


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS.values(), ids=FORMULAS)
@every_horizon
def test_between_the_ends_it_follows_its_formula(schedule, formula, horizon):
    assert follows(schedule, formula, horizon)


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS.values(), ids=FORMULAS)
def test_a_planted_wrong_formula_is_caught(schedule, formula):
    """One step late, or off by a billionth."""
    assert not follows(schedule, lambda x: formula(x) + 1e-9, 97)
    if str(schedule) != "wsd(decay=0.0)":
        assert not follows(schedule, lambda x: formula(x + 1 / 97), 97)


KNOWN = {
    "constant": (constant(), {1: 1.0, 1000: 1.0}),
    "cosine": (cosine(0.1), {1: 1.0, 251: 0.8681980515339464, 501: 0.55, 1001: 0.1}),
    "exponential": (exponential(0.0001), {1: 1.0, 251: 0.1, 501: 0.01, 1001: 0.0001}),
    "inverse_sqrt": (inverse_sqrt(100), {1: 1.0, 301: 0.5, 801: 1 / 3, 1501: 0.25}),
    "linear": (linear(), {1: 1.0, 251: 0.75, 1000: 0.001, 1001: 0.0}),
    "one_cycle": (
        one_cycle(rise=0.4, start=0.2, floor=0.1),
        {1: 0.2, 201: 0.6, 401: 1.0, 701: 0.55, 1001: 0.1, 5000: 0.1},
    ),
    "polynomial": (polynomial(), {1: 1.0, 501: 0.25, 901: 0.01, 1001: 0.0}),
    "restarts": (
        restarts(100, multiplier=2),
        {1: 1.0, 51: 0.5, 101: 1.0, 201: 0.5, 301: 1.0, 501: 0.5, 701: 1.0, 1501: 1.0},
    ),
    "restarts, equal": (
        restarts(0.25),
        {1: 1.0, 126: 0.5, 250: 3.9477898e-5, 251: 1.0, 1000: 3.9477898e-5, 1001: 3.9477898e-5},
    ),
    "step": (step(), {1: 1.0, 334: 1.0, 335: 0.1, 667: 0.1, 668: 0.01, 2000: 0.01}),
    "warmup": (warmup(100), {1: 0.01, 50: 0.5, 100: 1.0, 101: 1.0}),
    "wsd": (
        warmup(100) >> wsd(decay=200),
        {50: 0.5, 100: 1.0, 801: 1.0, 802: 0.995, 901: 0.5, 1000: 0.005, 1001: 0.0},
    ),
    "wsd of a share": (constant(500) >> wsd(decay=0.5), {751: 1.0, 876: 0.5, 1001: 0.0}),
}
"""Factors by step of a horizon of 1,000, worked out by hand."""


@pytest.mark.parametrize(("schedule", "known"), KNOWN.values(), ids=KNOWN)
def test_known_values(schedule, known):
    assert {n: schedule(n, 1000) for n in known} == pytest.approx(known, rel=1e-6, abs=1e-12)


def test_stages_are_equally_long():
    numbers = values(step(0.5, 4), 100)
    assert [numbers.count(0.5**k) for k in range(4)] == [25, 25, 25, 25]


@pytest.mark.parametrize("horizon", [3, 7, 10, 30, 97, 1000])
def test_equal_restarts_never_begin_at_the_last_step_by_rounding(horizon):
    for cycles in range(1, min(horizon, 12) + 1):
        numbers = values(restarts(1 / cycles), horizon, beyond=3)
        assert falls(numbers[-4:]), "after the end it stays"
        starts = [1, *(k + 2 for k, (a, b) in enumerate(pairwise(numbers)) if b > a)]
        assert len(starts) <= cycles


# Plateau.


def at_end(schedule: Schedule, losses: list[float], *, start: int = 1) -> float:
    """The factor after so many evaluations, one after every step."""
    return schedule(start + len(losses), None, list(enumerate(losses, start)))


PLATEAUS = {
    "no evaluation": (plateau(0.5, patience=0), [], 1.0),
    "the first is the best": (plateau(0.5, patience=0), [5.0], 1.0),
    "patience 0": (plateau(0.5, patience=0), [5.0, 5.0], 0.5),
    "it needs more than its patience": (plateau(0.5, patience=2), [5.0] * 3, 1.0),
    "patience 2": (plateau(0.5, patience=2), [5.0] * 4, 0.5),
    "it falls again": (plateau(0.5, patience=2), [5.0] * 7, 0.25),
    "an improvement starts the count anew": (plateau(0.5, patience=2), [5, 5, 5, 4, 4, 4], 1.0),
    "too small an improvement": (plateau(0.5, patience=0, threshold=0.1), [5.0, 4.6], 0.5),
    "a large one": (plateau(0.5, patience=0, threshold=0.1), [5.0, 4.4], 1.0),
    "below 0": (plateau(0.5, patience=0, threshold=0.1), [-1.0, -1.05], 0.5),
    "a worse one below 0": (plateau(0.5, patience=0, threshold=0.1), [-1.0, -0.95], 0.5),
    "a better one below 0": (plateau(0.5, patience=0, threshold=0.1), [-1.0, -1.2], 1.0),
    "NaN is no improvement": (plateau(0.5, patience=0), [5.0, NAN], 0.5),
    "NaN first": (plateau(0.5, patience=1), [NAN, 5.0], 1.0),
    "infinity": (plateau(0.5, patience=0), [INF, INF], 0.25),
    "cooldown": (plateau(0.5, patience=0, cooldown=2), [5.0] * 4, 0.5),
    "after the cooldown": (plateau(0.5, patience=0, cooldown=2), [5.0] * 5, 0.25),
    "floor": (plateau(0.1, patience=0, floor=0.05), [5.0] * 9, 0.05),
    "never": (plateau(patience=0, floor=1.0), [5.0] * 9, 1.0),
    "to 0": (plateau(0.0, patience=0), [5.0] * 2, 0.0),
}


@pytest.mark.parametrize(("schedule", "losses", "factor"), PLATEAUS.values(), ids=PLATEAUS)
def test_plateau_by_hand(schedule, losses, factor):
    assert at_end(schedule, losses) == pytest.approx(factor)


@pytest.mark.parametrize("looks", range(1, 8))
@pytest.mark.parametrize("start", [0, 25])
def test_whether_a_plateau_can_act_in_a_run(looks, start):
    """The first evaluation, of any loss, is one to beat; then patience + 1 are without; then it
    falls, and a step must be left to see it.
    """
    schedule = plateau(patience=2) if not start else warmup(start) >> plateau(patience=2)
    needed = 4 if not start else 6
    last = looks * 10 + 1
    assert can_fall(schedule, horizon=100, last=last, every=10) == (looks >= needed)
    assert not can_fall(schedule, horizon=100, last=needed * 10, every=10)
    assert not can_fall(cosine(), horizon=100, last=last, every=10)


def test_after_a_warmup_a_plateau_counts_from_where_it_begins():
    """Losses of the warm-up are not its own, but that of its last step is where it begins."""
    losses = [9.0, 1.0, 5.0, 5.0, 5.0]
    joined = warmup(3) >> plateau(0.5, patience=1)
    assert at_end(joined, losses) == 0.5
    assert at_end(joined, losses[:4]) == 1.0
    assert at_end(plateau(0.5, patience=1), losses[:4]) == 0.5


def test_the_wait_is_that_between_two_falls():
    schedule = warmup(5) >> plateau(0.5, patience=3, cooldown=2)
    falls_at = [k for k in range(1, 40) if at_end(schedule, [1.0] * k, start=5) < 1]
    again = [k for k in range(1, 40) if at_end(schedule, [1.0] * k, start=5) < 0.5]
    assert again[0] - falls_at[0] == wait_of(schedule) == 6
    assert wait_of(cosine()) == 0


# Composition.


@every_row
@every_horizon
def test_what_follows_runs_over_what_is_left(row, horizon):
    """`warmup(n) >> s` is s over the horizon without n, n steps later."""
    if any(isinstance(part, float) for part, _ in row.schedule.parts):
        pytest.skip("a share counts from the whole horizon")
    joined, seen = warmup(4) >> row.schedule, evaluations(horizon)
    own = [(number - 4, loss) for number, loss in seen if number >= 4]
    for number in range(5, horizon + 1):
        assert joined(number, horizon, seen) == row.schedule(number - 4, horizon - 4, own)


STRETCHES = {
    "steps": (warmup(10) >> constant(20) >> step(0.5, 2), {1.0: 10, 0.5: 66}),
    "shares": (warmup(0.1) >> constant(0.2) >> step(0.5, 2), {1.0: 10, 0.5: 66}),
    "a share of the whole horizon": (
        warmup(10) >> constant(0.5) >> step(0.5, 2),
        {1.0: 10, 0.5: 81},
    ),
    "two of a kind": (
        constant(30) >> constant(0.3) >> step(0.5, 4),
        {1.0: 1, 0.5: 71, 0.25: 81, 0.125: 91},
    ),
}
"""Schedules, and the step of 100 at which each factor comes first."""


@pytest.mark.parametrize(("schedule", "first"), STRETCHES.values(), ids=STRETCHES)
def test_lengths_add_up(schedule, first):
    numbers = values(schedule, 100)
    start = first[1.0] - 1
    assert {factor: numbers.index(factor, start) + 1 for factor in first} == first


def test_composition_is_associative():
    parts = warmup(3), warmup(0.2), cosine(0.1)
    left = (parts[0] >> parts[1]) >> parts[2]
    right = parts[0] >> (parts[1] >> parts[2])
    assert left == right
    assert values(left, 40) == values(right, 40)


def test_a_warmup_longer_than_the_run_only_rises():
    numbers = values(warmup(100) >> cosine(), 10)
    assert numbers == [n / 100 for n in range(1, 11)]


@every_row
def test_nothing_follows_what_has_no_end(row):
    if all(length is not None for length, _ in row.schedule.parts):
        assert (row.schedule >> cosine()).needs_horizon
        return
    with pytest.raises(UsageError, match=r"warmup\(100\).*before >>"):
        _ = row.schedule >> cosine()


@every_row
def test_a_warmup_of_its_own_is_known(row):
    assert row.schedule.warms_up is str(row.schedule).startswith(("warmup", "one_cycle"))


# What is refused.

BAD = {
    "warmup -1": (lambda: warmup(-1), "steps is -1"),
    "warmup 1.5": (lambda: warmup(1.5), "steps is 1.5"),
    "warmup -0.1": (lambda: warmup(-0.1), "steps is -0.1"),
    "warmup nan": (lambda: warmup(NAN), "steps is nan"),
    "warmup True": (lambda: warmup(True), "steps is True"),
    "warmup of a text": (lambda: warmup("5"), "steps is '5'"),
    "constant -1": (lambda: constant(-1), "constant: steps is -1"),
    "cosine floor": (lambda: cosine(1.1), "floor is 1.1: .*0 .. 1"),
    "cosine floor -": (lambda: cosine(-0.1), "floor is -0.1: .*0 .. 1"),
    "cosine floor None": (lambda: cosine(None), "floor is None: .*0 .. 1"),
    "cosine floor, huge": (lambda: cosine(10**400), "floor is 1000.*0 .. 1"),
    "linear floor": (lambda: linear(NAN), "floor is nan: .*0 .. 1"),
    "exponential 0": (lambda: exponential(0), "above 0"),
    "exponential 2": (lambda: exponential(2), "floor is 2"),
    "inverse_sqrt 0": (lambda: inverse_sqrt(0), "timescale is 0: .*larger than 0"),
    "inverse_sqrt inf": (lambda: inverse_sqrt(INF), "timescale is inf"),
    "inverse_sqrt, huge": (lambda: inverse_sqrt(10**400), "timescale is 1000"),
    "one_cycle rise": (lambda: one_cycle(rise=1.5), "rise is 1.5"),
    "one_cycle start": (lambda: one_cycle(start=-1), "start is -1"),
    "one_cycle floor": (lambda: one_cycle(floor=25), "floor is 25"),
    "plateau factor": (lambda: plateau(factor=2), "factor is 2"),
    "plateau patience": (lambda: plateau(patience=1.5), "patience is 1.5: .*whole"),
    "plateau patience -": (lambda: plateau(patience=-1), "patience is -1: .*at least 0"),
    "plateau threshold": (lambda: plateau(threshold=-1), "threshold is -1"),
    "plateau cooldown": (lambda: plateau(cooldown=-1), "cooldown is -1"),
    "plateau floor": (lambda: plateau(floor=NAN), "floor is nan"),
    "polynomial power": (lambda: polynomial(0), "power is 0"),
    "restarts 0": (lambda: restarts(0), "period is 0: .*at least 1"),
    "restarts 0.0": (lambda: restarts(0.0), "period is 0.0: .*above 0"),
    "restarts multiplier": (lambda: restarts(multiplier=0), "multiplier is 0: .*at least 1"),
    "restarts multiplier 1.5": (lambda: restarts(multiplier=1.5), "multiplier is 1.5: .*whole"),
    "step factor": (lambda: step(factor=2.0), "factor is 2.0: .*0 .. 1"),
    "step stages": (lambda: step(stages=0), "stages is 0: .*at least 1"),
    "wsd decay": (lambda: wsd(1.5), "decay is 1.5"),
    "wsd floor": (lambda: wsd(floor=-1), "floor is -1"),
    "plateau factor 1": (lambda: plateau(factor=1.0), "factor is 1: it must be below 1"),
    "a number after": (lambda: warmup(5) >> 3, "3 is no schedule"),
    "a text after": (lambda: warmup(5) >> "cosine", "'cosine' is no schedule"),
    "nothing after": (lambda: warmup(5) >> None, "None is no schedule"),
    "a function after": (lambda: warmup(5) >> cosine, r"write cosine\(\.\.\.\)"),
    "a number before": (lambda: 3 >> cosine(), "3 is no schedule"),
    "a function before": (lambda: warmup >> cosine(), r"write warmup\(\.\.\.\)"),
    "a step of 1.5": (lambda: cosine()(1.5, 10), "step is 1.5: .*whole"),
    "step nan": (lambda: cosine()(NAN, 10), "step is nan"),
    "a text for a step": (lambda: cosine()("3", 10), "step is '3'"),
    "a horizon of 1.5": (lambda: cosine()(1, 1.5), "horizon is 1.5: .*whole"),
    "a text for a horizon": (lambda: cosine()(1, "10"), "horizon is '10'"),
    "no text": (lambda: parse(3), "schedule is 3: it must be a text"),
    "an empty text": (lambda: parse(""), "'' cannot be read"),
    "an empty part": (lambda: parse("warmup(5) >> "), "'' cannot be read"),
    "an unknown name": (lambda: parse("cos"), "'cos' is unknown: did you mean cosine.*plateau"),
    "a far name": (lambda: parse("xyzzy"), "'xyzzy' is unknown: choose one of constant"),
    "code": (lambda: parse("__import__('os')"), "'__import__' is unknown"),
    "a call in a call": (lambda: parse("cosine(float(1))"), "cannot be read"),
    "half a call": (lambda: parse("cosine(floor=0.1"), "cannot be read"),
    "a word too many": (lambda: parse("cosine() x"), "cannot be read"),
    "one arrow": (lambda: parse("warmup(5) > cosine"), "cannot be read"),
    "two spellings": (lambda: parse("cosine:floor=0.1()"), "cannot be read"),
    "an unknown setting": (lambda: parse("cosine(flor=0.1)"), "no setting 'flor': it has floor"),
    "no value": (lambda: parse("cosine(floor=)"), "floor is ''"),
    "a word for a number": (lambda: parse("cosine:floor=low"), "cosine: floor is 'low'"),
    "nan": (lambda: parse("cosine:floor=nan"), "floor is 'nan'"),
    "a number of many digits": (lambda: parse(f"warmup({'9' * 5000})"), "give a number"),
    "another alphabet": (lambda: parse("warmup(\u0661)"), "give a number"),
    "a setting twice": (lambda: parse("step(0.1, factor=0.2)"), "step is given factor twice"),
    "a second bare value": (lambda: parse("step(0.1, 4)"), "'4' is not NAME=NUMBER"),
    "a comma too many": (lambda: parse("step(0.1,)"), "'' is not NAME=NUMBER"),
    "no length": (lambda: parse("warmup >> cosine"), r"warmup needs steps, such as warmup\(100\)"),
    "an end in the middle": (lambda: parse("cosine >> linear"), r"cosine\(\) has no end"),
    "a range": (lambda: parse("warmup(5) >> cosine(floor=2)"), "cosine: floor is 2"),
    "a whole number": (lambda: parse("plateau(patience=1.5)"), "patience is 1.5: .*whole"),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
def test_a_setting_out_of_range_is_told(build, message):
    with pytest.raises(UsageError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


SPELLINGS = {
    "cosine": cosine(),
    "cosine()": cosine(),
    "cosine( )": cosine(),
    "cosine:": cosine(),
    "cosine:floor=0.1": cosine(0.1),
    "cosine:0.1": cosine(0.1),
    " cosine ( floor = 1e-1 ) ": cosine(0.1),
    "warmup:100>>cosine:floor=.1": warmup(100) >> cosine(0.1),
    "warmup(steps=0.1) >> constant:5 >> step:stages=2,factor=0.5": (
        warmup(0.1) >> constant(5) >> step(0.5, 2)
    ),
    "restarts:period=1": restarts(1),
    "restarts:period=1.0": restarts(1.0),
}


@pytest.mark.parametrize(("text", "schedule"), SPELLINGS.items(), ids=SPELLINGS)
def test_spellings(text, schedule):
    assert parse(text) == schedule
