"""diagnose --try: causes tried on a checkpoint, and suggested changes tried and ranked.

The run itself is read and never written to: what is tried lives in a folder that is removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from thalweg.errors import ThalwegError, UsageError
from thalweg.jobs.confirming import confirm
from thalweg.jobs.old import Old, old_of
from thalweg.jobs.ranked import own_schedule, ranked, steps_of_try
from thalweg.jobs.resume import with_own_schema
from thalweg.jobs.settings import Settings
from thalweg.jobs.standing import Stand, standing, steps_of
from thalweg.jobs.study import Study, study_of
from thalweg.jobs.suggested import NEARLY, Suggestion, begin_of, known_of, suggestions
from thalweg.loop.descent import Descent
from thalweg.state.folder import find
from thalweg.types import Finding


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
    found = confirm(old, study, said["verdict"], tell)
    return {**said, **found, "tries": _tries(old, study, found, steps, tell)}


def _tries(
    old: Old,
    study: Study,
    found: Mapping[str, Any],
    steps: int | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """What each suggested change does in so many steps, the best first, and how to go on with it.

    Each try brings a schedule of its own, that falls to 0 at its end.
    found: the verdict, and the trials, which may point to more
    """
    findings = [Finding(**row) for row in found["verdict"]["findings"]]
    pointed = [each["code"] for row in found["trials"]["results"] for each in row["confirms"]]
    codes = list(dict.fromkeys([*(each.code for each in findings), *pointed]))
    count = steps or steps_of_try(old.num_steps)
    begin = begin_of(_losses(old), findings)
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
    go_on = {**best[0].change.settings, **own_schedule(begin, old.num_steps)}
    return {"from_step": begin, "steps": count, "tries": rows, "go_on": go_on}


def _losses(old: Old) -> dict[int, float]:
    """Validation losses by the step of a checkpoint.

    The start, whose is not known, comes first only where all are far worse than the first training
    loss.
    """
    seen = [
        (each.number, float(each.values["loss"]))
        for each in old.history.evaluations
        if each.split == "validation" and "loss" in each.values
    ]
    first = old.history.steps["loss"][:1].filled(math.nan)
    found = {0: NEARLY * _order(float(first[0]) if len(first) else None)}
    for step in steps_of(old.folder.path):
        before = [loss for number, loss in seen if number <= step]
        found |= {step: _order(before[-1])} if before else {}
    return found


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
