"""diagnose --try: trials on a checkpoint of a run, which tell a bug from bad labels or a bad rate.

The model learns from batches of the training part and is looked at on the validation part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from thalweg.errors import ThalwegError
from thalweg.facts import Trial
from thalweg.health.tried import Tried, confirmed, tried_object
from thalweg.health.verdict import verdict_object
from thalweg.jobs.longer import Longer
from thalweg.jobs.old import Old
from thalweg.jobs.standing import Stand, last_good, standing
from thalweg.jobs.study import Study
from thalweg.loop.batches import Feed
from thalweg.loop.descent import Descent
from thalweg.scale.precision import FLOAT32, precision_of
from thalweg.tasks.sources import in_order
from thalweg.tasks.task import Task
from thalweg.trials.trial import LONGEST, budget_of, trial
from thalweg.types import Finding, Source, Verdict

HELD, AT_ONCE = 16, 256
"""Batches of the validation part that are looked at, and samples of one at most."""

BREAKS = ("TW001", "TW002", "TW004")
"""Findings after which weights tell nothing any more: trials begin before them."""


def confirm(
    old: Old, study: Study, plain: Study, said: Mapping[str, Any], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Trials from a checkpoint; and the verdict, with findings that these made surer or less so.

    plain: the study with a loss that can fall to 0
    """
    verdict = Verdict(
        said["state"],
        said["sentence"],
        tuple(Finding(**row) for row in said["findings"]),
        tuple(said["not_checkable"]),
    )
    broken = [each.since_step for each in verdict.findings if each.code in BREAKS]
    begin = last_good(old.folder.path, min(broken, default=inf))
    budget = budget_of(old.num_steps)
    tell(f"trials of causes from step {begin or 0:,}, {budget:,} steps at most")
    tried = _tried(Stand(old, plain, begin), verdict.findings, budget, Stand(old, study, begin))
    verdict = replace(verdict, findings=tuple(confirmed(verdict.findings, tried)))
    trials = {"from_step": begin or 0, **tried_object(tried)}
    return {"verdict": verdict_object(verdict), "trials": trials}


def _tried(where: Stand, findings: Sequence[Finding], budget: int, as_it_was: Stand) -> Tried:
    try:
        with standing(replace(where, longer=Longer(steps=1))) as descent:
            batches = [*_learnt(descent.feed)]
        results = _trials(where, descent, batches, findings, budget).results
        made = [each for each in results if each.name != "replay"]
        return Tried((*made, _replay(as_it_was)), budget)
    except ThalwegError as error:
        return Tried((Trial("overfit", why_not=f"nothing can be tried: {error}"),), budget)


def _trials(
    where: Stand,
    descent: Descent,
    batches: Sequence[Any],
    findings: Sequence[Finding],
    budget: int,
) -> Tried:
    """The descent is closed, so that its optimizer has the run's rate and not the schedule's."""
    task = descent.task
    return trial(
        task.model,
        descent.optimizer,
        loss_of=_loss_of(task, str(where.old.chosen.get("precision", "float32"))),
        batches=batches,
        held=[*_held(task.validation, descent.feed.batch_size)] if task.validation else None,
        findings=findings,
        budget=budget,
        number=where.begin or 0,
    )


def _loss_of(task: Task, name: str) -> Callable[[Any], Any]:
    """The loss of a batch in the run's precision; fp16 would need its scale, and goes without."""
    precision = precision_of(name)
    precision = FLOAT32 if precision.needs_scale else precision

    def loss_of(batch: Any) -> Any:
        with precision.forward(task.device):
            return task.loss(task.model, batch)

    return loss_of


def _learnt(feed: Feed) -> Iterator[Any]:
    """Some of the training part, in an order of their own."""
    yield from feed.aside(LONGEST) or ()


def _held(validation: Source, size: int) -> Iterator[Any]:
    """Batches of the validation part, from its beginning on."""
    size = min(size, AT_ONCE, len(validation))
    for first in range(0, min(HELD * size, len(validation)), size):
        yield validation.fetch(in_order(first, min(first + size, len(validation))))


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
