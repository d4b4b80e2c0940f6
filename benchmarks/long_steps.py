"""Long steps made cheaper: memory that `recompute` saves, and how many times as fast `compile` is.

    python -m benchmarks.long_steps

Beside each stands what one writes by hand in a plain torch loop: torch.utils.checkpoint around each
block, torch.compile around the model. Memory is the peak of a fresh process for each contender.
The speed of a network is measured in one fresh process with an empty compiler cache, in which all
contenders take a step in turn. One thread, and CPU time, since other work may share the machine;
of the first step, in which other processes compile, the wall's.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import thalweg
from benchmarks.facts import RESULTS, machine, table, warn_if_busy, write_json
from benchmarks.startup import Wide, convnet

Step = Callable[[], None]

# Steps before the clock counts: optimizer states, first memory.
WARMUP = 2

DEEP = "24 transformer blocks, 128 wide, 16 x 128 tokens"


class Block(nn.Module):
    """A transformer's block, before which it normalises; dropout at both ends."""

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        parts = self.qkv(self.norms[0](x)).view(n, length, 3, self.heads, -1).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.out(seen.transpose(1, 2).reshape(n, length, width)))
        return x + self.drop(self.down(functional.gelu(self.up(self.norms[1](x)))))


class Transformer(nn.Module):
    """Blocks between an embedding of 64 numbers and a mean over the tokens."""

    def __init__(self, blocks: int, width: int, *, again: bool = False):
        super().__init__()
        self.first, self.last = nn.Linear(64, width), nn.Linear(width, 10)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.again = again

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.again else block(x)
        return self.last(x.mean(dim=1))


# Network, batch size, shape of a sample.
NETWORKS: dict[str, tuple[Callable[..., nn.Module], int, tuple[int, ...]]] = {
    DEEP: (lambda **how: Transformer(24, 128, **how), 16, (128, 64)),
    "4 transformer blocks, 128 wide, 8 x 128 tokens": (
        lambda **how: Transformer(4, 128, **how),
        8,
        (128, 64),
    ),
    "element-wise, 2048 wide, batch 1024": (Wide, 1024, (64,)),
    "convnet, batch 64": (convnet, 64, (3, 32, 32)),
}

MEMORY = ("torch", "torch.utils.checkpoint", "thalweg", "thalweg recompute")
SPEED = ("torch", "torch.compile", "thalweg", "thalweg compile")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every contender, print both tables, write the JSON; or be one of the fresh processes."""
    asked = parse(arguments)
    torch.set_num_threads(1)
    if asked.network is not None:
        found = memory_of(asked) if asked.contender else speed_of(asked)
        print(json.dumps(found))
        return 0
    warn_if_busy()
    facts = machine(threads=1)
    print(f"{facts['cpu']}, one thread, torch {torch.__version__}; {DEEP}")
    known = json.loads(asked.to.read_text()) if asked.to.exists() else {}
    report = {"schema": 1, "machine": facts, "memory": [], "speed": [], **known}
    if "memory" in asked.parts:
        report["memory"] = [in_a_process(DEEP, asked.steps, name) for name in MEMORY]
        print(shown_memory(report["memory"]))
    if "speed" in asked.parts:
        names = list(NETWORKS)[1:]
        report["speed"] = [row for name in names for row in in_a_process(name, asked.rounds)]
        print(shown_speed(report["speed"]))
    write_json({**report, "machine": facts}, asked.to)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_steps",
        description="Memory that recompute saves, and how many times as fast compile is.",
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        default=["memory", "speed"],
        choices=("memory", "speed"),
        help="what to measure; the other part stays as it stands in the file",
    )
    parser.add_argument("--steps", type=int, default=5, help="steps of each memory contender")
    parser.add_argument("--rounds", type=int, default=15, help="steps of each speed contender")
    parser.add_argument("--to", type=Path, default=RESULTS / "long_steps.json", metavar="FILE")
    parser.add_argument("--network", choices=NETWORKS, help=argparse.SUPPRESS)
    parser.add_argument("--contender", choices=MEMORY, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def in_a_process(network: str, count: int, contender: str | None = None) -> Any:
    """What a fresh process found, whose compiler has compiled nothing yet."""
    counts = ["--steps", str(count), "--rounds", str(count)]
    chosen = [] if contender is None else ["--contender", contender]
    words = [sys.executable, "-m", "benchmarks.long_steps", "--network", network, *counts, *chosen]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory_of(asked: argparse.Namespace) -> dict[str, Any]:
    """Peak memory above that before the first step, and time, of one contender."""
    step = step_of(asked.network, asked.contender)
    torch._dynamo.config  # noqa: B018  (loaded now: checkpoints need it, and it is large)
    thalweg.descend  # noqa: B018  (likewise)
    before = peak_mb()
    taken = [seconds(step, time.process_time) for _ in range(WARMUP + asked.steps)][WARMUP:]
    return {
        "contender": asked.contender,
        "peak_mb": round(peak_mb() - before, 1),
        "ms": round(1e3 * statistics.median(taken), 1),
    }


def speed_of(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Each contender's seconds of the first step, and the median of the others."""
    steps = {name: step_of(asked.network, name) for name in SPEED}
    first = {name: seconds(step, time.perf_counter) for name, step in steps.items()}
    taken: dict[str, list[float]] = {name: [] for name in SPEED}
    for _ in range(WARMUP + asked.rounds):
        for name, step in steps.items():
            taken[name].append(seconds(step, time.process_time))
    middle = {name: statistics.median(times[WARMUP:]) for name, times in taken.items()}
    return [
        {
            "network": asked.network,
            "contender": name,
            "first_s": round(first[name], 1),
            "ms": round(1e3 * middle[name], 2),
            "times_as_fast": round(middle["torch"] / middle[name], 3),
        }
        for name in SPEED
    ]


def step_of(network: str, contender: str) -> Step:
    """One training step with torch's fused AdamW on random data, the same for all."""
    build, size, sample = NETWORKS[network]
    torch.manual_seed(0)
    model = build(again=True) if contender == "torch.utils.checkpoint" else build()
    x, y = torch.randn(size, *sample), torch.arange(size) % 10
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    if contender.startswith("thalweg"):
        return ours(model, (x, y), optimizer, contender)
    forward = torch.compile(model) if contender == "torch.compile" else model

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(forward(x), y).backward()
        optimizer.step()

    return step


def ours(model: nn.Module, data: Any, optimizer: torch.optim.Optimizer, contender: str) -> Step:
    """A step of `descend`; it begins (and compiles, where that is asked for) with the first."""
    begun: list[Any] = []
    how: dict[str, Any] = {
        "compile": "on" if contender == "thalweg compile" else False,
        "recompute": contender == "thalweg recompute",
    }

    def step() -> None:
        if not begun:
            task = thalweg.Task(model, data)
            begun.append(thalweg.descend(task, optimizer, batch_size="full", **how))
        next(begun[0])

    return step


def seconds(step: Step, clock: Callable[[], float]) -> float:
    """Seconds of one call by a clock."""
    start = clock()
    step()
    return clock() - start


def peak_mb() -> float:
    """The most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def shown_memory(rows: Sequence[dict[str, Any]]) -> str:
    return table(
        ("memory", "peak MB over the start", "ms a step"),
        [(row["contender"], f"{row['peak_mb']:,.0f}", f"{row['ms']:,.0f}") for row in rows],
    )


def shown_speed(rows: Sequence[dict[str, Any]]) -> str:
    return table(
        ("speed", "contender", "first step, s", "ms a step", "times as fast"),
        [
            (
                row["network"],
                row["contender"],
                f"{row['first_s']:.1f}",
                f"{row['ms']:.1f}",
                f"{row['times_as_fast']:.2f}",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
