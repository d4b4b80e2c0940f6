"""thalweg beside Lightning's and Hugging Face's Trainer: the same model on texts and pictures.

    python -m benchmarks.same_model --sets spam,mnist --seeds 2

thalweg's `fit` chooses split, tokens, model, batch, rate and cadence; the peers train the same
network from the same first weights, on the same samples, with the same of all these.
"""

import argparse
import importlib
import json
import math
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import thalweg
from benchmarks.data import DataError
from benchmarks.facts import RESULTS, machine, table, warn_if_busy, write_json
from benchmarks.fit import names_of
from benchmarks.same.posed import Posed
from benchmarks.same.sets import SETS, dataset_of
from thalweg.jobs.settings import Settings
from thalweg.jobs.study import study_of
from thalweg.tasks.model import model_of
from thalweg.tasks.sources import in_order
from thalweg.tasks.study import Study

OURS = "thalweg"
PEERS = {"Lightning": "lightning_fit", "HF Trainer": "transformers_fit"}
LOOK = 64
"""Samples of a validation batch, for the peers."""


@dataclass(frozen=True)
class Row:
    """One contender on one set with one seed.

    seconds, cpu: of the clock and of the processor, from data as a user has it to the trained
    network and its test score; peers are counted thalweg's preparation, as they have none
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
    data = known.make(known.whole if asked.whole else known.rows, folder)
    given = {**known.settings, **({} if asked.whole else known.budget), "seed": seed}
    given["threads"] = asked.threads

    study_of(data, Settings.of(given))  # pictures are decoded once, which counts for none
    watch = Watch()
    fitted = thalweg.fit(data, out=str(folder / f"runs-{seed}"), quiet=True, **given)
    taken = watch.seconds
    watch = Watch()
    study = study_of(data, Settings.of(given))
    prepared = watch.seconds

    chosen = tomllib.loads((fitted.folder / "run.toml").read_text())["settings"]
    rows = [row_of(name, seed, OURS, scored(study, fitted.model, known.metric), taken)]
    for peer in asked.peers:
        posed = posed_of(study, chosen, seed)
        watch = Watch()
        try:
            network = importlib.import_module(f"benchmarks.same.{PEERS[peer]}").train(posed)
        except ImportError as missing:
            print(f"without {peer}: {missing}", file=sys.stderr)
            continue
        score = scored(study, network, known.metric)
        taken = [sum(pair) for pair in zip(prepared, watch.seconds, strict=True)]
        rows.append(row_of(name, seed, peer, score, taken))
    return rows


class Watch:
    """seconds: of the clock and of the processor since it was made."""

    def __init__(self) -> None:
        self._start = self._now

    @property
    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> list[float]:
        return [now - start for now, start in zip(self._now, self._start, strict=True)]


def posed_of(study: Study, chosen: dict[str, Any], seed: int) -> Posed:
    """What thalweg chose, for a peer; the network is built anew."""
    per_epoch = math.ceil(len(study.train) / chosen["batch_size"])
    steps = chosen.get("steps") or round(chosen["epochs"] * per_epoch)
    return Posed(
        network=model_of(study, chosen["model"], seed=seed, dropout=0.0),
        train=dataset_of(study.train),
        validation=dataset_of(study.validation),
        batch_size=chosen["batch_size"],
        look_size=LOOK,
        steps=steps,
        warmup=chosen["warmup"],
        evaluate_every=min(chosen["evaluate_every"], steps),
        patience=chosen["patience"],
        lr=chosen["lr"],
        seed=seed,
    )


def row_of(name: str, seed: int, contender: str, score: float, taken: Sequence[float]) -> Row:
    seconds, cpu = (round(each, 2) for each in taken)
    row = Row(name, seed, contender, SETS[name].metric, round(score, 5), seconds, cpu)
    print(f"{name}  seed {seed}  {contender}  {score:.5g}  {cpu} CPU s", file=sys.stderr)
    return row


def scored(study: Study, network: nn.Module, metric: str) -> float:
    """Of the test samples, by the same code for all: share of right answers, or bits a byte."""
    network.eval()
    right = loss = count = 0.0
    with torch.inference_mode():
        for first in range(0, len(study.test), LOOK):
            last = min(first + LOOK, len(study.test))
            inputs, targets = study.test.fetch(in_order(first, last))
            outputs = network(inputs)
            right += float((outputs.argmax(dim=1) == targets).sum())
            loss += float(functional.cross_entropy(outputs, targets, reduction="sum"))
            count += targets.numel()
    return right / count if metric == "accuracy" else loss / count / math.log(2)


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
