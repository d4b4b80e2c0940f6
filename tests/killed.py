"""A training process that kills itself, to the outside, in the middle of its work: for the exams.

    python killed.py SOURCE FOLDER OPTIMIZER STEP     kills itself in step STEP; 0: never

Started again it resumes. What it computes is decided by SOURCE and OPTIMIZER alone.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import thalweg
from thalweg.loop import step as loop_step
from thalweg.optim import make

torch.use_deterministic_algorithms(False)
"""It imports torch's compiler, for seconds: once, where this is imported, not in every process."""

SIZE, CLASSES, NUM_STEPS = 120, 3, 200
BATCH = 16


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Points around three centres; the classes overlap a little."""
    source = np.random.default_rng(0)
    targets = np.arange(SIZE) % CLASSES
    return (source.normal(size=(SIZE, 4)) + targets[:, None]).astype(np.float32), targets


class Jittered(Dataset):
    """The same points, with random augmentation from all three generators."""

    def __init__(self) -> None:
        self.x, self.y = arrays()

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        jitter = torch.randn(4) + random.gauss(0, 1) + float(np.random.randn())
        return torch.from_numpy(self.x[i]) + 0.1 * jitter, int(self.y[i])


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, CLASSES)
    )


def write_table(path: Path) -> Path:
    """The points as CSV."""
    x, y = arrays()
    lines = [",".join([*(f"{v:.6f}" for v in row), "abc"[k]]) for row, k in zip(x, y, strict=True)]
    path.write_text("\n".join(["a,b,c,d,kind", *lines]) + "\n")
    return path


DESCENTS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "arrays": (arrays, {"batch_size": BATCH}),
    "arrays, in parts": (arrays, {"batch_size": BATCH, "accumulate": 3}),
    "dataset, 2 workers": (Jittered, {"batch_size": BATCH, "workers": 2}),
    "loader": (lambda: DataLoader(Jittered(), batch_size=BATCH, shuffle=True), {}),
    "fp16": (arrays, {"batch_size": BATCH, "precision": "fp16"}),
    "bf16 weights": (arrays, {"batch_size": BATCH, "precision": "bf16-weights"}),
}


def descend(source: str, folder: Path, optimizer: str) -> dict[str, torch.Tensor]:
    """Train by `thalweg.descend`, from the start or where it was killed; the final weights."""
    make_data, settings = DESCENTS[source]
    model = net()
    with thalweg.descend(
        thalweg.Task(model, make_data(), validation=arrays()),
        make(optimizer, model, {}),
        schedule=thalweg.warmup(20) >> thalweg.cosine(),
        until=thalweg.budget(steps=NUM_STEPS),
        evaluate_every=10,
        restore_best=True,
        folder=folder,
        resume=True,
        checkpoint_every=7,
        **settings,
    ) as descent:
        for step in descent:
            descent.log(mine=step.loss)
    return model.state_dict()


def own_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1)


def regression() -> tuple[np.ndarray, np.ndarray]:
    x, y = arrays()
    return x, x[:, :1] - y[:, None].astype(np.float32)


FITS: dict[str, tuple[Callable[[], Any], Callable[[], dict[str, Any]]]] = {
    "csv": (lambda: None, lambda: {"target": "kind", "model": "mlp:16"}),
    "fit, arrays": (arrays, lambda: {"model": "mlp:16"}),
    "fit, own model": (arrays, lambda: {"model": net()}),
    "fit, own dataset": (Jittered, lambda: {"model": net(), "workers": 2}),
    "fit, averaged": (arrays, lambda: {"model": net(), "ema": 0.9}),
    "fit, own loss": (arrays, lambda: {"model": net(), "loss": own_loss}),
    "fit, mse": (regression, lambda: {"model": nn.Linear(4, 1), "loss": "mse"}),
}
"""Data (None: a CSV file) and settings of a fit."""


def fit(source: str, folder: Path, optimizer: str) -> dict[str, torch.Tensor]:
    """Train by `thalweg.fit`, or resume."""
    make_data, make_settings = FITS[source]
    torch.manual_seed(1)
    data, settings = make_data(), make_settings()
    objects = {
        name: value
        for name, value in settings.items()
        if name in ("model", "loss") and not isinstance(value, str)
    }
    table = folder.parent / "points.csv"
    if data is None and not table.exists():
        write_table(table)
    if (folder / "run.toml").exists():
        run = thalweg.resume(folder, data, **objects, quiet=True)
    else:
        run = thalweg.fit(
            table if data is None else data,
            optimizer=optimizer,
            batch_size=BATCH,
            steps=NUM_STEPS,
            patience=100,
            evaluate_every=10,
            checkpoint_every=7,
            out=str(folder.parent),
            name=folder.name,
            quiet=True,
            **settings,
        )
    return run.model.state_dict()


def own_loop(source: str, folder: Path, optimizer: str) -> dict[str, torch.Tensor]:
    """A loop of one's own with all the pieces, as docs/own_loop.md has it."""
    model = net()
    maker = make(optimizer, model, {}) if source == "own loop" else torch_adam(model)
    data = thalweg.counted(Jittered(), seed=0)
    sampler = thalweg.Sampler(len(data), seed=0)
    loader = DataLoader(data, batch_size=BATCH // 2, sampler=sampler)
    guard = thalweg.Guard(model, maker, accumulate=2, mode="act", record=folder)
    parts: dict[str, Any] = {"model": model, "optimizer": maker, "sampler": sampler, "guard": guard}
    thalweg.load_state(folder, **parts)
    with guard:
        while guard.number < NUM_STEPS:
            for x, y in sampler.batches(loader):
                with guard.forward():
                    loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                step = guard.step(loss, weight=len(x))
                if step and step.number % 7 == 0:
                    thalweg.save(folder, **parts)
                if guard.number == NUM_STEPS:
                    break
            guard.flush()
    return model.state_dict()


def torch_adam(model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer of torch's own."""
    return torch.optim.AdamW(model.parameters(), lr=0.01)


OWN_LOOPS = ("own loop", "own loop, torch's optimizer")


def die_in(number: int) -> None:
    """Kill this process with SIGKILL after the backward pass of a step, in either loop."""
    backward = loop_step.Stepper._backward

    def fatal(self: Any, batch: Any, at: int, params: Any) -> Any:
        loss = backward(self, batch, at, params)
        if at == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss

    loop_step.Stepper._backward = fatal  # type: ignore[method-assign]
    apply = thalweg.Guard._apply

    def fatal_too(self: Any) -> Any:
        if self.number + 1 == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return apply(self)

    thalweg.Guard._apply = fatal_too  # type: ignore[method-assign]


def main(source: str, folder: str, optimizer: str, number: str) -> None:
    torch.set_num_threads(1)
    die_in(int(number))
    train = fit if source in FITS else descend if source in DESCENTS else own_loop
    weights = train(source, Path(folder), optimizer)
    torch.save(weights, Path(folder).parent / f"{Path(folder).name}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
