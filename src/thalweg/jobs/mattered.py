"""What mattered in a fit: columns, rows and groups, for its result and its report."""

from __future__ import annotations

from typing import Any

from thalweg.loop.descent import Descent
from thalweg.tasks.mattered.groups import errors_by
from thalweg.tasks.mattered.importance import importance_of
from thalweg.tasks.mattered.worst import worst_of
from thalweg.tasks.measure import Sights
from thalweg.tasks.study import Study

LONGEST, SHARE = 10.0, 0.5
"""Seconds that measuring columns may take, or this share of what the fit took, if that is more.

What is measured is counted in passes of rows; the clock only ends what is far slower than it should
be, such as a metric of the user's own.
"""


def mattered(
    study: Study, descent: Descent, sights: Sights, *, seed: int, is_whole: bool
) -> dict[str, Any]:
    """`importance`, `importance_how`, `worst`, `groups`; what was not measured is None.

    is_whole: were the rows that validate given in a file of their own?
    """
    task, progress = descent.task, descent.progress
    assert descent.ending is not None
    found = None
    if task.batch_loss is not None:  # of one sample, or of a model's outputs, nothing is known
        return dict.fromkeys(("importance", "importance_how", "worst", "groups"))
    if descent.ending.status != "interrupted":  # somebody waits for it to end
        longest = max(LONGEST, SHARE * progress.seconds)
        found = importance_of(study, task, seed=seed, samples=progress.samples, longest=longest)
    return {
        "importance": None if found is None else found.rows_of(),
        "importance_how": None if found is None else found.to_dict(),
        "worst": None
        if task.validation is None
        else worst_of(study, sights, "validation", is_whole=is_whole),
        "groups": errors_by(study, sights, "test"),
    }
