"""How many times as fast a training step is with each start-up check's switch on, as with it off.

    python -m benchmarks.startup

Switched on and off in turn, many times, in an order that alternates; matmul and threads within one
process, malloc (which lasts as long as the process) in a fresh process for each turn. Beside each
ratio stands what the check itself chooses here.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import thalweg
from benchmarks.facts import RESULTS, machine, table, warn_if_busy, write_json
from benchmarks.network import MLP, fused_adamw
from thalweg.scale import matmul, threads
from thalweg.scale.work import Work, work_of

# Seconds of steps between two readings of the clock; at least one step.
TURN = 0.03

# Steps in a fresh process before and between its two readings.
WARMUP, TIMED = 3, 5

Step = Callable[[], None]


class Wide(nn.Module):
    """Few products, large buffers: element-wise layers over 2,048 features."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 2048), nn.Linear(2048, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for _ in range(4):
            x = x + functional.gelu(x)
        return self.last(x)


def convnet() -> nn.Module:
    """Three convolutions on pictures of 3 x 32 x 32, one pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def mlp() -> nn.Module:
    return MLP(64, 256, 256, 10)


# Network, batch size, and the shape of a sample, by name.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, tuple[int, ...]]] = {
    "MLP 64-256-256-10, batch 32": (mlp, 32, (64,)),
    "MLP 64-256-256-10, batch 128": (mlp, 128, (64,)),
    "MLP 64-256-256-10, batch 1024": (mlp, 1024, (64,)),
    "convnet, batch 128": (convnet, 128, (3, 32, 32)),
    "wide, batch 4096": (Wide, 4096, (64,)),
}

LARGE_BUFFERS = tuple(NETWORKS)[2:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, print the table, write the JSON; or be one of the fresh processes."""
    asked = parse(arguments)
    if asked.step is not None:
        return in_this_process(asked.step, keeps=asked.keeps)
    warn_if_busy()
    most = torch.get_num_threads()
    facts = machine(threads=most)
    rows = [
        row
        for name in NETWORKS
        for row in (threads_row(name, most, asked.rounds), matmul_row(name, asked.rounds))
    ]
    rows += [malloc_row(name, asked.processes) for name in LARGE_BUFFERS]
    print(f"{facts['cpu']}, {facts['cores']} cores, torch {torch.__version__}")
    print(shown(rows))
    settings = {"rounds": asked.rounds, "processes": asked.processes}
    write_json({"schema": 1, "machine": facts, "settings": settings, "rows": rows}, asked.to)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description="How many times as fast a step is with each start-up check's switch on.",
    )
    parser.add_argument("--rounds", type=int, default=11, help="turns of matmul and threads")
    parser.add_argument("--processes", type=int, default=4, help="turns of malloc, two each")
    parser.add_argument("--to", type=Path, default=RESULTS / "startup.json", metavar="FILE")
    parser.add_argument("--step", choices=NETWORKS, help=argparse.SUPPRESS)
    parser.add_argument("--keeps", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def threads_row(name: str, most: int, rounds: int) -> dict[str, Any]:
    """All threads against one."""
    chosen = threads.choose(work(name))
    pairs = turns(name, lambda: threads.threads(most), rounds)
    return row(name, f"threads {most}", pairs, f"{chosen.value}: {chosen.why}")


def matmul_row(name: str, rounds: int) -> dict[str, Any]:
    """oneDNN against torch's own route, one thread."""
    chosen = matmul.choose(work(name))
    pairs = turns(name, lambda: matmul.route(matmul.ONEDNN), rounds)
    return row(name, "matmul onednn", pairs, f"{chosen.value}: {chosen.why}")


def malloc_row(name: str, processes: int) -> dict[str, Any]:
    """Large buffers kept against glibc as it comes, one thread; page faults a step beside."""
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for number in range(processes):
        for keeps in (False, True) if number % 2 else (True, False):
            found[keeps].append(in_a_process(name, keeps=keeps))
    pairs = [
        (off["seconds"], on["seconds"]) for off, on in zip(found[False], found[True], strict=True)
    ]
    faults = [statistics.median(one["faults"] for one in found[keeps]) for keeps in (False, True)]
    peaks = [statistics.median(one["peak_mb"] for one in found[keeps]) for keeps in (False, True)]
    said = (
        f"page faults a step {faults[0]:,.0f} -> {faults[1]:,.0f}, "
        f"peak {peaks[0]:,.0f} -> {peaks[1]:,.0f} MB"
    )
    return row(name, "malloc kept", pairs, said)


def work(name: str) -> Work:
    """What the checks are given by `fit`."""
    build, batch_size, sample = NETWORKS[name]
    return work_of(build(), batch_size, sample[-1] * sample[-2] if len(sample) > 1 else 1)


def step_of(name: str) -> Step:
    """One training step of a network on random data, the same each time."""
    build, batch_size, sample = NETWORKS[name]
    torch.manual_seed(0)
    network = build()
    x, y = torch.randn(batch_size, *sample), torch.randint(10, (batch_size,))
    optimizer = fused_adamw(network)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()

    return step


def turns(
    name: str, switch: Callable[[], AbstractContextManager[Any]], rounds: int
) -> list[tuple[float, float]]:
    """Seconds a step with the switch off and on, a pair a round, after one that warms up."""
    step = step_of(name)
    with threads.threads(1):
        seconds(step, 1)
        count = max(1, round(TURN / seconds(step, 1)))
    pairs = []
    for number in range(-1, rounds):
        taken = {}
        for is_on in (False, True) if number % 2 else (True, False):
            with threads.threads(1), switch() if is_on else nullcontext():
                taken[is_on] = seconds(step, count)
        if number >= 0:
            pairs.append((taken[False], taken[True]))
    return pairs


def seconds(step: Step, count: int) -> float:
    """Wall seconds a step, over `count` of them."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def in_a_process(name: str, *, keeps: bool) -> dict[str, float]:
    """What a fresh process measures of a network's step."""
    words = [sys.executable, "-m", "benchmarks.startup", "--step", name]
    done = subprocess.run(
        [*words, *(["--keeps"] if keeps else [])], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def in_this_process(name: str, *, keeps: bool) -> int:
    """Be that process."""
    torch.set_num_threads(1)
    if keeps and thalweg.tune_malloc().value != "kept":
        print(f"malloc cannot be tuned: {thalweg.tune_malloc().why}", file=sys.stderr)
        return 1
    step = step_of(name)
    seconds(step, WARMUP)
    before = resource.getrusage(resource.RUSAGE_SELF)
    taken = [seconds(step, 1) for _ in range(TIMED)]
    after = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "seconds": statistics.median(taken),
        "faults": (after.ru_minflt - before.ru_minflt) / TIMED,
        "peak_mb": peak_mb(),
    }
    print(json.dumps(found))
    return 0


def peak_mb() -> float:
    """The most memory that the process held; getrusage would count what its parent held, too."""
    status = Path("/proc/self/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0]) / 1e3


def row(name: str, switch: str, pairs: Sequence[tuple[float, float]], check: str) -> dict[str, Any]:
    """Medians over the rounds; the ratio is taken round by round."""
    off, on = zip(*pairs, strict=True)
    ratios = [first / second for first, second in pairs]
    lower, _, upper = statistics.quantiles(ratios, n=4)
    return {
        "network": name,
        "switch": switch,
        "off_ms": round(1e3 * statistics.median(off), 3),
        "on_ms": round(1e3 * statistics.median(on), 3),
        "times_as_fast": round(statistics.median(ratios), 2),
        "quartiles": [round(lower, 2), round(upper, 2)],
        "check": check,
    }


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a plain table."""
    return table(
        ["network", "switch", "off, ms", "on, ms", "times as fast", "middle half", "the check"],
        [
            [
                row["network"],
                row["switch"],
                f"{row['off_ms']:.2f}",
                f"{row['on_ms']:.2f}",
                f"{row['times_as_fast']:.2f}",
                "{:.2f} to {:.2f}".format(*row["quartiles"]),
                row["check"],
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
