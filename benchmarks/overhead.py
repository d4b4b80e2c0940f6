"""CPU microseconds that a training loop adds to a step of a hand-written torch loop.

    python -m benchmarks.overhead

One process and one thread; all loops after each other in every round, in an order that rotates.
CPU time of all threads (`time.process_time`), so a writer in the background counts.
"""

import argparse
import gc
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.facts import RESULTS, machine, table, warn_if_busy, write_json
from benchmarks.loops import BASELINE, LOOPS, loop
from benchmarks.loops.work import Work

# Networks: one as people train, and one so small that hardly anything but overhead is left.
NETWORKS = {"64-256-256-10": (64, 256, 256, 10), "8-8-2": (8, 8, 2)}
BATCH_SIZE = 32

# Seconds of the timed steps, one item a round, by network and loop.
Times = dict[tuple[str, str], list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, print the table, write the JSON."""
    asked = parse(arguments)
    torch.set_num_threads(1)
    warn_if_busy()
    facts = machine(threads=1)
    names = [name for name in installed() if name == BASELINE or name in (asked.loops or LOOPS)]

    times: Times = {}
    for network, widths in NETWORKS.items():
        work = Work(widths, BATCH_SIZE, skip=asked.warmup, count=asked.steps)
        times |= {
            (network, name): seconds
            for name, seconds in measured(work, names, rounds=asked.rounds).items()
        }

    rows = [row(network, name, times, asked.steps) for network, name in times]
    print(shown(rows))
    settings = {"batch_size": BATCH_SIZE, **vars(asked)}
    settings.pop("to")
    report = {"schema": 1, "machine": facts, "settings": settings, "rows": rows}
    write_json(report, asked.to)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead",
        description="CPU microseconds that a training loop adds to a step of a plain torch loop.",
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=500, help="timed steps a round")
    parser.add_argument("--warmup", type=int, default=50, help="steps before them")
    parser.add_argument("--loops", nargs="*", choices=list(LOOPS), help="only these and the bare")
    parser.add_argument("--to", type=Path, default=RESULTS / "overhead.json", metavar="FILE")
    return parser.parse_args(arguments)


def installed() -> list[str]:
    """The loops whose packages are here; the others are named and left out."""
    found = []
    for name in LOOPS:
        try:
            loop(name)
        except ImportError as missing:
            print(f"without {name}: {missing}", file=sys.stderr)
        else:
            found.append(name)
    return found


def measured(work: Work, names: Sequence[str], *, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each loop in each round, after one round that is thrown away."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        shift = number % len(names)
        for name in [*names[shift:], *names[:shift]]:
            gc.collect()
            taken = loop(name)(work)
            if number >= 0:
                seconds[name].append(taken)
    return seconds


def row(network: str, name: str, times: Times, steps: int) -> dict[str, Any]:
    """Microseconds a step: medians over the rounds; overhead is taken round by round."""
    taken = times[network, name]
    over = [mine - bare for mine, bare in zip(taken, times[network, BASELINE], strict=True)]
    lower, _, upper = statistics.quantiles(over, n=4)
    return {
        "network": network,
        "loop": name,
        "step_us": round(1e6 * statistics.median(taken) / steps, 1),
        "overhead_us": round(1e6 * statistics.median(over) / steps, 1),
        "overhead_quartiles_us": [round(1e6 * bound / steps, 1) for bound in (lower, upper)],
    }


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a plain table."""
    return table(
        ["network", "loop", "us a step", "over the bare loop", "middle half"],
        [
            [
                row["network"],
                row["loop"],
                f"{row['step_us']:.1f}",
                f"{row['overhead_us']:+.1f}",
                "{:+.1f} to {:+.1f}".format(*row["overhead_quartiles_us"]),
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
