"""diagnose --try: the suggested changes, each tried for some steps from the last good checkpoint.

The run itself is read and never written to: what is tried lives in a folder that is removed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thalweg.errors import ThalwegError, UsageError
from thalweg.jobs.old import Old, old_of
from thalweg.jobs.place import opened
from thalweg.jobs.plan import plan_of
from thalweg.jobs.resume import change_of, with_own_schema
from thalweg.jobs.settings import Settings
from thalweg.jobs.study import Study, study_of
from thalweg.jobs.suggested import Changes, is_worth_keeping, suggestions
from thalweg.jobs.wish import Wish
from thalweg.loop.descent import Descent
from thalweg.loop.going import Change
from thalweg.state.folder import find

SHARE, LEAST = 0.05, 50
"""Steps of a try: this share of those that the run made, and at least so many."""


def try_changes(
    run: str, said: Mapping[str, Any], *, out: str, steps: int | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Try what the findings of a run of ours suggest; the object that ranks them.

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
    folder = find(run, out)
    old = old_of(folder, {})
    data = old.check_data(None)
    since = min((each["since_step"] for each in said["verdict"]["findings"]), default=math.inf)
    count = steps or max(LEAST, round(SHARE * old.num_steps))
    codes = [each["code"] for each in said["verdict"]["findings"]]
    latest = old.num_steps - count + 1
    begin = last_good(folder.path, latest if is_worth_keeping(codes) else min(since, latest))
    study = study_of(data, with_own_schema(old, Settings.of(old.chosen)), lambda text: None)
    rows = []
    for each in suggestions(codes, old.chosen):
        tell(f"trying {each.words}, {count:,} steps from step {begin or 0:,}")
        rows.append({"change": each.words, "settings": dict(each.settings)})
        rows[-1].update(_tried(Try(old, study, each.settings, begin, count)))
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


def last_good(path: Path, before: float) -> int | None:
    """The newest checkpoint from before a step; None: none, a try begins at the start."""
    return max((step for step in _steps_of(path) if step < before), default=None)


def _steps_of(path: Path) -> Iterator[int]:
    for folder in (path / "checkpoints").glob("step-*"):
        yield int(folder.name.removeprefix("step-"))


@dataclass(frozen=True, slots=True)
class Try:
    """settings: what is changed; begin: the checkpoint, None: from the start; count: steps"""

    old: Old
    study: Study
    settings: Changes
    begin: int | None
    count: int


def _tried(each: Try) -> dict[str, Any]:
    """Validation loss after so many steps with these settings changed, or why there is none."""
    try:
        with tempfile.TemporaryDirectory(prefix="thalweg-try-") as folder:
            return _descended(each, folder)
    except ThalwegError as error:
        return {"error": str(error)}


def _descended(each: Try, folder: str) -> dict[str, Any]:
    old, begin = each.old, each.begin
    chosen = Settings.of({**old.chosen, **each.settings})
    change: Change | None = None
    if begin is not None:
        wish = Wish(from_step=begin, settings=each.settings)
        chosen, change = change_of(old, wish, chosen, len(each.study.train))
    plan = plan_of(each.study, replace(chosen, guard="advise"), owns_process=False)
    origin = {} if begin is None else {"parent": {"run": str(old.folder.path), "step": begin}}
    with plan.machine.applied(), opened(folder, "try", "try", origin) as place:
        return _stepped(plan.descend(place, change=change), each.count)


def _stepped(descent: Descent, count: int) -> dict[str, Any]:
    taken = 0
    with descent:
        for _ in descent:
            taken += 1
            if taken >= count:
                break
        values = descent.evaluate().values
    return {"steps": taken, "validation_loss": float(values["loss"]), "values": dict(values)}
