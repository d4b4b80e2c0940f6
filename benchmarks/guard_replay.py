"""What the guard does to healthy runs, to logs of public runs, and to planted faults.

    python -m benchmarks.guard_replay --seeds 100 --logs DIR

Synthetic series and logs are replayed as they are. Planted faults, and runs without one, train
small models on scikit-learn's digits in a plain loop that does what the guard says.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.facts import table
from thalweg.guard.ladder import Ladder
from thalweg.types import Event, Measures, Step

Series = tuple[np.ndarray, np.ndarray]

STEPS = 2000


def main() -> int:
    """Print the three tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard_replay", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="synthetic runs of each kind")
    parser.add_argument("--runs", type=int, default=2, help="seeds of each real run")
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="logs as CSV or trainer_state JSON"
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)

    rows = [healthy_row(kind, every, asked.seeds) for kind in KINDS for every in (1, 32)]
    print(table(["healthy series", "drain", "runs", "with an action", "actions"], rows))
    if asked.logs:
        rows = [
            log_row(*found) for path in sorted(asked.logs.iterdir()) for found in series_in(path)
        ]
        print(table(["log", "column", "steps", "first events"], rows))
    rows = [
        fault_row(fault, case, every, seed)
        for fault in FAULTS
        for case in CASES
        for every in (1, 32)
        for seed in range(asked.runs)
    ]
    head = ["fault at 500", "model", "drain", "first event", "actions", "act", "off", "fault-free"]
    print(table(head, rows))
    return 0


# ---------------------------------------------------------------- synthetic series


def log_normal(draw: np.random.Generator, sigma: float) -> np.ndarray:
    return np.exp(draw.normal(0, sigma, STEPS))


def power(draw: np.random.Generator) -> np.ndarray:
    fall = (1 + np.arange(STEPS) / draw.uniform(5, 100)) ** -draw.uniform(0.3, 1.2)
    return draw.uniform(1, 8) * (fall + 10 ** draw.uniform(-3, -0.3))


def small_batches(draw: np.random.Generator) -> Series:
    loss = power(draw) * log_normal(draw, draw.uniform(0.05, 0.7))
    return loss, np.sqrt(loss) * log_normal(draw, draw.uniform(0.05, 0.5))


def mixed_lengths(draw: np.random.Generator) -> Series:
    noise = draw.standard_t(draw.choice([4, 6, 10]), STEPS) * draw.uniform(0.03, 0.25)
    return power(draw) * np.exp(noise), log_normal(draw, 0.3) * np.exp(np.abs(noise))


def warm_up(draw: np.random.Generator) -> Series:
    rise = np.minimum(1, np.arange(1, STEPS + 1) / draw.integers(50, 800))
    return power(draw) * log_normal(draw, 0.3), (1 + 8 * rise) * log_normal(draw, 0.4)


def cosine(draw: np.random.Generator) -> Series:
    lr = 0.5 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))
    loss = (0.02 + lr * power(draw)) * log_normal(draw, draw.uniform(0.1, 0.5)) ** (0.2 + 0.8 * lr)
    return loss, loss**0.7 * log_normal(draw, 0.3)


def one_cycle(draw: np.random.Generator) -> Series:
    lr = np.sin(np.pi * np.arange(STEPS) / STEPS) ** 2
    noise = log_normal(draw, draw.uniform(0.1, 0.6)) ** (0.2 + lr)
    return power(draw) * (1 + draw.uniform(0, 3) * lr) * noise, (0.3 + lr) * log_normal(draw, 0.4)


def batch_size_1(draw: np.random.Generator) -> Series:
    logits = draw.normal(0, draw.uniform(1, 2.5), STEPS) - np.linspace(0, 5, STEPS)
    loss = np.log1p(np.exp(logits))
    return loss, (1 - np.exp(-loss)) * log_normal(draw, 0.3)


def plateau(draw: np.random.Generator) -> Series:
    return 1e-6 * log_normal(draw, draw.uniform(0.001, 0.3)), 1e-4 * log_normal(draw, 0.1)


def towards_zero(draw: np.random.Generator) -> Series:
    fall = draw.uniform(0.97, 0.998) ** np.arange(STEPS)
    loss = fall * log_normal(draw, draw.uniform(0.01, 0.5))
    return loss, np.sqrt(loss) * log_normal(draw, 0.1)


def adversarial(draw: np.random.Generator) -> Series:
    t = np.arange(STEPS) * 2 * np.pi
    slow = draw.uniform(0.3, 1.1) * np.sin(t / draw.uniform(40, 600))
    fast = draw.uniform(0.1, 0.5) * np.sin(t / draw.uniform(5, 40))
    loss = np.exp(slow + fast) * log_normal(draw, draw.uniform(0.1, 0.4))
    return loss, loss * log_normal(draw, 0.3)


def changing_sign(draw: np.random.Generator) -> Series:
    noise = draw.normal(0, draw.uniform(0.1, 3), STEPS)
    return draw.uniform(-1, 1) + noise, log_normal(draw, draw.uniform(0.2, 0.7))


def saw_tooth(draw: np.random.Generator) -> Series:
    t, period = np.arange(STEPS), draw.integers(20, 300)
    fall = np.maximum(1e-4, draw.uniform(0.5, 0.95) ** (t // period))
    loss = fall * (1 + draw.uniform(0, 0.8) * (t % period) / period) * log_normal(draw, 0.2)
    return loss, np.sqrt(loss) * log_normal(draw, 0.3)


def half_zero(draw: np.random.Generator) -> Series:
    loss = np.where(draw.random(STEPS) < 0.5, draw.gamma(1, 1, STEPS), 0.0)
    return loss, np.where(loss > 0, log_normal(draw, 0.3), 0.0)


def rare_class(draw: np.random.Generator) -> Series:
    count = draw.binomial(32, draw.uniform(0.003, 0.3) / 32, STEPS)
    base = 0.05 * (1 + np.arange(STEPS) / 100) ** -0.7 * log_normal(draw, 0.1)
    loss = base + count * draw.uniform(2, 5, STEPS) / 32
    return loss, 0.02 * log_normal(draw, 0.2) + 0.3 * count * log_normal(draw, 0.3)


def heavy_sign(draw: np.random.Generator) -> Series:
    noise = draw.standard_t(4, STEPS)
    return draw.uniform(-0.3, 0.3) + noise, log_normal(draw, 0.5) * (1 + np.abs(noise))


KINDS: dict[str, Callable[[np.random.Generator], Series]] = {
    "small batches": small_batches,
    "warm-up": warm_up,
    "cosine": cosine,
    "one cycle": one_cycle,
    "batch size 1": batch_size_1,
    "plateau at 1e-6": plateau,
    "towards zero": towards_zero,
    "adversarial": adversarial,
    "changing sign": changing_sign,
    "saw-tooth of epochs": saw_tooth,
    "half zero": half_zero,
    "mixed lengths, Student's t": mixed_lengths,
    "changing sign, Student's t": heavy_sign,
    "rare class": rare_class,
}


def step(number: int, lr: float, loss: float, norm: float) -> Step:
    seen = Measures(lambda: {"loss": loss, "gradient_norm": norm})
    return Step(number=number, samples=0, epoch=0.0, lr=lr, seconds=0.0, measures=seen)


def replayed(losses: Sequence[float], norms: Sequence[float], every: int) -> list[Event]:
    """Events of a series; a step that is skipped changes nothing in what follows."""
    ladder, events = Ladder("act"), []
    steps = [step(i + 1, 0.1, *pair) for i, pair in enumerate(zip(losses, norms, strict=True))]
    for i in range(0, len(steps), every):
        events += ladder.judge(steps[i : i + every], snapshots=range(0, i, 50)).events
    return events


def healthy_row(kind: str, every: int, seeds: int) -> list[str]:
    found = []
    for seed in range(seeds):
        loss, norm = KINDS[kind](np.random.default_rng(seed))
        found.append(len(replayed(loss.tolist(), norm.tolist(), every)))
    return [kind, str(every), str(seeds), str(sum(map(bool, found))), str(sum(found))]


# ---------------------------------------------------------------- logs of public runs


def series_in(path: Path) -> Iterator[tuple[str, str, list[float], list[float]]]:
    """(file, column, losses, norms) of every column of losses; rows without a value are left out.

    A column without gradient norms beside it has norms of 1.
    """
    if path.suffix == ".json":
        rows = json.loads(path.read_text(encoding="utf-8"))
        rows = rows.get("log_history", []) if isinstance(rows, dict) else []
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        return
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        if "loss" not in name and not name.startswith("n_layers"):
            continue
        held = [row for row in rows if row.get(name) not in (None, "")]
        losses = [float(row[name]) for row in held]
        norms = [float(row.get("grad_norm") or 1.0) for row in held]
        if len(losses) > 64:
            yield path.name, name, losses, norms


def log_row(file: str, column: str, losses: list[float], norms: list[float]) -> list[str]:
    events = replayed(losses, norms, 1)
    first = ", ".join(f"{event.kind} {event.number}" for event in events[:3]) or "-"
    return [file, column, str(len(losses)), first]


# ---------------------------------------------------------------- planted faults


@dataclass(frozen=True)
class Case:
    """A model on digits, and how it is trained."""

    name: str
    net: Callable[[], nn.Module]
    optimizer: Callable[[Sequence[Tensor]], torch.optim.Optimizer]
    batch: int


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def dropped() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))


CASES = (
    Case("mlp, Adam, 32", mlp, lambda params: torch.optim.Adam(params, lr=1e-3), 32),
    Case("mlp, SGD, 32", mlp, lambda params: torch.optim.SGD(params, lr=0.1), 32),
    Case("dropout, Adam, 8", dropped, lambda params: torch.optim.Adam(params, lr=1e-3), 8),
)

BEGIN, END = 500, 1000


@dataclass
class Planted:
    """What a fault does to a step: batch, gradient, learning rate."""

    x: Tensor
    y: Tensor
    gradient: float = 1.0
    lr: float = 1.0


def nothing(at: int, given: Planted) -> None:
    pass


def large_gradient(at: int, given: Planted) -> None:
    given.gradient = 1000.0 if at == BEGIN else 1.0


def mislabelled(at: int, given: Planted) -> None:
    if BEGIN <= at < BEGIN + 10:
        given.y = (given.y + 1 + at % 9) % 10


def nan_burst(at: int, given: Planted) -> None:
    if BEGIN <= at < BEGIN + 5:
        given.x = torch.full_like(given.x, math.nan)


def high_rate(at: int, given: Planted) -> None:
    given.lr = 100.0 if at >= BEGIN else 1.0


FAULTS = {
    "none": nothing,
    "gradient x 1000": large_gradient,
    "10 mislabelled batches": mislabelled,
    "5 batches of NaN": nan_burst,
    "lr x 100 from there": high_rate,
}


def fault_row(fault: str, case: Case, every: int, seed: int) -> list[str]:
    act, actions = trained(case, FAULTS[fault], every, seed, is_guarded=True)
    off, _ = trained(case, FAULTS[fault], every, seed, is_guarded=False)
    free, _ = trained(case, nothing, every, seed, is_guarded=False)
    first = next((f"{kind} {number}" for kind, number in actions), "-")
    counts = " ".join(f"{kind} {count}" for kind, count in Counter(k for k, _ in actions).items())
    return [fault, case.name, str(every), first, counts, *(f"{x:.4f}" for x in (act, off, free))]


def trained(
    case: Case, fault: Callable[[int, Planted], None], every: int, seed: int, *, is_guarded: bool
) -> tuple[float, list[tuple[str, int]]]:
    """The validation loss after END steps, and what the guard did: (kind, step)."""
    torch.manual_seed(seed)
    train, validation = digits()
    net = case.net()
    optimizer = case.optimizer(list(net.parameters()))
    rate = optimizer.param_groups[0]["lr"]
    ladder = Ladder("act" if is_guarded else "off")
    ring = deque([(0, copied(net, optimizer))], maxlen=4)
    factor, warm, done, block = 1.0, -1000, [], []
    for at in range(1, END + 1):
        i = torch.randint(len(train[0]), (case.batch,))
        given = Planted(train[0][i], train[1][i])
        fault(at, given)
        lr = rate * factor * min(1.0, (at - warm) / 100) * given.lr
        optimizer.param_groups[0]["lr"] = lr
        block.append(step(at, lr, *stepped(net, optimizer, ladder, given)))
        if at % every:
            continue
        action = ladder.judge(block, snapshots=[number for number, _ in ring])
        block = []
        done += [(event.kind, event.number) for event in action.events]
        if action.kind != "go":
            done.append((action.kind, at))
        if action.kind == "stop":
            break
        if action.kind in ("roll_back", "back_off"):
            while len(ring) > 1 and ring[-1][0] >= action.before:
                ring.pop()
            net.load_state_dict(ring[-1][1][0])
            optimizer.load_state_dict(copy.deepcopy(ring[-1][1][1]))
        if action.kind == "back_off":
            factor *= action.lr_factor
            if action.rewarm:
                warm = at
                optimizer.state.clear()
        elif at - ring[-1][0] >= 50 and not ladder.is_looking:
            ring.append((at, copied(net, optimizer)))
    net.eval()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(net(validation[0]), validation[1])), done


def stepped(
    net: nn.Module, optimizer: torch.optim.Optimizer, ladder: Ladder, given: Planted
) -> tuple[float, float]:
    """One step as the limits allow it; its loss and gradient norm."""
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(given.x), given.y)
    loss.backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    norm = given.gradient * float(torch.stack([g.norm() for g in grads]).norm())
    limits, value = ladder.limits, loss.item()
    if math.isfinite(value + norm) and value <= limits.loss:
        factor = given.gradient * (limits.clip_to / norm if norm > limits.norm else 1.0)
        for g in grads:
            g.mul_(factor)
        optimizer.step()
    return value, norm


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Digits of scikit-learn, 1,437 to train on and 360 to validate."""
    inputs, targets = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(targets))
    x, y = torch.tensor(inputs[order] / 16, dtype=torch.float32), torch.tensor(targets[order])
    return (x[360:], y[360:]), (x[:360], y[:360])


def copied(net: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict, dict]:
    return copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())


if __name__ == "__main__":
    raise SystemExit(main())
