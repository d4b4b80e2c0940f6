"""Faults planted in otherwise healthy runs: what thalweg, its peers and a plain loop make of them.

    make faults                                     all of it: two hours
    python -m benchmarks.faults --tasks digits --seeds 1
    python -m benchmarks.faults --tasks letter --seeds 1 --add    more, into the same file
    python -m benchmarks.faults --held-out          tasks that the guard was not tuned on
    python -m benchmarks.faults --quick             one task, thalweg alone, a minute

Every run is a process of its own, one after the other; each is set beside the run of the same
contender and seed without the fault. The file is written after every run with a fault.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.data import DataError
from benchmarks.facts import RESULTS, machine, table
from benchmarks.faultbench.attempts import Outcome, run
from benchmarks.faultbench.contenders import CONTENDERS, OURS, contender
from benchmarks.faultbench.faults import FAULTS, Fault, Plan
from benchmarks.faultbench.job import Job
from benchmarks.faultbench.report import SEEDS, Clean, Report
from benchmarks.faultbench.tasks import HELD_OUT, TASKS, task
from benchmarks.faultbench.verdicts import Verdict, Where, cell, judged, spread_of
from benchmarks.fit import names_of

HEALTHY_SEEDS = 4
"""Runs of a task without a fault: in those of thalweg the guard must do nothing."""

HELD_OUT_CONTENDERS = (OURS, "thalweg.Guard", "thalweg unguarded")
HELD_OUT_FAULTS = tuple(name for name, fault in FAULTS.items() if not fault.is_exact)

QUICK_STEPS = 240
QUICK_FAULTS = ("NaN sample", "gradient x 1000", "killed", "torn checkpoint", "clock jump")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench, print the table, write the JSON."""
    asked = parse(arguments)
    torch.set_num_threads(1)
    facts = machine(threads=1)
    contenders = installed(asked.contenders)
    report = Report(asked.steps, facts, asked.to)
    try:
        if asked.add and asked.to.exists():
            report.take(asked.to)
        for name in asked.tasks:
            task(name)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1

    bench = Bench(Plan(asked.steps), report)
    faults = [FAULTS[name] for name in asked.faults]
    for name in asked.tasks:
        for verdict in bench.verdicts(name, faults, contenders, asked.seeds):
            progress(verdict)
            report.add(verdict)
        bench.healthy(name, contenders, asked.healthy)
    report.write()

    print(shown(report.verdicts))
    print(summary(report.clean_of(OURS)))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; tasks, faults and contenders are lists of known names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description="Planted faults: who ends where the run without the fault ends?",
    )
    parser.add_argument("--tasks", type=names_of(TASKS | HELD_OUT), help="default: the six")
    parser.add_argument("--faults", type=names_of(FAULTS), help="default: all")
    parser.add_argument("--contenders", type=names_of(CONTENDERS), help="default: all")
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help=f"seeds 0, 1, ... (default {SEEDS})"
    )
    parser.add_argument("--healthy", type=int, default=HEALTHY_SEEDS, help="healthy runs a task")
    parser.add_argument("--steps", type=int, default=Plan().num_steps, help="of a run")
    parser.add_argument("--to", type=Path, metavar="FILE", help="default: results/faults.json")
    parser.add_argument("--add", action="store_true", help="keep what else stands in FILE")
    parser.add_argument("--quick", action="store_true", help="one task, thalweg alone, no file")
    held_out = "tasks, networks, optimizers and times that the guard was not tuned on"
    parser.add_argument("--held-out", action="store_true", help=held_out)
    asked = parser.parse_args(arguments)
    if asked.held_out:
        asked.tasks = asked.tasks or list(HELD_OUT)
        asked.faults = asked.faults or list(HELD_OUT_FAULTS)
        asked.contenders = asked.contenders or list(HELD_OUT_CONTENDERS)
        asked.to = asked.to or RESULTS / "faults-held-out.json"
    asked.tasks = asked.tasks or list(TASKS)
    asked.faults = asked.faults or list(FAULTS)
    asked.contenders = asked.contenders or list(CONTENDERS)
    asked.to = asked.to or RESULTS / "faults.json"
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
    """Makes the runs; those without a fault are made once, and stand in the report."""

    def __init__(self, plan: Plan, report: Report):
        self.plan = plan
        self._report = report
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
                    yield self._verdict(Where(name, who, seed), fault, clean[seed], spread)

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
            self._report.add_clean(*key, self._clean[key])
        return self._clean[key]

    def healthy(self, name: str, contenders: Sequence[str], num_seeds: int) -> None:
        """More runs without a fault: how far their losses lie apart, and that nothing is said."""
        some = next(iter(FAULTS.values()))
        for who in contenders:
            for seed in range(num_seeds):
                self.clean(name, some, who, seed)

    def _run(self, where: Where, fault: Fault) -> list[Outcome]:
        with tempfile.TemporaryDirectory(prefix="thalweg-faults-") as folder:
            plan = replace(self.plan, share=task(where.task).share)
            job = Job(task(where.task), where.seed, plan, fault, Path(folder) / "run")
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


def shown(verdicts: Sequence[Verdict]) -> str:
    """Faults by contenders, the verdicts of all tasks and seeds counted in each cell."""
    names = list(dict.fromkeys(verdict.fault for verdict in verdicts))
    those = {verdict.where.contender for verdict in verdicts}
    contenders = [who for who in CONTENDERS if who in those]
    cells = {
        (name, who): cell([v for v in verdicts if v.fault == name and v.where.contender == who])
        for name in names
        for who in contenders
    }
    rows = [[name, *(cells[name, who] for who in contenders)] for name in names]
    return table(["fault", *contenders], rows)


def summary(runs: Sequence[Clean]) -> str:
    """One line on thalweg's runs without a fault."""
    loud = [run for run in runs if run.said]
    return f"healthy runs in which the guard or anything else spoke: {len(loud)} of {len(runs)}"


if __name__ == "__main__":
    sys.exit(main())
