"""How the tasks' rates were found: `python -m benchmarks.healthbench.grid digits`.

Each optimizer at constant rates a factor of about three apart, at the task's usual shape and batch
size, one seed; the best final validation loss (mean of the last five evaluations) wins.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from benchmarks.healthbench.loop import train
from benchmarks.healthbench.program import programmed
from benchmarks.healthbench.recipes import TASKS, Recipe, Task
from benchmarks.healthbench.sets import data_of

GRID = {
    "sgd": (3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0),
    "adam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "rmsprop": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "adagrad": (3e-3, 1e-2, 3e-2, 0.1),
    "lion": (1e-4, 3e-4, 1e-3, 3e-3),
    "muon": (1e-3, 3e-3, 1e-2, 3e-2),
}
UNSEEN_GRID = {
    "nesterov": (3e-3, 1e-2, 3e-2, 0.1),
    "nadam": (1e-3, 3e-3, 1e-2),
    "radam": (3e-3, 1e-2, 3e-2),
    "adamax": (3e-3, 1e-2, 3e-2),
    "adadelta": (0.3, 1.0, 3.0),
    "adafactor": (3e-2, 0.1, 0.3),
    "lion": (3e-4, 1e-3, 3e-3),
    "muon": (3e-3, 1e-2, 3e-2),
}
"""AdamW takes the rate of NAdam."""
FRESH_GRID = {
    "sgd": (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0),
    "adam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "rmsprop": (3e-4, 1e-3, 3e-3, 1e-2),
    "lion": (1e-4, 3e-4, 1e-3, 3e-3),
    "radam": (1e-3, 3e-3, 1e-2, 3e-2),
}
THIRD_GRID = {
    "sgd": (1e-2, 3e-2, 0.1, 0.3, 1.0),
    "adam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "rmsprop": (3e-4, 1e-3, 3e-3, 1e-2),
    "adagrad": (1e-2, 3e-2, 0.1, 0.3),
}
GRIDS = {"tuning": GRID, "held-out": GRID, "unseen": UNSEEN_GRID, "fresh": FRESH_GRID}
GRIDS["third"] = THIRD_GRID
"""By part of the bench."""


def tried(task: Task, optimizer: str, lr: float) -> float:
    """The final validation loss; infinite where there is none."""
    data = data_of(task.name)
    recipe = Recipe("grid", optimizer, lr, "constant", task.batch_size, task.steps, task.shape)
    program = programmed(task, recipe, data, 0, np.random.default_rng(0))
    last = [row["validation_loss"] for row in train(program).evaluations[-5:]]
    return float(np.nan_to_num(np.mean(last), nan=np.inf))


def main() -> None:
    """Print a table of the tasks named, or of all."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or TASKS:
        task = TASKS[name]
        print(name, f"chance {data_of(name).chance_loss:.3f}", flush=True)
        for optimizer, rates in GRIDS[task.part].items():
            if optimizer in ("lion", "muon") and task.part == "tuning":
                continue
            found = {lr: tried(task, optimizer, lr) for lr in rates}
            shown = "  ".join(f"{lr:g}: {loss:.4f}" for lr, loss in found.items())
            print(
                f"  {optimizer:8} best {min(found, key=found.__getitem__):g}   {shown}", flush=True
            )


if __name__ == "__main__":
    main()
