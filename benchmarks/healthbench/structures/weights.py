"""Programs whose inputs, first weights or depth are wrong (TW005, TW208, TW301 to TW304, TW401)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.healthbench.structures.parts import (
    ADAM,
    SGD,
    Batch,
    Built,
    Structure,
    cancer,
    convnet,
    diabetes,
    digits,
    mlp,
    pictures,
    program,
)

Make = Callable[[], Built]


@torch.no_grad()
def filled(model: nn.Module, fill: Callable[[Tensor], object]) -> nn.Module:
    """The weights of every layer set by a function that writes in place."""
    for p in model.parameters():
        if p.dim() > 1:
            fill(p)
    return model


@torch.no_grad()
def biased(model: nn.Sequential, value: float) -> nn.Sequential:
    """All biases but the head's."""
    for layer in list(model)[:-1]:
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
            layer.bias.fill_(value)
    return model


@torch.no_grad()
def negative(model: nn.Sequential) -> nn.Sequential:
    """Weights below zero, for inputs above it."""
    for layer in list(model)[:-1]:
        if isinstance(layer, nn.Linear):
            layer.weight.abs_().neg_()
            layer.bias.fill_(-0.1)
    return model


def columns(change: Callable[[Tensor], Tensor]) -> list[Batch]:
    """Digits whose columns are changed."""
    return [(change(x), y) for x, y in digits()]


def _by_size(x: Tensor) -> Tensor:
    return x * 10 ** torch.linspace(0, 4, x.shape[1])


def _with_clock(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 0] = 1.7e9 + 1000 * torch.arange(len(x))
    return x


def in_half(build: Make, lr: float) -> Built:
    """Weights in bfloat16, whose updates are less than the last digit."""
    built = build()
    model = built.model.bfloat16()
    batches = [(x.bfloat16(), y) for x, y in built.batches]
    return program(model, batches, optimizer=partial(torch.optim.AdamW, lr=lr, weight_decay=0.1))


UNSCALED: dict[str, Make] = {
    "columns of 1 to 10,000": lambda: program(mlp(64, 64, 10), columns(_by_size)),
    "a clock in seconds among the columns": lambda: program(mlp(64, 64, 10), columns(_with_clock)),
    "raw columns of cancer": lambda: program(mlp(30, 32, 2), cancer(is_raw=True), optimizer=SGD),
    "pixels of 0 to 4,080": lambda: program(
        mlp(64, 64, 10), [(x * 255, y) for x, y in digits(is_raw=True)]
    ),
}

INIT: dict[str, Make] = {
    "all weights alike": lambda: program(
        filled(mlp(64, 64, 64, 10), lambda p: nn.init.constant_(p, 0.05)), digits()
    ),
    "all weights zero": lambda: program(filled(mlp(64, 64, 10), nn.init.zeros_), digits()),
    "all weights one, tanh": lambda: program(
        filled(mlp(10, 32, 1, activation=nn.Tanh), nn.init.ones_), diabetes(), nn.MSELoss()
    ),
    "weights of size one": lambda: program(
        filled(mlp(64, 128, 128, 128, 10), nn.init.normal_), digits()
    ),
    "convolutions of size three": lambda: program(
        filled(convnet(norm=False, depth=3), lambda p: nn.init.normal_(p, std=3.0)), pictures()
    ),
    "weights of size 0.0001": lambda: program(
        filled(mlp(64, 64, 64, 64, 10), lambda p: nn.init.normal_(p, std=1e-4)), digits()
    ),
}

DEAD: dict[str, Make] = {
    "biases of -20": lambda: program(biased(mlp(64, 64, 10), -20.0), digits()),
    "convolutions with biases of -10": lambda: program(
        biased(convnet(norm=False), -10.0), pictures()
    ),
    "negative weights for positive inputs": lambda: program(
        negative(mlp(64, 64, 10)), [(x / 16, y) for x, y in digits(is_raw=True)]
    ),
}

SATURATED: dict[str, Make] = {
    "tanh behind weights 50 times as large": lambda: program(
        filled(mlp(64, 64, 64, 10, activation=nn.Tanh), lambda p: p.mul_(50)), digits()
    ),
    "sigmoid behind weights 80 times as large": lambda: program(
        filled(mlp(30, 32, 32, 2, activation=nn.Sigmoid), lambda p: p.mul_(80)), cancer()
    ),
    "tanh behind raw columns": lambda: program(
        mlp(30, 32, 2, activation=nn.Tanh), cancer(is_raw=True)
    ),
}

DEEP: dict[str, Make] = {
    "24 plain layers": lambda: program(mlp(64, *[64] * 24, 10), digits()),
    "30 plain layers, cancer": lambda: program(mlp(30, *[32] * 30, 2), cancer()),
    "20 plain convolutions": lambda: program(convnet(norm=False, depth=20), pictures()),
}

VANISHING: dict[str, Make] = {
    "12 sigmoid layers": lambda: program(
        mlp(64, *[64] * 12, 10, activation=nn.Sigmoid), digits(), optimizer=SGD
    ),
}

LOST: dict[str, Make] = {
    "bfloat16 weights, rate 0.00001": lambda: in_half(
        lambda: program(mlp(64, 64, 10), digits(), optimizer=ADAM), 1e-5
    ),
    "bfloat16 weights, rate 0.000001": lambda: in_half(
        lambda: program(mlp(30, 32, 2), cancer(), optimizer=ADAM), 1e-6
    ),
}

ROWS = [
    Structure(name, codes, build)
    for codes, group in (
        (("TW208", "TW302"), UNSCALED),
        (("TW303", "TW004", "TW005", "TW104"), INIT),
        (("TW301", "TW303"), DEAD),
        (("TW302", "TW303", "TW208"), SATURATED),
        (("TW304", "TW005"), DEEP),
        (("TW005", "TW304"), VANISHING),
        (("TW401", "TW102"), LOST),
    )
    for name, build in group.items()
]
