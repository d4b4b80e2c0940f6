"""What tests of the bench's later parts share: small data, few steps, and what a plan holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.healthbench import kitchen, plan, store
from benchmarks.healthbench.loop import train
from benchmarks.healthbench.outcome import outcome
from benchmarks.healthbench.parts import Data
from benchmarks.healthbench.plan import Run, built, runs
from benchmarks.healthbench.planted import Planted


def shorten(
    monkeypatch: Any, folder: Path, tasks: Sequence[str], made_up: Callable[[str], Data]
) -> None:
    """Data that need no package, runs of a few steps, a folder of the test's own."""
    monkeypatch.setenv("THALWEG_DATA", str(folder))
    monkeypatch.setattr(plan, "data_of", made_up)
    for name in tasks:
        rows = {key: replace(row, steps=60) for key, row in kitchen.RECIPES[name].items()}
        monkeypatch.setitem(kitchen.RECIPES, name, rows)


def planned(tasks: Sequence[str]) -> tuple[list[Run], Counter[str]]:
    """All runs of these tasks, each name once; and how many are usual, hard and faulty."""
    everything = runs(tasks)
    assert len({run.name for run in everything}) == len(everything)
    return everything, Counter(
        "usual" if run.row is None else "fault" if run.row.is_fault else "hard"
        for run in everything
    )


def begins(row: Planted, tasks: Sequence[str]) -> None:
    """It can be planted in these tasks: the first and the last run that have it take a few steps,
    and a log's settings do not give it away.
    """
    able = [run for task in tasks for run in plan._of_row(task, row, 0)]
    assert able
    for run in (able[0], able[-1]):
        made, meta = built(run)
        made.end = min(made.end, 3)
        assert row.name not in str(store.settings_of(meta | {"columns": {}}))
        columns = train(made)
        made.notes.pop("spike_steps", None)
        assert outcome(columns, made.notes, made.data.floor)["final_loss"] is not None
