"""Sound programs as they are written every day: networks by data by optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.healthbench.structures.parts import (
    ADAM,
    ADAMW,
    ENTROPY,
    MOMENTUM,
    RMSPROP,
    SGD,
    Batch,
    Built,
    Loss,
    Recurrent,
    Residual,
    Structure,
    Transformer,
    by_symbol,
    cancer,
    convnet,
    diabetes,
    digits,
    mlp,
    pictures,
    program,
    text,
    yes_or_no,
)

MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], list[Batch]], Loss]] = {
    "layers, digits": (partial(mlp, 64, 64, 64, 10), digits, ENTROPY),
    "layers, cancer": (partial(mlp, 30, 32, 2), cancer, ENTROPY),
    "batch norm, digits": (partial(mlp, 64, 64, 64, 10, norm=nn.BatchNorm1d), digits, ENTROPY),
    "dropout, digits": (partial(mlp, 64, 64, 10, dropout=0.5), digits, ENTROPY),
    "tanh, diabetes": (partial(mlp, 10, 32, 1, activation=nn.Tanh), diabetes, nn.MSELoss()),
    "gelu, yes or no": (
        partial(mlp, 30, 32, 1, activation=nn.GELU),
        yes_or_no,
        nn.BCEWithLogitsLoss(),
    ),
    "convnet": (convnet, pictures, ENTROPY),
    "recurrent": (Recurrent, text, by_symbol),
    "transformer": (partial(Transformer, dropout=0.1), text, by_symbol),
    "residual": (partial(Residual, 64, 10, 12), digits, ENTROPY),
}

OPTIMIZERS: dict[str, Callable[[Iterable[Any]], torch.optim.Optimizer]] = {
    "adam": ADAM,
    "adamw": ADAMW,
    "sgd": SGD,
    "momentum": MOMENTUM,
    "rmsprop": RMSPROP,
}


def _of(model: str, optimizer: str) -> Built:
    make, batches, loss = MODELS[model]
    return program(make(), batches(), loss, optimizer=OPTIMIZERS[optimizer])


ROWS = [
    Structure(f"{model}, {optimizer}", (), partial(_of, model, optimizer))
    for place, model in enumerate(MODELS)
    for turn, optimizer in enumerate(OPTIMIZERS)
    if (place + turn) % 5 < 3
]
"""Three optimizers each."""
