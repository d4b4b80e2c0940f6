"""Faults planted in otherwise healthy runs: what thalweg, its peers and a plain loop make of them.

    make faults                                     all of it: two hours
    python -m benchmarks.faults --tasks digits --seeds 1
    python -m benchmarks.faults --quick             one task, thalweg alone, a minute

Every run is a process of its own, one after the other; each is set beside the run of the same
contender and seed without the fault.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.data import DataError
from benchmarks.facts import RESULTS, machine, table, write_json
from benchmarks.faultbench.attempts import Outcome, run
from benchmarks.faultbench.contenders import CONTENDERS, OURS, contender
from benchmarks.faultbench.faults import FAULTS, Fault, Plan
from benchmarks.faultbench.job import Job
from benchmarks.faultbench.tasks import TASKS, task
from benchmarks.faultbench.verdicts import Verdict, Where, as_json, cell, judged, spread_of
from benchmarks.fit import names_of

HEALTHY_SEEDS = 4
"""Runs of a task without a fault in which the guard must do nothing."""

QUICK_STEPS = 240
QUICK_FAULTS = ("NaN sample", "gradient x 1000", "killed", "torn checkpoint", "clock jump")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench, print the table, write the JSON."""
    asked = parse(arguments)
    torch.set_num_threads(1)
    facts = machine(threads=1)
    contenders = installed(asked.contenders)
    start = time.perf_counter()
    try:
        for name in asked.tasks:
            task(name)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1

    bench = Bench(Plan(asked.steps))
    faults = [FAULTS[name] for name in asked.faults]
    verdicts = [
        verdict
        for name in asked.tasks
        for verdict in bench.verdicts(name, faults, contenders, asked.seeds)
    ]
    actions = bench.healthy(asked.tasks, asked.healthy) if OURS in contenders else []

    print(shown(verdicts, contenders))
    print(summary(actions))
    report = {
        "schema": 1,
        "machine": facts,
        "settings": {"num_steps": asked.steps, "seeds": asked.seeds},
        "seconds": round(time.perf_counter() - start),
        "healthy": actions,
        "rows": [as_json(verdict) for verdict in verdicts],
    }
    if asked.to is not None:
        write_json(report, asked.to)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; tasks, faults and contenders are lists of known names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description="Planted faults: who ends where the run without the fault ends?",
    )
    parser.add_argument("--tasks", type=names_of(TASKS), default=list(TASKS))
    parser.add_argument("--faults", type=names_of(FAULTS), default=list(FAULTS))
    parser.add_argument("--contenders", type=names_of(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default 3)")
    parser.add_argument("--healthy", type=int, default=HEALTHY_SEEDS, help="healthy runs a task")
    parser.add_argument("--steps", type=int, default=Plan().num_steps, help="of a run")
    parser.add_argument("--to", type=Path, default=RESULTS / "faults.json", metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="one task, thalweg alone, no file")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.tasks, asked.faults, asked.contenders = ["digits"], list(QUICK_FAULTS), [OURS]
        asked.seeds, asked.healthy, asked.steps, asked.to = 1, 1, QUICK_STEPS, None
    return asked


def installed(names: Sequence[str]) -> list[str]:
    """The contenders whose packages are here; the others are named and left out.

    They are imported once, here: the forked runs find them in memory.
    """
    found = []
    for name in names:
        try:
            contender(name)
        except ImportError as missing:
            print(f"without {name}: {missing}", file=sys.stderr)
        else:
            found.append(name)
    return found


class Bench:
    """Makes the runs; those without a fault are made once and kept."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._clean: dict[tuple[Where, str], Outcome] = {}

    def verdicts(
        self, name: str, faults: Sequence[Fault], contenders: Sequence[str], num_seeds: int
    ) -> Iterator[Verdict]:
        """All faults and contenders on one task."""
        for fault in faults:
            for who in contenders:
                clean = [self.clean(name, fault, who, seed) for seed in range(num_seeds)]
                spread = spread_of(outcome.loss for outcome in clean)
                for seed in range(num_seeds):
                    verdict = self._verdict(Where(name, who, seed), fault, clean[seed], spread)
                    progress(verdict)
                    yield verdict

    def _verdict(self, where: Where, fault: Fault, clean: Outcome, spread: float) -> Verdict:
        """One run with the fault; where the one without it failed there is nothing to run."""
        outcomes = [clean] if clean.error else self._run(where, fault)
        return judged(where, fault, outcomes, clean=clean, spread=spread)

    def clean(self, name: str, fault: Fault, who: str, seed: int) -> Outcome:
        """The run without this fault."""
        where = Where(name, who, seed)
        key = (where, fault.healthy.name)
        if key not in self._clean:
            self._clean[key] = self._run(where, fault.healthy)[0]
        return self._clean[key]

    def healthy(self, names: Sequence[str], num_seeds: int) -> list[dict[str, Any]]:
        """What the guard did in runs without a fault: a row each, `said` must be empty."""
        some = next(iter(FAULTS.values()))
        rows = []
        for name in names:
            for seed in range(num_seeds):
                outcome = self.clean(name, some, OURS, seed)
                said = [*outcome.said, *([outcome.error] if outcome.error else [])]
                rows.append({"task": name, "seed": seed, "loss": outcome.loss, "said": said})
        return rows

    def _run(self, where: Where, fault: Fault) -> list[Outcome]:
        with tempfile.TemporaryDirectory(prefix="thalweg-faults-") as folder:
            job = Job(task(where.task), where.seed, self.plan, fault, Path(folder) / "run")
            return run(contender(where.contender), job)


def progress(verdict: Verdict) -> None:
    """A line on stderr."""
    excess = "" if verdict.excess is None else f" {verdict.excess:+.2%}"
    detail = f" ({verdict.detail})" if verdict.detail else ""
    where = verdict.where
    print(
        f"{where.task}, {verdict.fault}, {where.contender}, seed {where.seed}: "
        f"{verdict.kind}{excess}{detail}, {verdict.seconds:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def shown(verdicts: Sequence[Verdict], contenders: Sequence[str]) -> str:
    """Faults by contenders, the verdicts of all tasks and seeds counted in each cell."""
    names = list(dict.fromkeys(verdict.fault for verdict in verdicts))
    cells = {
        (name, who): cell([v for v in verdicts if v.fault == name and v.where.contender == who])
        for name in names
        for who in contenders
    }
    rows = [[name, *(cells[name, who] for who in contenders)] for name in names]
    return table(["fault", *contenders], rows)


def summary(actions: Sequence[dict[str, Any]]) -> str:
    """One line on the healthy runs."""
    loud = [row for row in actions if row["said"]]
    return f"healthy runs in which the guard or anything else spoke: {len(loud)} of {len(actions)}"


if __name__ == "__main__":
    sys.exit(main())
