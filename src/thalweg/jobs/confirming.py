"""diagnose --try: trials from a checkpoint of a run, and findings that are surer or less so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from thalweg.errors import ThalwegError
from thalweg.facts import Trial
from thalweg.health.tried import Tried, confirmed, tried_object, unweighed
from thalweg.health.verdict import verdict_object
from thalweg.jobs.causes import trials_of
from thalweg.jobs.longer import Longer
from thalweg.jobs.old import Old
from thalweg.jobs.standing import Stand, last_good, standing
from thalweg.jobs.study import Study
from thalweg.trials.trial import budget_of
from thalweg.types import Finding, Verdict

BREAKS = ("TW001", "TW002", "TW004")
"""Findings after which weights tell nothing any more: trials begin before them."""

HIGH_RATE = "TW101"
"""The finding of a rate that is too high, which may have spoilt the weights at once."""


def confirm(
    old: Old,
    study: Study,
    said: Mapping[str, Any],
    tell: Callable[[str], None],
    *,
    has_learnt: bool = True,
) -> dict[str, Any]:
    """Trials from a checkpoint; and the verdict, with findings that these made surer or less so.

    has_learnt: are there weights that are better than fresh ones? Else a rate that is too high has
    spoilt them, and trials begin before it did.
    """
    verdict = Verdict(
        said["state"],
        said["sentence"],
        tuple(unweighed(Finding(**row)) for row in said["findings"]),
        tuple(said["not_checkable"]),
    )
    breaks = BREAKS if has_learnt else (*BREAKS, HIGH_RATE)
    broken = [each.since_step for each in verdict.findings if each.code in breaks]
    begin = last_good(old.folder.path, min(broken, default=inf))
    budget = budget_of(old.num_steps)
    tell(f"trials of causes from step {begin or 0:,}, {budget:,} steps at most")
    tried = _tried(Stand(old, study, begin), verdict.findings, budget)
    verdict = replace(verdict, findings=tuple(confirmed(verdict.findings, tried)))
    trials = {"from_step": begin or 0, **tried_object(tried)}
    return {"verdict": verdict_object(verdict), "trials": trials}


def _tried(where: Stand, findings: Sequence[Finding], budget: int) -> Tried:
    try:
        with standing(replace(where, longer=Longer(steps=1))) as descent:
            pass  # closed, its optimizer has the run's own rate and not the schedule's of a step
        results = trials_of(descent, findings, budget=budget, number=where.begin or 0).results
        made = [each for each in results if each.name != "replay"]
        return Tried((*made, _replay(where)), budget)
    except ThalwegError as error:
        return Tried((Trial("overfit", why_not=f"nothing can be tried: {error}"),), budget)


def _replay(where: Stand) -> Trial:
    """A step of the run once more, from the checkpoint before it, with gradients zeroed."""
    steps, old = where.old.history.steps, where.old
    begin = last_good(old.folder.path, old.num_steps)
    norms = dict(zip(map(int, steps["number"]), steps.get("gradient_norm", ()), strict=False))
    run = norms.get((begin or 0) + 1)
    if run is None:
        return Trial("replay", why_not="not tried: no gradient's norm is recorded of that step")
    with standing(replace(where, begin=begin)) as descent:
        replayed = next(descent).gradient_norm or 0.0
    difference = abs(float(run) - replayed) / max(abs(replayed), 1e-30)
    numbers = {"run": float(run), "replay": replayed, "difference": difference, "chance": 0.0}
    return Trial("replay", 1, numbers)
