"""A training process that kills itself, to the outside, in the middle of its work: for the exams.

    python killed.py SOURCE FOLDER OPTIMIZER STEP [FULL]

kills itself in step STEP; from step FULL on the disk is full; 0: never.
Started again it resumes. What it computes is decided by SOURCE and OPTIMIZER alone.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
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
from thalweg.loop.step import Stepper
from thalweg.optim import make
from thalweg.rules.options import EMA
from thalweg.scale import compiled

torch.use_deterministic_algorithms(False)
"""It imports torch's compiler, for seconds: once, where this is imported, not in every process."""

SIZE, CLASSES, NUM_STEPS = 120, 3, 200
BATCH = 16


SPOILT: dict[int, float] = {}
"""Rows of the training data -> what stands there instead of the first number."""


def points() -> tuple[np.ndarray, np.ndarray]:
    """Points around three centres; the classes overlap a little."""
    source = np.random.default_rng(0)
    targets = np.arange(SIZE) % CLASSES
    return (source.normal(size=(SIZE, 4)) + targets[:, None]).astype(np.float32), targets


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """The points to train on, spoilt or not."""
    x, y = points()
    for row, value in SPOILT.items():
        x[row, 0] = value
    return x, y


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
    x, y = points()
    lines = [",".join([*(f"{v:.6f}" for v in row), "abc"[k]]) for row, k in zip(x, y, strict=True)]
    path.write_text("\n".join(["a,b,c,d,kind", *lines]) + "\n")
    return path


Weights = dict[str, torch.Tensor]

DESCENTS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "arrays": (arrays, {"batch_size": BATCH}),
    "arrays, in parts": (arrays, {"batch_size": BATCH, "accumulate": 3}),
    "dataset, 2 workers": (Jittered, {"batch_size": BATCH, "workers": 2}),
    "loader": (lambda: DataLoader(Jittered(), batch_size=BATCH, shuffle=True), {}),
    "averages": (arrays, {"batch_size": BATCH}),
    "fp16": (arrays, {"batch_size": BATCH, "precision": "fp16"}),
    "recomputed": (arrays, {"batch_size": BATCH, "recompute": True}),
    "compiled": (arrays, {"batch_size": BATCH, "compile": "on"}),
    "bf16 weights": (arrays, {"batch_size": BATCH, "precision": "bf16-weights"}),
}

AVERAGES = {"averages": (EMA(0.9),)}
"""Options of the optimizer, by source."""

COMPILED: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "compiled, inductor": (arrays, {"batch_size": BATCH, "compile": "on"}),
    "compiled, inductor, recomputed": (
        arrays,
        {"batch_size": BATCH, "compile": "on", "recompute": True},
    ),
}
"""Those that need a C++ compiler, and half a minute; in the others the graphs run as they are."""


def descend(source: str, folder: Path, optimizer: str, guard: Any = "advise") -> Weights:
    """Train by `thalweg.descend`, from the start or where it was killed."""
    make_data, settings = {**DESCENTS, **COMPILED}[source]
    model = net()
    with thalweg.descend(
        thalweg.Task(model, make_data(), validation=points()),
        make(optimizer, model, {}, options=AVERAGES.get(source, ())),
        guard=guard,
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


def fit(source: str, folder: Path, optimizer: str, guard: Any = "act") -> Weights:
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
            guard=guard,
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


def own_loop(source: str, folder: Path, optimizer: str, guard: Any = "act") -> Weights:
    """A loop of one's own with all the pieces, as docs/own_loop.md has it."""
    model = net()
    maker = make(optimizer, model, {}) if source == "own loop" else torch_adam(model)
    data = thalweg.counted(Jittered(), seed=0)
    sampler = thalweg.Sampler(len(data), seed=0)
    loader = DataLoader(data, batch_size=BATCH // 2, sampler=sampler)
    watch = thalweg.Guard(model, maker, accumulate=2, mode=guard, record=folder)
    parts: dict[str, Any] = {"model": model, "optimizer": maker, "sampler": sampler, "guard": watch}
    thalweg.load_state(folder, **parts)
    with watch:
        while watch.number < NUM_STEPS:
            for x, y in sampler.batches(loader):
                with watch.forward():
                    loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                step = watch.step(loss, weight=len(x))
                if step and step.number % 7 == 0:
                    thalweg.save(folder, **parts)
                if watch.number == NUM_STEPS:
                    break
            watch.flush()
    return model.state_dict()


def torch_adam(model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer of torch's own."""
    return torch.optim.AdamW(model.parameters(), lr=0.01)


OWN_LOOPS = ("own loop", "own loop, torch's optimizer")


Change = Callable[[torch.Tensor, list[torch.Tensor]], torch.Tensor]


def plant(number: int, change: Change, patch: Callable[..., Any] = setattr) -> None:
    """In step `number` of either loop, after each backward pass, the loss is change(loss, params).

    patch: how a method is replaced, such as pytest's monkeypatch.setattr
    """
    backward = Stepper.backward

    def planted(self: Any, batch: Any, at: int, *more: Any) -> Any:
        losses = backward(self, batch, at, *more)
        if at == number:
            params = [p for group in self.optimizer.param_groups for p in group["params"]]
            losses["loss"] = change(losses["loss"], params)
        return losses

    patch(Stepper, "backward", planted)
    step = thalweg.Guard.step

    def planted_too(self: Any, loss: torch.Tensor, **more: Any) -> Any:
        if self.number + 1 == number:
            params = [p for group in self.optimizer.param_groups for p in group["params"]]
            loss = change(loss, params)
        return step(self, loss, **more)

    patch(thalweg.Guard, "step", planted_too)


def die(loss: torch.Tensor, params: list[torch.Tensor]) -> torch.Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return loss


def train(source: str, folder: Path, optimizer: str, **more: Any) -> Weights:
    """Train from the start or where it was killed; the final weights."""
    run = fit if source in FITS else own_loop if source in OWN_LOOPS else descend
    return run(source, folder, optimizer, **more)


def fill_the_disk(loss: torch.Tensor, params: list[torch.Tensor]) -> torch.Tensor:
    """From now on no file of this process can grow."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    return loss


def main(source: str, folder: str, optimizer: str, number: str, full_at: str = "0") -> None:
    os.setsid()  # so that the exam finds what it leaves behind
    torch.set_num_threads(1)
    plant(int(number), die)
    plant(int(full_at), fill_the_disk)
    if source not in COMPILED:
        compiled.BACKEND = "aot_eager"
    if source in FITS:  # their data workers are forks, a descent's come from a fork server
        multiprocessing.set_start_method("fork", force=True)
    weights = train(source, Path(folder), optimizer)
    torch.save(weights, Path(folder).parent / f"{Path(folder).name}.pt")


# ------------------------------------------------------------ what is planted in a step


def nan_loss(loss: torch.Tensor, params: list[torch.Tensor]) -> torch.Tensor:
    return loss * float("nan")


def infinite_gradient(loss: torch.Tensor, params: list[torch.Tensor]) -> torch.Tensor:
    next(p.grad for p in params if p.grad is not None).fill_(float("inf"))
    return loss


def large_gradient(loss: torch.Tensor, params: list[torch.Tensor]) -> torch.Tensor:
    for p in params:
        if p.grad is not None:
            p.grad *= 1000.0
    return loss


def large_loss(loss: torch.Tensor, params: list[torch.Tensor]) -> torch.Tensor:
    return large_gradient(loss * 1000.0, params)


FAULTS: dict[str, Change] = {
    "NaN loss": nan_loss,
    "infinite gradient": infinite_gradient,
    "gradient x 1000": large_gradient,
    "loss x 1000": large_loss,
}

FAULT_AT, ROW = 143, 17


def faulty(
    source: str, folder: str, fault: str, value: float, patch: Callable[..., Any] = setattr
) -> None:
    """A whole run under the guard: `fault` in step FAULT_AT, or `value` in row ROW; 0: in none."""
    torch.set_num_threads(1)
    patch(compiled, "BACKEND", "aot_eager")
    patch(sys.modules[__name__], "SPOILT", {ROW: value} if value else {})
    if fault:
        plant(FAULT_AT, FAULTS[fault], patch)
    weights = train(source, Path(folder) / "run", "adamw", guard="act")
    torch.save(weights, Path(folder) / "run.pt")


def faulty_apart(source: str, folder: str, fault: str, value: float) -> None:
    """The same in a process of its own, which has not trained yet: data workers are its forks."""
    multiprocessing.set_start_method("fork", force=True)
    faulty(source, folder, fault, value)


if __name__ == "__main__":
    main(*sys.argv[1:])
