"""Makes the runs of healthbench, once: `python -m benchmarks.health_data`, or make faultbench-data.

    python -m benchmarks.health_data --tasks digits,letter --limit 100
    python -m benchmarks.health_data --only label-noise
    python -m benchmarks.health_data --count                what is there, by task and by fault
    python -m benchmarks.health_data --unseen --jobs 2      the tasks that nothing was looked at on
    python -m benchmarks.health_data --fresh --jobs 2       eight more, of other networks and losses
    python -m benchmarks.health_data --third --jobs 2       five more, ordinary ones

About 2,600 runs of 300 to 1,000 steps on ten small tasks with real data: an hour or so on a quiet
core. They lie in `$THALWEG_DATA` (else ~/.cache/thalweg-data) in the folder `faultbench`; what is
there is not made again, and a call that was stopped is taken up by the next one. Those of the
eleven unseen tasks lie in `faultbench-unseen`, of the eight fresh ones in `faultbench-fresh`, of
the third part's five in `faultbench-third`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial

from benchmarks.data import DataError
from benchmarks.facts import table
from benchmarks.fit import names_of
from benchmarks.healthbench import store
from benchmarks.healthbench.asked import add_part
from benchmarks.healthbench.make import make_all
from benchmarks.healthbench.plan import USUAL, runs
from benchmarks.healthbench.planted import PLANTED
from benchmarks.healthbench.recipes import TASKS
from benchmarks.healthbench.sets import data_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing, or count what is there."""
    asked = parse(arguments)
    if asked.count:
        print(counted(asked.tasks))
        return 0
    try:
        for name in asked.tasks:
            data_of(name)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1

    chosen = runs(asked.tasks, asked.only)[: asked.limit]
    if asked.jobs == 1:
        make_all(chosen)
    else:
        parts = [chosen[job :: asked.jobs] for job in range(asked.jobs)]
        with multiprocessing.Pool(asked.jobs) as pool:
            pool.map(partial(make_all, show=True), parts, chunksize=1)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.health_data",
        description="Healthy and faulty runs for the detectors of thalweg diagnose.",
    )
    planted = [USUAL, *PLANTED]
    parser.add_argument("--tasks", type=names_of(TASKS), help="default: all ten")
    add_part(parser, default=None)
    parser.add_argument("--only", choices=planted, metavar="FAULT", help=", ".join(planted))
    parser.add_argument("--limit", type=int, metavar="N", help="the first N runs of the plan")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--count", action="store_true", help="count what is there, make nothing")
    asked = parser.parse_args(arguments)
    parts = (asked.part,) if asked.part else ("tuning", "held-out")
    asked.tasks = asked.tasks or [name for name, task in TASKS.items() if task.part in parts]
    return asked


def counted(tasks: Sequence[str]) -> str:
    """Runs by task and by what was planted: there, and of these the ones that count."""
    metas = [meta for task in tasks for meta in store.metas(task)]
    by_task = Counter((meta["run"]["task"], _kind(meta), meta["status"]) for meta in metas)
    rows = [
        [
            task,
            *(
                f"{by_task[task, kind, counts]} of {_total(by_task, task, kind)}"
                for kind, counts in (("usual", "healthy"), ("hard", "healthy"), ("fault", "fault"))
            ),
        ]
        for task in tasks
    ]
    names = dict.fromkeys(meta["run"]["planted"] for meta in metas)
    there = Counter(meta["run"]["planted"] for meta in metas)
    good = Counter(m["run"]["planted"] for m in metas if m["status"] in ("healthy", "fault"))
    lines = [[name, str(good[name]), str(there[name])] for name in names]
    first = table(["task", "healthy", "hard, healthy", "faults with effect"], rows)
    return f"{first}\n\n{table(['planted', 'count', 'there'], lines)}"


def _kind(meta: dict) -> str:
    return "fault" if meta["fault"] else "hard" if meta["hard"] else "usual"


def _total(by_task: Counter, task: str, kind: str) -> int:
    return sum(num for (name, which, _), num in by_task.items() if (name, which) == (task, kind))


if __name__ == "__main__":
    sys.exit(main())
