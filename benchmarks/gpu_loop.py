"""Wall time of a training step on a GPU: thalweg's loop and its peers' beside a hand-written one.

    python -m benchmarks.gpu_loop

The data lie on the device and the hand-written loop never reads a number, so what a loop adds is
what it does on the host and where it waits. All loops after each other in every round, in an order
that rotates; each is timed over whole steps, and the device is waited for at both ends. `exact`
adds torch's deterministic algorithms to the bare loop: what runs that repeat to the bit cost.
"""

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import thalweg
from benchmarks.facts import RESULTS, machine, table, write_json

LR = 1e-3
BARE = "hand-written"


# ------------------------------------------------------------ what is trained


@dataclass(frozen=True)
class Case:
    """A network, the batches that it sees, and the precision of its forward pass."""

    build: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, Tensor]]
    batch_size: int
    precision: str = "float32"
    steps: int = 300


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def rows() -> tuple[Tensor, Tensor]:
    return torch.randn(65_536, 64), torch.randint(10, (65_536,))


def convolutions() -> nn.Module:
    """Thirteen layers of convolutions with batch norm, a pooling after every fourth."""
    layers: list[nn.Module] = []
    widths = [3, 64, 64, 64, 64, 128, 128, 128, 128, 256, 256, 256, 256]
    for i in range(12):
        layers += [nn.Conv2d(widths[i], widths[i + 1], 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(widths[i + 1]), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if i % 4 == 3 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def pictures() -> tuple[Tensor, Tensor]:
    return torch.randn(4096, 3, 32, 32), torch.randint(10, (4096,))


class Language(nn.Module):
    """A decoder of 12 blocks, 768 wide: 124 million parameters, output weights tied."""

    def __init__(self, words: int = 50_304, width: int = 768, depth: int = 12, length: int = 512):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.words.weight).flatten(0, 1)


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.attend(self.first(x)).view(batch, length, 3, -1, 64).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.mix(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.narrow(functional.gelu(self.wide(self.second(x))))


def tokens() -> tuple[Tensor, Tensor]:
    drawn = torch.randint(50_304, (256, 513))
    return drawn[:, :-1].contiguous(), drawn[:, 1:].contiguous()


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets.flatten())


CASES = {
    "mlp 64-256-256-10, batch 32": Case(mlp, rows, 32, steps=1000),
    "12 convolutions, batch 128, bf16": Case(convolutions, pictures, 128, "bf16", steps=150),
    "124M language model, 16 x 512, bf16": Case(Language, tokens, 16, "bf16", steps=24),
}


# ------------------------------------------------------------ who trains it


def on_device(case: Case) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    x, y = case.data()
    return case.build().cuda(), x.cuda(), y.cuda()


class Watch:
    """Seconds between two steps, the device waited for at both."""

    def __init__(self, case: Case, skip: int):
        self.marks = (skip, skip + case.steps)
        self._readings: list[float] = []

    def at(self, number: int) -> None:
        """After step `number`."""
        if number in self.marks:
            torch.cuda.synchronize()
            self._readings.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        first, last = self._readings
        return last - first


def batches(x: Tensor, y: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches in a fresh order each epoch, the last of an epoch whole."""
    while True:
        order = torch.randperm(len(x), device=x.device)
        for rows_ in order[: len(x) // size * size].split(size):
            yield x[rows_], y[rows_]


def hand_written(case: Case, skip: int, *, own: bool = False) -> float:
    """torch's fused AdamW or ours, torch's autocast, no number read."""
    network, x, y = on_device(case)
    optimizer: torch.optim.Optimizer = (
        thalweg.AdamW(network.parameters(), lr=LR)
        if own
        else torch.optim.AdamW(network.parameters(), lr=LR, fused=True)
    )
    watch = Watch(case, skip)
    stream = batches(x, y, case.batch_size)
    for number in range(1, watch.marks[1] + 1):
        inputs, targets = next(stream)
        with torch.autocast("cuda", torch.bfloat16, enabled=case.precision == "bf16"):
            loss = loss_of(network(inputs), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.at(number)
    return watch.seconds


def exact(case: Case, skip: int) -> float:
    """The hand-written loop under torch's deterministic algorithms."""
    torch.use_deterministic_algorithms(True)
    try:
        return hand_written(case, skip)
    finally:
        torch.use_deterministic_algorithms(False)


def own_optimizer(case: Case, skip: int) -> float:
    """The hand-written loop with thalweg.AdamW."""
    return hand_written(case, skip, own=True)


def descended(case: Case, skip: int, guard: Any) -> float:
    """descend as it comes: record in memory, gradient norm of every step, exact."""
    network, x, y = on_device(case)
    task = thalweg.Task(network, (x, y), loss=loss_of)
    watch = Watch(case, skip)
    with thalweg.descend(
        task,
        thalweg.AdamW(network.parameters(), lr=LR),
        batch_size=case.batch_size,
        precision=case.precision,
        until=thalweg.budget(steps=watch.marks[1]),
        guard=guard,
    ) as descent:
        for step in descent:
            watch.at(step.number)
    return watch.seconds


def guard_off(case: Case, skip: int) -> float:
    return descended(case, skip, "off")


def guard_acts(case: Case, skip: int) -> float:
    return descended(case, skip, "act")


def lightning(case: Case, skip: int) -> float:
    """Lightning, barebones: no logging, no progress, no checkpoints."""
    from lightning.pytorch import LightningModule, Trainer

    network, x, y = on_device(case)
    watch = Watch(case, skip)

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.number = network, 0

        def training_step(self, batch: Any, _: int) -> Tensor:
            self.number += 1
            watch.at(self.number - 1)
            return loss_of(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=LR, fused=True)

    precision: Any = {"bf16": "bf16-mixed", "float32": "32-true"}[case.precision]
    steps = watch.marks[1] + 1
    trainer = Trainer(barebones=True, max_steps=steps, accelerator="gpu", precision=precision)
    trainer.fit(Module(), Stream(x, y, case.batch_size, steps))
    return watch.seconds


class Stream:
    """So many of the batches, for who asks a length."""

    def __init__(self, x: Tensor, y: Tensor, size: int, count: int):
        self._batches, self._count = batches(x, y, size), count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self._count):
            yield next(self._batches)


def accelerate(case: Case, skip: int) -> float:
    """Accelerate: its wrapped network and optimizer, its backward, nothing logged."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # it is one for a process otherwise
    network, x, y = on_device(case)
    precision = {"bf16": "bf16", "float32": "no"}[case.precision]
    helper = Accelerator(mixed_precision=precision)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, fused=True)
    network, optimizer = helper.prepare(network, optimizer)
    watch = Watch(case, skip)
    stream = batches(x, y, case.batch_size)
    for number in range(1, watch.marks[1] + 1):
        inputs, targets = next(stream)
        loss = loss_of(network(inputs), targets)
        helper.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        watch.at(number)
    return watch.seconds


LOOPS: dict[str, Callable[[Case, int], float]] = {
    BARE: hand_written,
    "hand-written, exact": exact,
    "hand-written, thalweg.AdamW": own_optimizer,
    "thalweg, guard off": guard_off,
    "thalweg, guard acts": guard_acts,
    "accelerate": accelerate,
    "lightning, barebones": lightning,
}


# ------------------------------------------------------------ the rounds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_loop",
        description="Wall time of a training step on a GPU, beside a hand-written loop.",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=40, help="steps before the timed ones")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--to", type=Path, default=RESULTS / "gpu_loop.json", metavar="FILE")
    asked = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("there is no CUDA device here: nothing to measure", file=sys.stderr)
        return 2
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by torch's exactness
    facts = {**machine(threads=torch.get_num_threads()), "gpu": torch.cuda.get_device_name()}
    settings = {name: value for name, value in vars(asked).items() if name != "to"}
    rows: list[dict[str, Any]] = []
    for name in asked.cases:
        rows += measured(name, asked)
        write_json({"schema": 1, "machine": facts, "settings": settings, "rows": rows}, asked.to)
    print(table(["case", "loop", "us a step", "least..most", "over bare"], map(shown, rows)))
    return 0


def measured(name: str, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Every loop's microseconds a step, the median and the ends of the rounds."""
    case = CASES[name]
    taken: dict[str, list[float]] = {}
    for number in range(asked.rounds):
        shift = number % len(LOOPS)
        for loop in [*LOOPS][shift:] + [*LOOPS][:shift]:
            begun = time.perf_counter()
            try:
                seconds = LOOPS[loop](case, asked.warmup)
            except ImportError as error:
                print(f"{loop} is not here: {error}", file=sys.stderr)
                continue
            taken.setdefault(loop, []).append(1e6 * seconds / case.steps)
            gc.collect()
            torch.cuda.empty_cache()
            whole = time.perf_counter() - begun
            print(f"{name}: {loop}: {taken[loop][-1]:.0f} us, {whole:.1f} s", file=sys.stderr)
    bare = statistics.median(taken[BARE])
    return [
        {
            "case": name,
            "loop": loop,
            "us_a_step": round(statistics.median(times), 1),
            "least": round(min(times), 1),
            "most": round(max(times), 1),
            "over_bare_us": round(statistics.median(times) - bare, 1),
        }
        for loop, times in taken.items()
    ]


def shown(row: dict[str, Any]) -> list[str]:
    span = f"{row['least']:.0f}..{row['most']:.0f}"
    return [
        row["case"],
        row["loop"],
        f"{row['us_a_step']:.0f}",
        span,
        f"{row['over_bare_us']:+.0f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
