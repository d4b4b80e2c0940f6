"""What tests of the bench's later parts share: small data, few steps, and what a plan holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.healthbench import kitchen, plan
from benchmarks.healthbench.parts import Data
from benchmarks.healthbench.plan import Run, runs


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
