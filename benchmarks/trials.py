"""Trials of causes on small loops, sound and with one fault each: what they confirm of both.

    python -m benchmarks.trials

Four of scikit-learn's data sets, a small network, three seeds; the thresholds were set on digits.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional

import thalweg
from benchmarks.facts import RESULTS, machine, table, write_json

SEEDS = 3
DATA = ("digits", "breast_cancer", "wine", "diabetes")
SOUND = ("sgd", "adamw", "early", "dropout")
FAULTS = {
    "labels shuffled": "TW203",
    "rate / 1000": "TW102",
    "rate x 100": "TW101",
    "body cut off": "TW309",
    "softmax twice": "TW305",
    "never zeroed": "TW308",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Try each loop once, print what was confirmed, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trials", description=__doc__)
    parser.add_argument("--to", type=Path, default=RESULTS / "trials.json")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = list(_rows())
    shown = []
    for recipe in (*SOUND, *FAULTS):
        own, code = [row for row in rows if row["recipe"] == recipe], FAULTS.get(recipe, "")
        named = sum(code in row["confirmed"] for row in own) if code else 0
        other = sum(bool(set(row["confirmed"]) - {code}) for row in own)
        steps = sum(row["steps"] for row in own) / len(own)
        shown.append([recipe, len(own), code, named, other, f"{steps:.0f}"])
    heads = ["loop", "loops", "fault", "confirmed", "another confirmed", "steps"]
    print(table(heads, [[str(cell) for cell in row] for row in shown]))
    write_json({"schema": 1, "machine": machine(threads=1), "rows": rows}, asked.to)
    return 0


def _rows() -> Iterator[dict[str, Any]]:
    for data in DATA:
        for recipe in (*SOUND, *FAULTS):
            if recipe == "softmax twice" and data == "diabetes":
                continue
            for seed in range(SEEDS):
                tried = _tried(data, recipe, seed)
                said = tried.said.values()
                codes = sorted({code for each in said for code in each.confirms})
                row = {"data": data, "recipe": recipe, "seed": seed, "confirmed": codes}
                yield {**row, "steps": tried.steps}


class _Body(nn.Module):
    """A small network; is_cut: the gradient stops before its hidden layer, which passes nothing."""

    def __init__(self, inputs: int, outputs: int, recipe: str):
        super().__init__()
        self.hidden, self.head = nn.Linear(inputs, 64), nn.Linear(64, outputs)
        self.dropout = nn.Dropout(0.3 if recipe == "dropout" else 0.0)
        self._recipe = recipe

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(torch.relu(self.hidden(x)))
        if self._recipe == "body cut off":
            hidden = 0.0 * hidden.detach()
        out = self.head(hidden)
        return out.softmax(1) if self._recipe == "softmax twice" else out


def _tried(data: str, recipe: str, seed: int) -> Any:
    """Train a loop, then try what is wrong with it between a backward pass and a step."""
    x, y, loss = _data(data, seed)
    if recipe == "labels shuffled":
        y = y[torch.randperm(len(y))]
    count = len(x) * 4 // 5
    model = _Body(x.shape[1], int(y.max()) + 1 if y.dtype == torch.int64 else 1, recipe)
    factor = {"rate / 1000": 1e-3, "rate x 100": 100.0}.get(recipe, 1.0)
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    }
    usual = makers.get(recipe, lambda: torch.optim.AdamW(model.parameters(), lr=3e-3 * factor))
    optimizer = usual()

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        return loss(model(batch[0]), batch[1])

    def drawn() -> tuple[Tensor, Tensor]:
        rows = torch.randint(count, (32,))
        return x[rows], y[rows]

    steps = 40 if recipe == "early" else 400
    for number in range(steps + 1):
        if recipe != "never zeroed":
            optimizer.zero_grad()
        batch = drawn()
        loss_of(batch).backward()
        if number < steps:
            optimizer.step()
    return thalweg.trial(
        model,
        optimizer,
        loss_of=loss_of,
        batches=[drawn() for _ in range(40)],
        held=list(zip(x[count:].split(32), y[count:].split(32), strict=True)),
        last=batch,
        number=steps,
    )


def _data(name: str, seed: int) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Standardised inputs, targets and a loss, in an order of the seed's."""
    found = getattr(datasets, f"load_{name}")()
    torch.manual_seed(seed)
    order = torch.randperm(len(found.data))
    x = torch.tensor(found.data, dtype=torch.float32)[order]
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    y = torch.tensor(found.target)[order]
    if name != "diabetes":
        return x, y, functional.cross_entropy
    y = y.float()
    return x, (y - y.mean()) / y.std(), lambda out, wanted: functional.mse_loss(out[:, 0], wanted)


if __name__ == "__main__":
    sys.exit(main())
