"""A table of 1.4 million rows: the wait for the first step, memory, and predictions a second.

    python -m benchmarks.large --rounds 5

Each round is a command of its own, as a user gives it (its modules compiled, as an installation
leaves them), and a pass of `predict` beside a bare forward pass of the same model over the same
rows, in turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

import thalweg
from benchmarks.data import load, write
from benchmarks.facts import (
    IMPORTS,
    RESULTS,
    compile_modules,
    machine,
    table,
    warn_if_busy,
    write_json,
)
from thalweg.tasks.table.encode import encode_inputs

STEPS = 200
CHUNKS = (1024, 4096)
"""Rows of a bare forward pass at a time; the faster one counts."""
MB = 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON."""
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    warn_if_busy()
    facts = machine(threads=asked.threads)
    loaded = load(asked.table)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{asked.table}.csv"
        write(loaded, path)
        compile_modules(Path(folder) / "compiled")
        _, imports = peak_of([sys.executable, "-c", IMPORTS])
        fits = [fitted(path, loaded.target, asked, imports) for _ in range(asked.rounds)]
        run = thalweg.load(str(Path(folder) / "runs" / f"{asked.table}-1"))
    rows = loaded.frame.drop(loaded.target)
    inputs = torch.from_numpy(encode_inputs(rows, run.schema))
    speeds = predictions(run, rows, inputs, asked.rounds)
    found = {
        "rows": rows.height,
        "columns": rows.width,
        "inputs": inputs.shape[1],
        "megabytes_of_inputs": inputs.numel() * inputs.element_size() / MB,
        "megabytes_of_columns": rows.height * rows.width * 4 / MB,
        "megabytes_after_imports": imports / MB,
        "fits": fits,
        "predictions": speeds,
    }
    write_json({"schema": 1, "machine": facts, **found}, asked.to)
    print(shown(found))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--table", default="military", help="(default military)")
    parser.add_argument("--rounds", type=int, default=5, help="(default 5)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--to", type=Path, default=RESULTS / "large.json", metavar="FILE")
    return parser.parse_args(arguments)


def fitted(path: Path, target: str, asked: argparse.Namespace, imports: int) -> dict[str, Any]:
    """A fit by the command line: seconds to its first step, and its peak of memory."""
    command = [sys.executable, "-m", "thalweg", "fit", str(path), "--target", target, "--json"]
    command += ["--steps", str(STEPS), "--threads", str(asked.threads)]
    command += ["--out", str(path.parent / "runs")]
    output, peak = peak_of(command)
    found = {
        "seconds_to_first_step": json.loads(output)["seconds_to_first_step"],
        "megabytes_beyond_imports": (peak - imports) / MB,
    }
    print(found, file=sys.stderr)
    return found


def peak_of(command: Sequence[str]) -> tuple[str, int]:
    """What a command prints, and the most bytes that it had in memory."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        return output.read(), usage.ru_maxrss * 1024


def predictions(
    run: Any, rows: pl.DataFrame, inputs: torch.Tensor, rounds: int
) -> list[dict[str, float]]:
    """Rows a second: of `predict` on a frame, and of the model alone on what it reads."""
    found = []
    for _ in range(rounds):
        times = [seconds_of(partial(forward, run.model, inputs, size)) for size in CHUNKS]
        bare = len(inputs) / min(times)
        whole = rows.height / seconds_of(lambda: run.predict(rows))
        found.append({"bare": bare, "predict": whole, "share": whole / bare})
        print(found[-1], file=sys.stderr)
    return found


@torch.inference_mode()
def forward(model: torch.nn.Module, inputs: torch.Tensor, size: int) -> None:
    """The model's outputs, chunk by chunk, thrown away."""
    model.eval()
    for chunk in inputs.split(size):
        model(chunk)


def seconds_of(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def shown(found: dict[str, Any]) -> str:
    """Medians."""
    fits, speeds = found["fits"], found["predictions"]
    beyond = median(fits, "megabytes_beyond_imports")
    inputs, columns = found["megabytes_of_inputs"], found["megabytes_of_columns"]
    figures = {
        "seconds from the command to the first step": median(fits, "seconds_to_first_step"),
        "peak beyond imports, MB": beyond,
        "  as a multiple of the inputs in float32": beyond / inputs,
        "  of the columns, 4 bytes a value": beyond / columns,
        "predict, rows a second": median(speeds, "predict"),
        "  as a share of the bare forward pass": median(speeds, "share"),
    }
    rows = [(name, f"{value:,.2f}") for name, value in figures.items()]
    return table(("figure", "median"), rows)


def median(rows: list[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
