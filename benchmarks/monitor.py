"""What `thalweg.monitor` adds to a step of a plain torch loop, and what it says of itself.

    python -m benchmarks.monitor

One process, one thread, CPU time. With and without in turn, in blocks of steps of one loop; the
overhead is the median of the differences between neighbouring blocks. The first steps, whose
structure is looked at, are given apart; what the monitor says of itself is wall time.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import thalweg
from benchmarks.facts import RESULTS, machine, table, warn_if_busy, write_json


def mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutions() -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in ((3, 32), (32, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(32, 64), nn.TransformerEncoder(layer, 4), nn.Linear(64, 10))


WORK: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "8-8-2": (lambda: mlp(8, 8, 2), (32, 8)),
    "64-256-256-10": (lambda: mlp(64, 256, 256, 10), (32, 64)),
    "12 layers of 64": (lambda: mlp(*[64] * 12, 10), (32, 64)),
    "convolutions": (convolutions, (16, 3, 16, 16)),
    "transformer": (transformer, (8, 16, 32)),
}


@dataclass
class Lane:
    """One loop that goes on from block to block, with a monitor or without."""

    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    monitor: Any = None
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self._losses: list[float] = []

    def block(self, steps: int) -> float:
        """CPU seconds of so many steps; the bare loop reads its loss too."""
        look = self.monitor if self.monitor is not None else self._read
        began = time.process_time()
        for _ in range(steps):
            self.optimizer.zero_grad()
            found = self.model(self.x).flatten(0, -2)
            loss = functional.cross_entropy(found, self.y)
            loss.backward()
            self.optimizer.step()
            look(loss)
        return time.process_time() - began

    def _read(self, loss: torch.Tensor) -> None:
        self._losses.append(loss.item())


def lane(name: str, *, watched: bool) -> Lane:
    torch.manual_seed(0)
    make, shape = WORK[name]
    model, x = make(), torch.randn(shape)
    rows = model(x).flatten(0, -2)
    made = Lane(model, x, torch.randint(rows.shape[1], (len(rows),)))
    if watched:
        made.monitor = thalweg.monitor(model, made.optimizer, tell=None)
        made.monitor.__enter__()
    return made


def measured(name: str, *, rounds: int, steps: int) -> dict[str, Any]:
    """A row of the table."""
    bare, looked = lane(name, watched=False), lane(name, watched=True)
    for each in (bare, looked):
        each.block(50)
    gc.collect()
    for number in range(rounds):
        order = (bare, looked) if number % 2 else (looked, bare)
        for each in order:
            each.seconds.append(each.block(steps))
    looked.monitor.__exit__(None)
    assert looked.monitor.fault == ""
    over = [mine - plain for mine, plain in zip(looked.seconds, bare.seconds, strict=True)]
    lower, middle, upper = (1e6 * q / steps for q in statistics.quantiles(over, n=4))
    step = 1e6 * statistics.median(bare.seconds) / steps
    cost = looked.monitor.overhead
    return {
        "model": name,
        "step_us": round(step, 1),
        "overhead_us": round(middle, 1),
        "overhead_quartiles_us": [round(lower, 1), round(upper, 1)],
        "overhead_share": round(middle / step, 4),
        "own_us": round(cost.microseconds, 1),
        "own_share": round(cost.share, 4),
        "start_ms": round(1e3 * cost.start, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=0.25, help="of a block of steps, about")
    parser.add_argument("--to", type=Path, default=RESULTS / "monitor.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warn_if_busy()
    facts = machine(threads=1)
    rows = []
    for name in WORK:
        trial = lane(name, watched=False)
        steps = max(10, round(asked.seconds / (trial.block(50) / 50)))
        rows.append(measured(name, rounds=asked.rounds, steps=steps) | {"steps": steps})
    heads = ["model", "us a step", "added us", "share", "middle half", "says itself", "start ms"]
    print(table(heads, [shown(row) for row in rows]))
    settings = {"rounds": asked.rounds, "seconds": asked.seconds, "optimizer": "AdamW, fused"}
    write_json({"schema": 1, "machine": facts, "settings": settings, "rows": rows}, asked.to)
    return 0


def shown(row: dict[str, Any]) -> list[str]:
    return [
        row["model"],
        f"{row['step_us']:.1f}",
        f"{row['overhead_us']:+.1f}",
        f"{row['overhead_share']:+.1%}",
        "{:+.1f} to {:+.1f}".format(*row["overhead_quartiles_us"]),
        f"{row['own_us']:.1f} ({row['own_share']:.1%})",
        f"{row['start_ms']:.0f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
