"""FaultBench's runs as other tools log them, each format read by its own reader and judged as ever.

    python -m benchmarks.health_formats              tables of the tuning tasks
    python -m benchmarks.health_formats --held-out   of the others (--unseen, --fresh: of more)

Faults that such a log does not show are left out (`healthbench.written.is_visible`); nanoGPT's text
is held back from all tuning.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.facts import RESULTS, machine, table, write_json
from benchmarks.health import Look, Row, rate, row_of, summary
from benchmarks.healthbench.asked import add_part
from benchmarks.healthbench.store import load
from benchmarks.healthbench.written import FORMATS, HELD_BACK
from thalweg.record.foreign.log import Log

CASES = (*((name, row.every) for name, row in FORMATS.items() if name != HELD_BACK), ("hf", 50))

SHOWN = {
    "healthy_alarm": "false alarms",
    "healthy_act": "act",
    "recall": "recall",
    "cause_first": "cause first",
    "cause_named": "named",
    "spikes_recall": "spikes",
    "spikes_false": "false",
    "unknown": "unknown",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, read and diagnose the stored runs in each format; print a table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.health_formats")
    add_part(parser)
    parser.add_argument("--with", dest="more", choices=[HELD_BACK], help="a format held back, too")
    parser.add_argument("--tasks", nargs="+", default=())
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    asked = parser.parse_args(arguments)
    cases = (*CASES, (HELD_BACK, FORMATS[HELD_BACK].every)) if asked.more else CASES
    runs = load(asked.tasks, part=asked.part, only=("healthy", "fault"))
    with multiprocessing.Pool(asked.jobs) as pool:
        rows = list(pool.imap(partial(rows_of, cases=cases), runs, chunksize=8))
    if not rows:
        print("there are no runs yet: make faultbench-data", file=sys.stderr)
        return 1
    names = [f"{name}, every {every}" for name, every in cases]
    found = {name: figures(of) for name, of in zip(names, zip(*rows, strict=True), strict=True)}
    print(table(["format", *SHOWN.values()], [[name, *_cells(f)] for name, f in found.items()]))
    if asked.part != "tuning":
        facts = {"schema": 1, "machine": machine(threads=1), "part": asked.part, "formats": found}
        name = "health-formats" if asked.part == "held-out" else f"health-formats-{asked.part}"
        write_json(facts, RESULTS / f"{name}.json")
    return 0


def rows_of(each: tuple[dict[str, Any], Log], cases: Sequence[tuple[str, int]]) -> list[Row]:
    """What is said of one run in each format."""
    return [row_of(each, Look(format=name, every=every)) for name, every in cases]


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Those of all runs; and recall where the log does not say "unknown", or shows all faults."""
    report = summary(rows)
    faulty = [row for row in rows if not row.is_healthy]
    known = [row for row in faulty if row.is_visible and row.state != "unknown"]
    kept = (*SHOWN, "hard_healthy_alarm", "calibration", "false_codes", "faults_not_visible")
    return {
        **{name: report[name] for name in kept},
        "recall_of_all_faults": rate(sum(bool(row.findings) for row in faulty), len(faulty)),
        "recall_where_not_unknown": rate(sum(bool(row.findings) for row in known), len(known)),
    }


def _cells(found: dict[str, Any]) -> list[str]:
    return [f"{100 * (found[name]['share'] or 0):.1f}%" for name in SHOWN]


if __name__ == "__main__":
    sys.exit(main())
