"""Trials that a run of ours made as it went: how sure they make what is suspected at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thalweg.health.codes import BY_KEY, CODES
from thalweg.health.tried import BROKEN, Tried, tried_again, weighed
from thalweg.health.view import Suspicion, View

LASTING = (*BROKEN, "TW203", "TW308")
"""Causes that lie in the data or in the program: no later step of a run mends them."""


def after_trials(view: View, said: Sequence[Suspicion]) -> list[Suspicion]:
    """What is suspected, as sure as trials in the run made it; and what they confirmed and lasts,
    though the whole curve no longer shows it. What began after the trials is left as it is.
    """
    made = view.log.trials
    if not made:
        return [*said]
    tried, keys = tried_again(made), {each.key for each in said}
    before = [each for each in said if each.since <= made["from_step"]]
    after = [each for each in said if each.since > made["from_step"]]
    asked = [each for each in _asked(made) if each.key not in keys and not _has_fallen(view, made)]
    lasting = [each for each in _weighed(asked, tried) if _is_sure(each)]
    return [*_weighed(before, tried), *after, *lasting]


def _weighed(said: Sequence[Suspicion], tried: Tried) -> list[Suspicion]:
    return [weighed(each, BY_KEY[each.key].code, tried) for each in said]


def _asked(made: Mapping[str, Any]) -> Iterator[Suspicion]:
    """What was suspected when the trials were made, and would last."""
    for row in made["findings"]:
        if row["code"] in LASTING:
            key, says = CODES[row["code"]].key, str(row["evidence"].get("says", row["name"]))
            evidence = {name: value for name, value in row["evidence"].items() if name != "says"}
            yield Suspicion(key, row["since_step"], row["confidence"], says, evidence)


def _is_sure(each: Suspicion) -> bool:
    return bool(each.evidence.get("confirmed_by")) and not each.evidence["refuted_by"]


def _has_fallen(view: View, made: Mapping[str, Any]) -> bool:
    """Has the loss on other samples come down since the trials?"""
    curve = view.validation
    if curve is None:
        return False
    is_later = curve.t > made["from_step"]
    if not is_later.any() or is_later.all():
        return False
    return curve.v[is_later].min() < curve.v[~is_later].min() - 2 * curve.error
