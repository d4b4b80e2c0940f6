"""FaultBench in three minutes: a part of one task's runs, made anew, and what is said of them.

    make faultbench-quick                   exit status 1 where a floor is not held

Digits come with scikit-learn, so nothing is fetched. The floors lie below what is measured, by as
much as a hundred runs leave to chance; what is reported comes of all runs (`benchmarks.health`).
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.health import Look, diagnosed, summary, text_of
from benchmarks.healthbench.make import make_all
from benchmarks.healthbench.plan import runs

TASK = "digits"

MOST_ALARMS, LEAST_RECALL, LEAST_FIRST = 0.05, 0.75, 0.60
"""Of healthy runs, of faulty ones, of these with the right cause first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs, diagnose them, hold the figures against the floors."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.health_quick", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="faultbench-") as folder:
        os.environ["THALWEG_DATA"] = folder
        chosen = runs([TASK])[: asked.runs]
        parts = [chosen[job :: asked.jobs] for job in range(asked.jobs)]
        with multiprocessing.Pool(asked.jobs) as pool:
            pool.map(make_all, parts, chunksize=1)
        report = summary(diagnosed([TASK], "tuning", Look(live=True), jobs=asked.jobs))
    print(text_of(report))
    broken = list(_broken(report))
    print("\n".join(broken) or "all floors are held", file=sys.stderr)
    return 1 if broken else 0


def _broken(report: dict[str, Any]) -> Sequence[str]:
    """A line for each floor that is not held."""
    alarms, recall, first = (
        report[name]["share"] or 0.0 for name in ("healthy_alarm", "recall", "cause_first")
    )
    floors = (
        (alarms <= MOST_ALARMS, f"{alarms:.1%} of healthy runs alarmed, at most {MOST_ALARMS:.0%}"),
        (recall >= LEAST_RECALL, f"{recall:.1%} of faults seen, at least {LEAST_RECALL:.0%}"),
        (first >= LEAST_FIRST, f"{first:.1%} named first, at least {LEAST_FIRST:.0%}"),
    )
    return [text for is_held, text in floors if not is_held]


if __name__ == "__main__":
    sys.exit(main())
