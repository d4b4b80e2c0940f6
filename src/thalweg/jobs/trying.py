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
from thalweg.jobs.resume import with_own_schema
from thalweg.jobs.settings import Settings
from thalweg.jobs.standing import Stand, last_good, standing
from thalweg.jobs.study import Study, study_of
from thalweg.jobs.suggested import is_worth_keeping, suggestions
from thalweg.loop.descent import Descent
from thalweg.state.folder import find

SHARE, LEAST = 0.05, 50
"""Steps of a try: this share of those that the run made, and at least so many."""


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
    return {**said, **found, "tries": _tries(old, study, found["verdict"], steps, tell)}


def _tries(
    old: Old,
    study: Study,
    verdict: Mapping[str, Any],
    steps: int | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """What each suggested change does in so many steps, the best first."""
    since = min((each["since_step"] for each in verdict["findings"]), default=math.inf)
    count = steps or max(LEAST, round(SHARE * old.num_steps))
    codes = [each["code"] for each in verdict["findings"]]
    latest = old.num_steps - count + 1
    begin = last_good(old.folder.path, latest if is_worth_keeping(codes) else min(since, latest))
    rows = []
    for each in suggestions(codes, old.chosen):
        tell(f"trying {each.words}, {count:,} steps from step {begin or 0:,}")
        rows.append({"change": each.words, "settings": dict(each.settings)})
        rows[-1].update(_tried(Stand(old, study, begin, each.settings), count))
    control = rows[0].get("validation_loss")
    for row in rows:
        row["better_by"] = _gain(control, row.get("validation_loss"))
    rows.sort(key=lambda row: _order(row.get("validation_loss")))
    return {"from_step": begin or 0, "steps": count, "tries": rows}


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
