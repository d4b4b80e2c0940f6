"""Makes runs and stores them; a run that is there is not made again."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import torch

from benchmarks.healthbench import store
from benchmarks.healthbench.loop import train
from benchmarks.healthbench.outcome import outcome
from benchmarks.healthbench.plan import Run, built


def make(run: Run) -> None:
    """Build, train and store one run."""
    program, meta = built(run)
    columns = train(program)
    store.save(meta | {"outcome": outcome(columns, program.notes, program.data.floor)}, columns)


def make_all(runs: Sequence[Run], *, show: bool = True) -> int:
    """Those that are missing, one after the other; how many were made."""
    torch.set_num_threads(1)
    missing = [run for run in runs if not store.path_of(run.task, run.name).exists()]
    started = time.perf_counter()
    for num, run in enumerate(missing, 1):
        make(run)
        passed = time.perf_counter() - started
        if show and (num % 25 == 0 or num == len(missing)):
            rest = passed / num * (len(missing) - num) / 60
            line = f"{num} of {len(missing)} runs, {passed / num:.2f} s each, {rest:.0f} min left"
            print(f"{line}: {run.name}", file=sys.stderr, flush=True)
    return len(missing)
