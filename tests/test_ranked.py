"""Changes that are tried: which, from where, and how a rate is searched."""

from __future__ import annotations

import math

import pytest

from thalweg.jobs.ranked import MOST, own_schedule, ranked, steps_of_try
from thalweg.jobs.suggested import Suggestion, begin_of, known_of, suggestions
from thalweg.schedules.text import parse
from thalweg.types import Finding


def bowl(right: float, *, lr: float, breaks_at: float = math.inf):
    """Losses that are lowest at a rate, and infinite from another one on; asked: what was tried."""
    asked: list[Suggestion] = []

    def attempt(change: Suggestion) -> float:
        asked.append(change)
        rate = change.settings.get("lr", lr)
        return math.inf if rate >= breaks_at else 1.0 + abs(math.log10(rate / right))

    return attempt, asked


def finding(code: str, since: int = 1, **evidence: float) -> Finding:
    return Finding(code, "a name", "act", since, 0.9, evidence, "advice")


@pytest.mark.parametrize("factor", [10.0, 30.0, 100.0, 1000.0])
def test_a_rate_that_is_too_low_is_raised_until_it_is_about_right(factor):
    attempt, asked = bowl(1e-4 * factor, lr=1e-4)
    best = ranked(suggestions(["TW102"], {"lr": 1e-4}), attempt, lr=1e-4)[0].change
    assert 1 / 3.2 < best.settings["lr"] / (1e-4 * factor) < 3.2
    assert len(asked) <= MOST


@pytest.mark.parametrize("factor", [10.0, 100.0, 1e4])
def test_a_rate_that_is_too_high_is_lowered_until_it_is_about_right(factor):
    attempt, asked = bowl(0.01, lr=0.01 * factor, breaks_at=0.1)
    lr = 0.01 * factor
    best = ranked(suggestions(["TW101"], {"lr": lr}), attempt, lr=lr)[0].change
    assert 1 / 3.2 < best.settings["lr"] / 0.01 < 3.2
    assert len(asked) <= MOST


def test_short_steps_say_how_far_off_the_rate_is():
    known = known_of([finding("TW102", update_ratio=2e-6)], [1, 2], [0.5, 0.7])
    _, raised = suggestions(["TW102"], {"lr": 1e-5, **known})
    assert raised.settings == {"lr": 0.005}


def test_rates_are_tried_where_nothing_was_found():
    found = [each.settings for each in suggestions([], {"lr": 0.1})]
    assert found == [{}, {"lr": 0.01}, {"lr": 1.0}]


def test_what_is_as_good_changes_nothing():
    losses = {None: 0.505, 0.01: 0.5, 0.001: 0.51}
    found = ranked(
        suggestions(["TW301"], {"lr": 0.1}), lambda each: losses[each.settings.get("lr")], lr=0.1
    )
    assert [each.change.words for each in found] == ["as it was", "--lr 0.01 (it was 0.1)"]


def test_a_rate_that_moves_nothing_yet_is_raised_further():
    losses = {None: 2.3, 1e-5: 2.31, 1e-4: 2.29, 1e-3: 1.0, 1e-2: 5.0}

    def attempt(change: Suggestion) -> float:
        rate = change.settings.get("lr")
        return losses.get(rate, 2.0)

    found = ranked(suggestions(["TW102"], {"lr": 1e-6}), attempt, lr=1e-6)
    assert found[0].change.settings == {"lr": 1e-3}


def test_no_more_is_tried_than_may_be():
    attempt, asked = bowl(1.0, lr=1e-9)
    ranked(suggestions(["TW102"], {"lr": 1e-9}), attempt, lr=1e-9, most=2)
    assert len(asked) == 2


def test_a_gradient_that_explodes_is_clipped_at_its_usual_norm():
    known = known_of([finding("TW004", since=4)], [1, 2, 3, 4], [0.2, 0.21, 0.19, 1e9])
    words = [each.words for each in suggestions(["TW004"], {"lr": 0.1, **known})]
    assert words[1:] == ["--clip 0.2", "--clip 0.2 and --lr 0.01 (it was 0.1)"]


@pytest.mark.parametrize(("now", "larger"), [(1, 32), (8, 32), (16, 64), (32, None)])
def test_few_samples_become_some_dozens(now, larger):
    found = [each.settings for each in suggestions(["TW107"], {"batch_size": now})]
    assert found == [{}, *([{"batch_size": larger}] if larger else [])]


@pytest.mark.parametrize(
    ("code", "step"),
    [("TW102", 300), ("TW301", 100)],
    ids=["slow: from the lowest loss", "broken at 150: from before it, where that is near"],
)
def test_where_to_go_on_from(code, step):
    losses = {0: 2.3, 100: 0.55, 200: 0.9, 300: 0.5}
    assert begin_of(losses, [finding(code, since=150)]) == step


def test_from_before_a_break_only_where_much_was_learnt_by_then():
    assert begin_of({0: 2.3, 100: 2.0, 300: 0.5}, [finding("TW003", since=150)]) == 300


def test_the_schedule_of_a_try_falls_over_its_second_half():
    settings = own_schedule(200, 40)
    schedule = parse(settings["schedule"])
    rates = [schedule(step, settings["steps"]) for step in range(201, 241)]
    assert rates[:21] == [1.0] * 21
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1 / 20)


def test_a_fault_of_the_schedule_is_mended_by_the_schedule_alone():
    assert [each.settings for each in suggestions(["TW105"], {"lr": 0.1})] == [{}]


def test_a_try_takes_a_share_of_the_run():
    assert [steps_of_try(steps) for steps in (10, 1000)] == [15, 40]


@pytest.mark.parametrize("codes", [["TW101"], ["TW101", "TW404"], ["TW404", "TW101"]])
def test_slow_steps_suggest_nothing_beside_a_rate(codes):
    found = [each.settings.get("lr") for each in suggestions(codes, {"lr": 10.0})]
    assert found == [None, 1.0]
