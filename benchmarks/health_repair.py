"""Repairs: what guard and findings make of faulty runs while they go, and of healthy ones.

    python -m benchmarks.health_repair                  tuning tasks, a quarter of an hour
    python -m benchmarks.health_repair --held-out       the others: what was reported first
    python -m benchmarks.health_repair --unseen         eleven that nothing was looked at on
    python -m benchmarks.health_repair --fresh          eight more
    python -m benchmarks.health_repair --each 1 --healthy 10

A run is repaired where its honest validation loss at the end is within 5% of that of its twin
without the fault, at 1.5 times the planned steps at most, those of tries included; a step of a
larger batch than the twin's counts as so many more. `repaired_best`: the same of the best weights
on the way, of both. Faults that no guard and no setting can undo (labels, leaks, code) are not
among them.
"""

import argparse
import sys
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.facts import RESULTS, machine, table, write_json
from benchmarks.health import rate
from benchmarks.healthbench import store
from benchmarks.healthbench.asked import add_part
from benchmarks.healthbench.plan import Run
from benchmarks.healthbench.recipes import TASKS
from benchmarks.healthbench.repair import MOST, Repaired, repaired
from benchmarks.healthbench.sets import data_of

REPAIRABLE = (
    *("bad-sample", "zero-by-zero", "log-of-zero", "masked", "spikes", "exploding-growth"),
    *("rate-high", "rate-huge", "rate-kick", "rate-low", "noise-plateau", "rate-dropped"),
    *("decayed-early", "stepped-by-epoch", "stepped-by-step", "restarted", "strong-decay"),
    *("tiny-batch", "dead-biases", "saturated"),
    *("constant-batch", "other-unit", "finder-left", "endless-warmup", "impatient", "returning"),
    *("clipped-values", "penalised", "old-weights"),
)
"""Faults that skipping, going back or another setting can undo."""

NEAR = 1.05
"""A loss within so many times that without the fault is as good."""


@dataclass(frozen=True)
class Case:
    """A stored run, and the honest losses that it is held against: at the end, and the best one."""

    meta: dict[str, Any]
    goal: float
    best: float = float("nan")

    @property
    def run(self) -> Run:
        names = {each.name for each in fields(Run)}
        return Run(**{name: value for name, value in self.meta["run"].items() if name in names})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.health_repair", description=__doc__)
    add_part(parser)
    parser.add_argument("--each", type=int, default=2, help="runs of each fault and strength")
    parser.add_argument("--healthy", type=int, default=100, help="healthy runs")
    parser.add_argument("--to", type=Path, default=None)
    asked = parser.parse_args(arguments)
    faulty, healthy = cases(asked.part, asked.each, asked.healthy)
    if not faulty:
        print("there are no runs yet: make faultbench-data", file=sys.stderr)
        return 1
    rows = [row_of(case) for case in faulty]
    fine = [row_of(case) for case in healthy]
    report = summary(rows, fine)
    print(text_of(report))
    name = "health-repair.json" if asked.part == "tuning" else f"health-repair-{asked.part}.json"
    facts = {"schema": 1, "machine": machine(threads=1), **report, "runs": [*rows, *fine]}
    write_json(facts, asked.to or RESULTS / name)
    return 0


def cases(part: str, each: int, num_healthy: int) -> tuple[list[Case], list[Case]]:
    """So many runs of each fault and strength, over all tasks of a part; and healthy ones."""
    by_fault: dict[tuple[str, str], list[Case]] = defaultdict(list)
    healthy: list[Case] = []
    for task in (name for name, row in TASKS.items() if row.part == part):
        metas = {meta["name"]: meta for meta in store.metas(task)}
        for meta in metas.values():
            if meta["status"] == "healthy":
                healthy.append(_case(meta, meta))
            elif meta["status"] == "fault" and meta["fault"] in REPAIRABLE:
                twin = metas.get(Case(meta, 0.0).run.twin.name)
                if twin is not None and twin["status"] == "healthy":
                    by_fault[meta["fault"], meta["run"]["strength"]].append(_case(meta, twin))
    chosen = [case for part in by_fault.values() for case in sorted(part, key=_drawn)[:each]]
    return chosen, sorted(healthy, key=_drawn)[:num_healthy]


def _case(meta: dict[str, Any], twin: dict[str, Any]) -> Case:
    goal = twin["outcome"]["honest_loss"]
    return Case(meta, goal, min(goal, twin["outcome"]["least_loss"]))


def _drawn(case: Case) -> int:
    """By chance, and the same each time."""
    return zlib.crc32(case.meta["name"].encode())


def row_of(case: Case) -> dict[str, Any]:
    """What became of a run; losses are those above the floor of the task's."""
    found: Repaired = repaired(case.run)
    floor = data_of(case.run.task).floor
    honest, best = found.honest - floor, found.best - floor
    planned = case.meta["recipe"]["steps"]
    is_cheap = found.steps <= MOST * planned + 1
    print(".", end="", file=sys.stderr, flush=True)
    return {
        "name": case.meta["name"],
        "fault": case.meta["fault"],
        "strength": case.meta["run"]["strength"],
        "goal": case.goal,
        "before": case.meta["outcome"]["honest_loss"],
        "after": honest,
        "compute": round(found.steps / planned, 3),
        "best_goal": case.best,
        "best": best,
        "is_best_near": is_cheap and bool(best <= NEAR * case.best),
        "is_near": is_cheap and bool(honest <= NEAR * case.goal),
        "did": found.did,
        "guarded": found.guarded,
    }


def summary(faulty: Sequence[dict[str, Any]], healthy: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures, and each fault's."""
    acted = [row for row in healthy if row["did"] or row["guarded"]]
    worse = [row for row in acted if not row["is_near"]]
    names = sorted({(row["fault"], row["strength"]) for row in faulty})
    return {
        "repaired": rate(sum(row["is_near"] for row in faulty), len(faulty)),
        "repaired_best": rate(sum(row["is_best_near"] for row in faulty), len(faulty)),
        "healthy_acted_on": rate(len(acted), len(healthy)),
        "healthy_made_worse": rate(len(worse), len(healthy)),
        "faults": [
            {
                "fault": fault,
                "strength": strength,
                "runs": sum((r["fault"], r["strength"]) == (fault, strength) for r in faulty),
                "repaired": sum(
                    r["is_near"] for r in faulty if (r["fault"], r["strength"]) == (fault, strength)
                ),
                "repaired_best": sum(
                    r["is_best_near"]
                    for r in faulty
                    if (r["fault"], r["strength"]) == (fault, strength)
                ),
            }
            for fault, strength in names
        ],
    }


def text_of(report: dict[str, Any]) -> str:
    """Tables."""
    figures = [
        [name, f"{row['count']}/{row['of']}", f"{100 * (row['share'] or 0):.1f}%"]
        for name, row in report.items()
        if isinstance(row, dict)
    ]
    faults = [[str(value) for value in row.values()] for row in report["faults"]]
    head = ["fault", "strength", "runs", "repaired", "best"]
    return f"{table(['figure', 'count', 'share'], figures)}\n\n{table(head, faults)}"


if __name__ == "__main__":
    sys.exit(main())
