"""diagnose --try: causes tried on a checkpoint, and suggested changes tried and ranked.

The run itself is read and never written to: what is tried lives in a folder that is removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from thalweg.errors import ThalwegError, UsageError
from thalweg.health.view import View
from thalweg.jobs.confirming import confirm
from thalweg.jobs.old import Old, old_of
from thalweg.jobs.ranked import own_schedule, ranked, steps_of_try
from thalweg.jobs.resume import with_own_schema
from thalweg.jobs.settings import Settings
from thalweg.jobs.standing import Stand, standing, steps_of
from thalweg.jobs.study import Study, study_of
from thalweg.jobs.suggested import (
    Fresh,
    Suggestion,
    begin_of,
    begins_anew,
    known_of,
    needs_schedule,
    suggestions,
    worth_of,
)
from thalweg.loop.descent import Descent
from thalweg.record.as_log import as_log
from thalweg.state.folder import find
from thalweg.types import Finding


@dataclass(frozen=True, slots=True)
class Length:
    """Of each try: the step of the checkpoint, 0: the start; and how many steps from there."""

    begin: int
    count: int


def try_out(
    run: str, said: Mapping[str, Any], *, out: str, steps: int | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """What is said of a run of ours, after trials of its causes and tries of what would help.

    Raises UsageError where the run's data or model was given as an object, RunError where it cannot
    be read.
    """
    if steps is not None and steps < 1:
        raise UsageError(f"try-steps is {steps}: it must be 1 or more")
    if said["source"]["format"] != "thalweg":
        raise UsageError(
            f"{run} is another tool's log: only a run of ours can be tried, for it has its data, "
            "its model and its checkpoints beside it"
        )
    old = old_of(find(run, out), {})
    data = old.check_data(None)
    study = study_of(data, with_own_schema(old, Settings.of(old.chosen)), lambda text: None)
    kept, fresh = _losses(old), _fresh(old, study)
    worth = worth_of(fresh, [each["code"] for each in said["verdict"]["findings"]])
    has_learnt = min(kept.values(), default=math.inf) < worth
    found = confirm(old, study, said["verdict"], tell, has_learnt=has_learnt)
    findings = [Finding(**row) for row in found["verdict"]["findings"]]
    begin = begin_of({**kept, 0: worth}, findings)
    why = "" if begin else begins_anew(kept, fresh)
    tries = _tries(old, study, found, Length(begin, steps or steps_of_try(old.num_steps)), tell)
    return {**said, **found, "tries": {"from_step": begin, "begins_anew": why, **tries}}


def _tries(
    old: Old,
    study: Study,
    found: Mapping[str, Any],
    where: Length,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """What each suggested change does in so many steps, the best first, and how to go on with it.

    Each try brings a schedule of its own, that falls to 0 at its end.
    found: the verdict, and the trials, which may point to more
    """
    findings = [Finding(**row) for row in found["verdict"]["findings"]]
    pointed = [each["code"] for row in found["trials"]["results"] for each in row["confirms"]]
    codes = list(dict.fromkeys([*(each.code for each in findings), *pointed]))
    begin, count = where.begin, where.count
    chosen = {**old.chosen, **known_of(findings, *_norms(old))}
    rows: list[dict[str, Any]] = []

    def attempt(each: Suggestion) -> float:
        tell(f"trying {each.words}, {count:,} steps from step {begin:,}")
        settings = {**each.settings, **own_schedule(begin, count)}
        row = {"change": each.words, "settings": dict(each.settings)}
        rows.append({**row, **_tried(Stand(old, study, begin or None, settings), count)})
        return _order(rows[-1].get("validation_loss"))

    best = ranked(suggestions(codes, chosen), attempt, lr=old.chosen["lr"])
    control = rows[0].get("validation_loss")
    for row in rows:
        row["better_by"] = _gain(control, row.get("validation_loss"))
    places = [each.change.words for each in best]
    rows.sort(key=lambda row: places.index(row["change"]))
    settings = best[0].change.settings
    own = own_schedule(begin, old.num_steps)
    go_on = {**settings, **own} if begin or needs_schedule(codes, settings) else dict(settings)
    return {"steps": count, "tries": rows, "go_on": go_on}


def _losses(old: Old) -> dict[int, float]:
    """Validation losses by the step of a checkpoint."""
    seen = [
        (each.number, float(each.values["loss"]))
        for each in old.history.evaluations
        if each.split == "validation" and "loss" in each.values
    ]
    found: dict[int, float] = {}
    for step in sorted(steps_of(old.folder.path)):
        before = [loss for number, loss in seen if number <= step]
        found |= {step: _order(before[-1])} if before else {}
    return found


def _fresh(old: Old, study: Study) -> Fresh:
    """What the run's own first weights come to on the validation rows, and what a guess does."""
    try:
        with standing(Stand(old, study, None)) as descent:
            values = descent.evaluate().values
    except ThalwegError:
        return Fresh(math.inf)
    loss, explained = _order(values["loss"]), values.get("r2")
    guess = View(as_log(old.history, "this run")).chance
    if explained is not None and explained < 1 and old.chosen.get("loss") in (None, "mse"):
        guess = loss / (1 - explained)  # of one who always says the mean
    return Fresh(loss, guess)


def _norms(old: Old) -> tuple[list[float], list[float]]:
    """Steps, and the gradient's norm at each."""
    steps = old.history.steps
    norms = steps["gradient_norm"].filled(math.nan) if "gradient_norm" in steps else []
    return steps["number"].tolist()[: len(norms)], list(norms)


def _gain(control: float | None, own: float | None) -> float | None:
    if control is None or own is None or not math.isfinite(control) or control == 0:
        return None
    return round((control - own) / abs(control), 4)


def _order(loss: float | None) -> float:
    return loss if loss is not None and math.isfinite(loss) else math.inf


def _tried(where: Stand, count: int) -> dict[str, Any]:
    """Validation loss after so many steps with these settings changed, or why there is none."""
    try:
        with standing(where) as descent:
            return _stepped(descent, count)
    except ThalwegError as error:
        return {"error": str(error)}


def _stepped(descent: Descent, count: int) -> dict[str, Any]:
    taken = sum(1 for _ in islice(descent, count))
    values = descent.evaluate().values
    return {"steps": taken, "validation_loss": float(values["loss"]), "values": dict(values)}
