"""A peer's part of `benchmarks.same_model`, in a process of its own.

    python -m benchmarks.same.peer '{"peer": "Lightning", "set": "mnist", ...}'

Prints its test score and its seconds, of the clock and of the processor. They begin after torch,
thalweg and the benchmark are imported, and hold thalweg's preparation, as the peers have none.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.same.posed import Posed
from benchmarks.same.sets import SETS, dataset_of
from thalweg.jobs.settings import Settings
from thalweg.jobs.study import study_of
from thalweg.tasks.model import model_of
from thalweg.tasks.sources import in_order
from thalweg.tasks.study import Study

PEERS = {"Lightning": "lightning_fit", "HF Trainer": "transformers_fit"}
MISSING = 9
"""Exit status where the peer is not installed."""

LOOK = 64
"""Samples of a validation batch."""


def main(text: str) -> int:
    """Train as asked and print what came of it."""
    asked = json.loads(text)
    torch.set_num_threads(asked["settings"]["threads"])
    start = now()
    try:
        train = importlib.import_module(f"benchmarks.same.{PEERS[asked['peer']]}").train
    except ImportError as missing:
        print(missing, file=sys.stderr)
        return MISSING
    study = study_of(asked["data"], Settings.of(asked["settings"]))
    network = train(posed_of(study, asked["chosen"], asked["settings"]["seed"]))
    score = scored(study, network, SETS[asked["set"]].metric)
    seconds, cpu = (end - first for end, first in zip(now(), start, strict=True))
    print(json.dumps({"score": score, "seconds": seconds, "cpu": cpu}))
    return 0


def now() -> tuple[float, float]:
    """Of the clock, and of the processor."""
    return time.perf_counter(), time.process_time()


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
        clip=chosen.get("clip"),
        seed=seed,
    )


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
