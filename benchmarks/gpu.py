"""Optimizer steps on a GPU, beside torch's fused ones and the speed of a plain copy of memory.

Every case is timed by the device's own clock (events around many steps), contenders in turn, round
by round. The share of the copy's speed counts the bytes that the step must read and write at least.
"""

import argparse
import gc
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import thalweg
from benchmarks.facts import RESULTS, machine, table, write_json

WIDTH, DEPTH, WORDS = 768, 12, 50_304
BLOCK = ((3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH))


def mix() -> list[tuple[int, ...]]:
    """The 148 tensors of a small language model with biases: 124 million elements."""
    layer = [shape for whole in BLOCK for shape in (whole, whole[:1])]
    layer += [(WIDTH,)] * 4
    return [(WORDS, WIDTH), (1024, WIDTH), *(layer * DEPTH), (WIDTH,), (WIDTH,)]


@dataclass(frozen=True)
class Case:
    """What is stepped: the shapes, their type, and whether gradients are clipped and zeroed too.

    arrays: how many arrays of the parameters' size a step reads or writes at least
    """

    shapes: Sequence[tuple[int, ...]]
    dtype: torch.dtype = torch.float32
    clips: bool = False

    @property
    def num_elements(self) -> int:
        return sum(torch.Size(shape).numel() for shape in self.shapes)

    @property
    def num_bytes(self) -> int:
        """p, m and v read and written, g read; with clipping g read twice and written (zeroed)."""
        arrays = 9 if self.clips else 7
        return arrays * self.num_elements * self.dtype.itemsize


CASES = {
    "one tensor, 16M": Case([(1 << 24,)]),
    "one tensor, 268M": Case([(1 << 28,)]),
    "16 tensors, 1B": Case([(1 << 26,)] * 16),
    "16 tensors, 1B, bfloat16": Case([(1 << 26,)] * 16, torch.bfloat16),
    "148 tensors of a model": Case(mix()),
    "148 tensors of a model, bfloat16": Case(mix(), torch.bfloat16),
    "148 tensors, clip + step + zero": Case(mix(), clips=True),
    "2,000 tiny tensors": Case([(64,)] * 2000),
    "2,000 tiny tensors, clip + step + zero": Case([(64,)] * 2000, clips=True),
}

Step = Callable[[], Any]

# Milliseconds a step, one item a round, by case and contender.
Times = dict[tuple[str, str], list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, print the table, write the JSON."""
    asked = parse(arguments)
    if not torch.cuda.is_available():
        print("there is no CUDA device here: nothing to measure", file=sys.stderr)
        return 2
    facts = {**machine(threads=torch.get_num_threads()), "gpu": torch.cuda.get_device_name()}
    speed = copy_speed(asked)
    print(f"a copy of memory: {speed:.0f} GB/s")

    times: Times = {}
    for name in asked.cases:
        for contender, milliseconds in measured(CASES[name], asked).items():
            times[name, contender] = milliseconds
        print(f"{name}: done", file=sys.stderr)

    rows = [row(name, contender, times, speed) for name, contender in times]
    print(shown(rows))
    settings = {name: value for name, value in vars(asked).items() if name != "to"}
    report = {
        "schema": 1,
        "machine": facts,
        "settings": settings,
        "copy_gb_per_s": round(speed),
        "rows": rows,
    }
    write_json(report, asked.to)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="Milliseconds of an AdamW step on a GPU, and its share of a copy's speed.",
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="timed steps a round")
    parser.add_argument("--warmup", type=int, default=5, help="steps before the first round")
    parser.add_argument("--to", type=Path, default=RESULTS / "gpu.json", metavar="FILE")
    return parser.parse_args(arguments)


def copy_speed(asked: argparse.Namespace) -> float:
    """GB/s, read and written, of a copy of 1 GiB within the device: the median of the rounds."""
    source = torch.empty(1 << 28, device="cuda")
    target = torch.empty_like(source)
    step = partial(target.copy_, source)
    timed(step, asked.warmup)
    taken = [timed(step, asked.steps) for _ in range(asked.rounds)]
    return 2 * source.nbytes / statistics.median(taken) / 1e6


def timed(step: Step, steps: int) -> float:
    """Milliseconds a step on the device, launches included, over so many steps."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(steps):
        step()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / steps


def parameters(case: Case) -> list[Tensor]:
    params = [torch.randn(shape, device="cuda", dtype=case.dtype) for shape in case.shapes]
    for p in params:
        p.requires_grad_()
        p.grad = torch.randn_like(p)
    return params


def ours(case: Case) -> Step:
    """thalweg: the clip is part of the step; gradients are zeroed as torch does it."""
    params = parameters(case)
    optimizer = thalweg.AdamW(params, lr=1e-4, clip=1.0 if case.clips else None)
    if optimizer.backend.name != "triton":
        raise SystemExit(f"not our kernels: {optimizer.backend_and_reason[1]}")
    return partial(stepped, optimizer, params) if case.clips else optimizer.step


def stepped(optimizer: torch.optim.Optimizer, params: Sequence[Tensor]) -> None:
    optimizer.step()
    zero(params)


def torchs(case: Case) -> Step:
    """torch's fused AdamW, clip_grad_norm_ with its fastest setting before it."""
    params = parameters(case)
    optimizer = torch.optim.AdamW(params, lr=1e-4, fused=True)
    return partial(clipped, optimizer, params) if case.clips else optimizer.step


def clipped(optimizer: torch.optim.Optimizer, params: Sequence[Tensor]) -> None:
    torch.nn.utils.clip_grad_norm_(params, 1.0, foreach=True)
    optimizer.step()
    zero(params)


def zero(params: Sequence[Tensor]) -> None:
    """Zeroed in place: the gradients must be there for the next timed step."""
    torch._foreach_zero_([p.grad for p in params if p.grad is not None])


CONTENDERS: dict[str, Callable[[Case], Step]] = {"thalweg": ours, "torch fused": torchs}


def measured(case: Case, asked: argparse.Namespace) -> dict[str, list[float]]:
    """Milliseconds a step of each contender in each round; one that lacks memory is left out."""
    found: dict[str, list[float]] = {}
    steps = {name: step for name in CONTENDERS if (step := prepared(name, case, asked))}
    for number in range(asked.rounds):
        shift = number % max(1, len(steps))
        for name in [*steps][shift:] + [*steps][:shift]:
            found.setdefault(name, []).append(timed(steps[name], asked.steps))
    del steps
    gc.collect()
    torch.cuda.empty_cache()
    return found


def prepared(name: str, case: Case, asked: argparse.Namespace) -> Step | None:
    """A contender's step, warmed up."""
    try:
        step = CONTENDERS[name](case)
        timed(step, asked.warmup)
    except torch.OutOfMemoryError:
        print(f"without {name}: this case needs more memory", file=sys.stderr)
        return None
    return step


def row(case: str, contender: str, times: Times, speed: float) -> dict[str, Any]:
    """Medians over the rounds; the ratio to torch is taken round by round."""
    taken = times[case, contender]
    peers = times.get((case, "torch fused"), taken)
    ratios = [peer / mine for peer, mine in zip(peers, taken, strict=True)]
    milliseconds = statistics.median(taken)
    share = CASES[case].num_bytes / milliseconds / 1e6 / speed
    return {
        "case": case,
        "contender": contender,
        "elements": CASES[case].num_elements,
        "ms": round(milliseconds, 4),
        "spread_ms": round(max(taken) - min(taken), 4),
        "share_of_copy": round(share, 3),
        "torch_over_it": round(statistics.median(ratios), 3),
    }


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a plain table."""
    return table(
        ["case", "contender", "ms a step", "spread", "of a copy's speed", "torch's time over its"],
        [
            [
                row["case"],
                row["contender"],
                f"{row['ms']:.3f}",
                f"{row['spread_ms']:.3f}",
                f"{row['share_of_copy']:.0%}",
                f"{row['torch_over_it']:.2f}",
            ]
            for row in rows
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
