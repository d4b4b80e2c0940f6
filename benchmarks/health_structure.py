"""Structural faults and sound programs: what `thalweg.monitor` says within two steps of each.

    python -m benchmarks.health_structure
    python -m benchmarks.health_structure --files unseen_faulty unseen_sound --to other.json

The programs (`benchmarks/healthbench/structures/`) were written apart from the checks, and no
reference run is looked at. Those of the `unseen_*`, `fresh_*`, `late_*`, `fifth_*` and `sixth_*`
files are run only where they are asked for.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import thalweg
from benchmarks.facts import RESULTS, machine, table, write_json
from benchmarks.health import rate
from benchmarks.healthbench.structural import FILES, UNSEEN, Structure, structures

STEPS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Take two steps of each program, print what was said, write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.health_structure", description=__doc__
    )
    parser.add_argument("--to", type=Path, default=RESULTS / "health-structure.json")
    parser.add_argument(
        "--files",
        nargs="+",
        metavar="FILE",
        choices=(*FILES, *UNSEEN),
        default=FILES,
        help="files of programs; %(choices)s",
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each; %(default)s")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = [said_of(row, steps=asked.steps) for row in structures(asked.files)]
    faulty = [row for row in rows if row["codes"]]
    sound = [row for row in rows if not row["codes"]]
    figures = {
        "any": rate(sum(bool(row["said"]) for row in faulty), len(faulty)),
        "named": rate(
            sum(bool(set(row["said"]) & set(row["codes"])) for row in faulty), len(faulty)
        ),
        "first": rate(sum(row["said"][:1] == row["codes"][:1] for row in faulty), len(faulty)),
        "sound_alarm": rate(sum(bool(row["said"]) for row in sound), len(sound)),
        "sound_act": rate(sum(bool(row["acts"]) for row in sound), len(sound)),
    }
    print(
        table(
            ["figure", "count", "of"],
            [[k, str(v["count"]), str(v["of"])] for k, v in figures.items()],
        )
    )
    for row in rows:
        if set(row["codes"]) & set(row["said"]) or (not row["codes"] and not row["said"]):
            continue
        print(f"{row['name']}: true {row['codes'] or 'sound'}, said {row['said'] or 'nothing'}")
    write_json({"schema": 1, "machine": machine(threads=1), **figures, "rows": rows}, asked.to)
    return 0


def said_of(row: Structure, *, steps: int = STEPS) -> dict[str, Any]:
    """The codes that the monitor said of a program, in order, and the step of the last."""
    built = row.build()
    with thalweg.monitor(built.model, built.optimizer, tell=None) as monitor:
        for batch in islice(cycle(built.batches), steps):
            shown = built.train_step(batch)
            for loss in [shown] if isinstance(shown, Tensor) else shown:
                monitor(loss)
    found = monitor.findings
    return {
        "name": row.name,
        "codes": list(row.codes),
        "said": [each.code for each in found],
        "acts": [each.code for each in found if each.severity == "act"],
        "fault": monitor.fault,
    }


if __name__ == "__main__":
    sys.exit(main())
