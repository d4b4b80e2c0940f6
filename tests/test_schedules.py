"""The exam of the schedules: every schedule x every law. A new schedule is one row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from thalweg import constant, cosine, linear, step, warmup
from thalweg.errors import UsageError
from thalweg.schedules import Schedule

HORIZONS = (1, 2, 3, 10, 97, 1000)


@dataclass(frozen=True)
class Row:
    """schedule; low: its value at the end; falls: it never rises; needs_horizon: it must know the
    end.
    """

    schedule: Schedule
    low: float
    falls: bool = True
    needs_horizon: bool = True


EXAM = {
    "constant": Row(constant(), 1.0, needs_horizon=False),
    "cosine": Row(cosine(), 0.0),
    "cosine to a floor": Row(cosine(floor=0.2), 0.2),
    "linear": Row(linear(), 0.0),
    "linear to a floor": Row(linear(floor=0.5), 0.5),
    "linear to 1": Row(linear(floor=1.0), 1.0),
    "step": Row(step(), 0.01),
    "step in five": Row(step(factor=0.5, stages=5), 0.5**4),
    "step in one": Row(step(stages=1), 1.0),
    "warmup alone": Row(warmup(5), 1.0, falls=False, needs_horizon=False),
    "warmup, constant": Row(warmup(5) >> constant(), 1.0, falls=False, needs_horizon=False),
    "warmup, cosine": Row(warmup(5) >> cosine(floor=0.1), 0.1, falls=False),
    "warmup of a share": Row(warmup(0.1) >> linear(), 0.0, falls=False),
    "no warmup": Row(warmup(0) >> cosine(), 0.0),
}

every_row = pytest.mark.parametrize("row", EXAM.values(), ids=EXAM)
every_horizon = pytest.mark.parametrize("horizon", HORIZONS)


def values(schedule: Schedule, horizon: int, beyond: int = 0) -> list[float]:
    return [schedule(number, horizon) for number in range(1, horizon + beyond + 1)]


def falls(numbers: list[float]) -> bool:
    return all(a >= b - 1e-12 for a, b in pairwise(numbers))


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
    for horizon in (100, 1000):
        assert row.schedule(horizon, horizon) >= row.low
        assert row.schedule(horizon, horizon) <= row.low + 1.5 / (0.9 * horizon)
        for number in (horizon + 1, horizon + 2, 10 * horizon):
            assert row.schedule(number, horizon) == pytest.approx(row.low, abs=1e-12)


@every_row
@every_horizon
def test_it_never_rises_after_its_warmup(row, horizon):
    numbers = values(row.schedule, horizon, beyond=20)
    peak = numbers.index(max(numbers))
    assert falls(numbers[peak:])
    assert falls(numbers[peak::-1])
    assert peak == 0 or not row.falls


def test_rising_is_told_from_falling():
    assert not falls(values(warmup(5), 10))
    assert falls(values(linear(), 10))


@every_row
def test_it_is_a_value_and_a_pure_function(row):
    again = [row.schedule(number, 50) for number in range(50, 0, -1)]
    assert again[::-1] == values(row.schedule, 50)
    assert row.schedule == Schedule(row.schedule.parts)
    assert hash(row.schedule) == hash(Schedule(row.schedule.parts))


@every_row
def test_without_a_horizon_it_works_or_says_what_to_give(row):
    assert row.schedule.needs_horizon is row.needs_horizon
    if row.needs_horizon:
        with pytest.raises(UsageError, match=r"until=budget\(steps=\.\.\.\).*constant\(\)"):
            row.schedule(1, None)
    else:
        numbers = [row.schedule(number, None) for number in range(1, 30)]
        assert numbers == [row.schedule(number, 1000) for number in range(1, 30)]


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


@every_horizon
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 1.0])
def test_a_share_is_so_many_steps(share, horizon):
    steps = round(share * horizon)
    assert values(warmup(share) >> cosine(), horizon) == values(warmup(steps) >> cosine(), horizon)


MIDDLES: dict[str, tuple[Schedule, Callable[[float], float]]] = {
    "cosine": (cosine(), lambda x: (1 + math.cos(math.pi * x)) / 2),
    "cosine to 0.2": (cosine(0.2), lambda x: 0.2 + 0.8 * (1 + math.cos(math.pi * x)) / 2),
    "linear": (linear(), lambda x: 1 - x),
    "linear to 0.5": (linear(0.5), lambda x: 1 - x / 2),
    "step": (step(0.1, 3), lambda x: 0.1 ** int(3 * x)),
}


@pytest.mark.parametrize(("schedule", "formula"), MIDDLES.values(), ids=MIDDLES)
@every_horizon
def test_between_the_ends_it_follows_its_formula(schedule, formula, horizon):
    for number, value in enumerate(values(schedule, horizon)):
        assert value == pytest.approx(formula(number / horizon), abs=1e-12)


def test_stages_are_equally_long():
    numbers = values(step(0.5, 4), 100)
    assert [numbers.count(0.5**k) for k in range(4)] == [25, 25, 25, 25]


# Composition.


@every_row
@every_horizon
def test_what_follows_runs_over_what_is_left(row, horizon):
    """`warmup(n) >> s` is s over the horizon without n, n steps later."""
    if any(isinstance(part, float) for part, _ in row.schedule.parts):
        pytest.skip("a share counts from the whole horizon")
    joined = warmup(4) >> row.schedule
    for number in range(5, horizon + 1):
        assert joined(number, horizon) == row.schedule(number - 4, horizon - 4)


def test_composition_is_associative():
    parts = warmup(3), warmup(0.2), cosine(0.1)
    left = (parts[0] >> parts[1]) >> parts[2]
    right = parts[0] >> (parts[1] >> parts[2])
    assert left == right
    assert values(left, 40) == values(right, 40)


def test_a_warmup_longer_than_the_run_only_rises():
    numbers = values(warmup(100) >> cosine(), 10)
    assert numbers == [n / 100 for n in range(1, 11)]


ENDLESS = {"constant": constant(), "cosine": cosine(), "linear": linear(), "step": step()}


@pytest.mark.parametrize("first", ENDLESS.values(), ids=ENDLESS)
def test_nothing_follows_what_has_no_end(first):
    with pytest.raises(UsageError, match=r"warmup\(100\).*before >>"):
        _ = first >> cosine()


BAD = {
    "warmup -1": (lambda: warmup(-1), r"warmup\(-1\)"),
    "warmup 1.5": (lambda: warmup(1.5), r"warmup\(1.5\)"),
    "warmup -0.1": (lambda: warmup(-0.1), r"warmup\(-0.1\)"),
    "warmup nan": (lambda: warmup(math.nan), r"warmup\(nan\)"),
    "cosine floor": (lambda: cosine(1.1), "floor is 1.1: .*0 .. 1"),
    "cosine floor -": (lambda: cosine(-0.1), "floor is -0.1: .*0 .. 1"),
    "linear floor": (lambda: linear(math.nan), "floor is nan: .*0 .. 1"),
    "step factor": (lambda: step(factor=2.0), "factor is 2.0: .*0 .. 1"),
    "step stages": (lambda: step(stages=0), "stages=0.*at least 1"),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
def test_a_setting_out_of_range_is_told(build, message):
    with pytest.raises(UsageError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
