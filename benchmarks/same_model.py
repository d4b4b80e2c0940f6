"""thalweg beside Lightning's and Hugging Face's Trainer: the same model on texts and pictures.

    python -m benchmarks.same_model --sets spam,mnist --seeds 2

thalweg's command, as a user gives it, chooses split, tokens, model, batch, rate and cadence; the
peers train the same network from the same first weights, on the same samples, with the same of all
these, each in a process of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

import thalweg
from benchmarks.data import DataError
from benchmarks.facts import RESULTS, compile_modules, machine, table, warn_if_busy, write_json
from benchmarks.fit import names_of
from benchmarks.same.peer import MISSING, PEERS, scored
from benchmarks.same.sets import SETS
from thalweg.jobs.settings import Settings
from thalweg.jobs.study import study_of

OURS = "thalweg"
OURS_BY = ("-m", "thalweg", "fit")


@dataclass(frozen=True)
class Row:
    """One contender on one set with one seed.

    seconds, cpu: of the clock and of the processor, from data as a user has it to the trained
    network and its test score: of thalweg the whole command, from its start and with its baselines
    and its report; of a peer from the import of its package on, with thalweg's preparation
    """

    set: str
    seed: int
    contender: str
    metric: str
    score: float
    seconds: float
    cpu: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, print the table, write the JSON."""
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    warn_if_busy()
    facts = machine(threads=asked.threads)
    rows = [Row(**row) for row in json.loads(asked.to.read_text())["rows"]] if asked.add else []
    compiled = tempfile.TemporaryDirectory()
    compile_modules(Path(compiled.name))
    for name in asked.sets:
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(asked.seeds):
                try:
                    new = compared(name, asked, seed, Path(folder))
                except DataError as error:
                    print(f"without {name}: {error}", file=sys.stderr)
                    break
                names = {(row.set, row.seed, row.contender) for row in new}
                rows = [r for r in rows if (r.set, r.seed, r.contender) not in names] + new
                write_json(report(facts, asked, rows), asked.to)
    print(shown(rows))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_model",
        description="The same model in thalweg, Lightning and Hugging Face's Trainer.",
    )
    parser.add_argument("--sets", type=names_of(SETS), default=list(SETS))
    parser.add_argument("--peers", type=names_of(PEERS), default=list(PEERS))
    parser.add_argument("--seeds", type=int, default=2, help="seeds 0, 1, ... (default 2)")
    parser.add_argument("--whole", action="store_true", help="all rows, and fit's own budget")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--add", action="store_true", help="keep what else stands in FILE")
    parser.add_argument("--to", type=Path, default=RESULTS / "same_model.json", metavar="FILE")
    return parser.parse_args(arguments)


def compared(name: str, asked: argparse.Namespace, seed: int, folder: Path) -> list[Row]:
    """All contenders on one set with one seed; thalweg's is first, as it chooses the settings."""
    known = SETS[name]
    data = stored(known.make(known.whole if asked.whole else known.rows, folder), folder)
    given = {**known.settings, **({} if asked.whole else known.budget), "seed": seed}
    given["threads"] = asked.threads
    study = study_of(str(data), Settings.of(given))  # decodes pictures once, which counts for none

    out = folder / f"runs-{seed}"
    taken = timed([sys.executable, *OURS_BY, str(data), *options(given), "--out", str(out)])
    fitted = thalweg.load(next(out.iterdir()))
    chosen = tomllib.loads((fitted.folder / "run.toml").read_text())["settings"]
    rows = [row_of(name, seed, OURS, scored(study, fitted.model, known.metric), taken)]
    for peer in asked.peers:
        task = {"set": name, "peer": peer, "data": str(data), "settings": given, "chosen": chosen}
        command = [sys.executable, "-m", "benchmarks.same.peer", json.dumps(task)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == MISSING:
            print(f"without {peer}", file=sys.stderr)
            continue
        done.check_returncode()
        found = json.loads(done.stdout.splitlines()[-1])
        rows.append(row_of(name, seed, peer, found["score"], (found["seconds"], found["cpu"])))
    return rows


def stored(data: pl.DataFrame | Path, folder: Path) -> Path:
    """The data as a file or a folder, as a command takes it."""
    if isinstance(data, Path):
        return data
    path = folder / "data.parquet"
    data.write_parquet(path)
    return path


def options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as a command line has them."""
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in settings.items())
    return [word for pair in pairs for word in pair]


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a whole command takes."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def row_of(name: str, seed: int, contender: str, score: float, taken: Sequence[float]) -> Row:
    seconds, cpu = (round(each, 2) for each in taken)
    row = Row(name, seed, contender, SETS[name].metric, round(score, 5), seconds, cpu)
    print(f"{name}  seed {seed}  {contender}  {score:.5g}  {cpu} CPU s", file=sys.stderr)
    return row


def shown(rows: Sequence[Row]) -> str:
    """A line for each set and contender: medians over the seeds."""
    keys = list(dict.fromkeys((row.set, row.contender) for row in rows))
    lines = []
    for name, contender in keys:
        some = [row for row in rows if (row.set, row.contender) == (name, contender)]
        scores = [row.score for row in some]
        times = [statistics.median(getattr(row, key) for row in some) for key in TIMES]
        spread = f"{statistics.mean(scores):.4f} ({max(scores) - min(scores):.4f})"
        lines.append([name, contender, some[0].metric, spread, *(f"{each:.1f}" for each in times)])
    return table(["set", "contender", "metric", "mean (spread)", "s", "CPU s"], lines)


TIMES = ("seconds", "cpu")


def report(facts: dict[str, Any], asked: argparse.Namespace, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything behind the table."""
    sizes = {name: known.whole if asked.whole else known.rows for name, known in SETS.items()}
    return {
        "schema": 1,
        "machine": facts,
        "rows_of_data": sizes,
        "budget": {} if asked.whole else {name: dict(known.budget) for name, known in SETS.items()},
        "rows": [asdict(row) for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())
