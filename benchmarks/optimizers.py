"""What a step of an optimizer costs, beside torch's and other libraries'.

    python -m benchmarks.optimizers

One process (row 7 starts others); ratios of our time to the quickest peer's, contenders in turns,
medians over the rounds, samples that other processes disturbed dropped. Results are compared with
torch's before anything is timed.
"""

import argparse
import gc
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

from benchmarks.facts import RESULTS, machine, num_cores, warn_if_busy, write_json
from benchmarks.steps import families, first, half, large, many, small
from benchmarks.steps.clock import Plan
from benchmarks.steps.report import Row, Setting, shown

ROWS: dict[int, Callable[[Setting], Iterator[Row]]] = {
    1: large.plain,
    2: large.with_clip,
    3: many.rows,
    4: families.rows,
    5: half.rows,
    6: small.rows,
    7: first.rows,
    8: large.with_clip,
}
"""What measures each row; 2 and 8 come out of one measurement."""

QUICK = Plan(rounds=3, sample=0.02, patience=0.0, budget=3.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON."""
    asked = parse(arguments)
    warn_if_busy()
    warnings.filterwarnings("ignore", module="torch")  # of peers; none concerns a timing
    plan = QUICK if asked.quick else Plan(rounds=asked.rounds, budget=asked.budget)
    setting = Setting(asked.threads, plan, asked.quick, asked.compile)
    facts = machine(threads=max(asked.threads))

    rows, errors = collected(asked.rows, setting)
    print(shown(rows))
    if any(row.is_disturbed for row in rows):
        print("?: too few undisturbed samples; run it on a quieter machine")
    if asked.to is not None:
        settings = {
            "threads": asked.threads,
            "rounds": plan.rounds,
            "seconds_a_sample": plan.sample,
            "most_foreign": plan.most_foreign,
            "quick": asked.quick,
        }
        report = {
            "schema": 1,
            "date": date.today().isoformat(),
            "machine": facts,
            "settings": settings,
            "rows": [row.as_json() for row in rows],
        }
        write_json(report, asked.to)
    return 1 if errors else 0


def collected(numbers: Sequence[int], setting: Setting) -> tuple[list[Row], list[Exception]]:
    """The rows with these numbers, in order; one that fails is named and costs no other."""
    rows: list[Row] = []
    errors: list[Exception] = []
    for measure in dict.fromkeys(ROWS[number] for number in numbers):
        try:
            for row in measure(setting):
                print(f"{row.number} {row.what}: {row.value} {row.unit}", file=sys.stderr)
                rows.append(row)
        except Exception as error:
            traceback.print_exc()
            errors.append(error)
        gc.collect()  # one set of large tensors at a time
    asked = [row for row in rows if row.number in numbers]
    return sorted(asked, key=lambda row: row.number), errors


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.optimizers",
        description="What a step of an optimizer costs, beside torch's and other libraries'.",
    )
    parser.add_argument("--rows", type=_numbers, default=list(ROWS), help="such as 1,2")
    parser.add_argument("--threads", type=_numbers, help="such as 1,2; as it comes 1 and all cores")
    parser.add_argument("--rounds", type=int, default=9, help="undisturbed samples of each")
    parser.add_argument("--budget", type=float, default=120.0, help="most seconds a comparison")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing is written")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="peers that compile, too, which takes a minute each; as it comes unless --quick",
    )
    parser.add_argument("--to", type=Path, metavar="FILE")
    asked = parser.parse_args(arguments)
    unknown = [number for number in asked.rows if number not in ROWS]
    if unknown:
        parser.error(f"there is no row {unknown[0]}: there are {', '.join(map(str, ROWS))}")
    if asked.threads is None:
        asked.threads = sorted({1, num_cores()})
    if asked.compile is None:
        asked.compile = not asked.quick
    if asked.to is None and not asked.quick:
        asked.to = RESULTS / "optimizers.json"
    return asked


def _numbers(text: str) -> list[int]:
    """Numbers out of "1,2"; ValueError, which argparse reports, for anything else."""
    return [int(item) for item in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
