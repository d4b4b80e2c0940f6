"""Networks that cannot learn well: dead or saturated units, weights at the start, depth."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.healthbench.models import head_of, inner_layers
from benchmarks.healthbench.planted.row import (
    MID,
    START,
    Planted,
    anywhere,
    of_plain,
    of_relu,
)
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe, Task


def negative_biases(program: Program, amount: float) -> None:
    """So negative that hardly any sample wakes a unit."""

    @torch.no_grad()
    def act() -> None:
        for layer in inner_layers(program.model):
            assert layer.bias is not None
            layer.bias.sub_(amount)

    program.at(program.onset, act)


def kick(program: Program, amount: float) -> None:
    """One step at a rate many times as high: what is left of the network goes on."""
    usual = program.rate
    program.rate = lambda step: usual(step) * (amount if step == program.onset else 1.0)


def scaled_weights(program: Program, factor: float) -> None:
    """All hidden weights so many times as large, at the onset."""

    @torch.no_grad()
    def act() -> None:
        for layer in inner_layers(program.model):
            layer.weight.mul_(factor)

    program.at(program.onset, act)


@torch.no_grad()
def equal_weights(program: Program, value: float) -> None:
    """Every weight the same: units that are alike stay alike."""
    for name, p in program.model.named_parameters():
        if p.dim() > 1:
            nn.init.constant_(p, value if "head" not in name else value / 2)


@torch.no_grad()
def zero_weights(program: Program, _: float) -> None:
    """All of them; with ReLU no gradient reaches the hidden layers."""
    for layer in [*inner_layers(program.model), head_of(program.model)]:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def all_weights(program: Program, factor: float) -> None:
    """Every layer and the head so many times as large, or as small."""
    for p in program.model.parameters():
        if p.dim() > 1:
            p.mul_(factor)


def saturating(recipe: Recipe, _: float) -> Recipe:
    return recipe.shaped(activation="tanh", norm="none", depth=max(2, recipe.shape.depth))


def very_deep(recipe: Recipe, depth: float) -> Recipe:
    """Without a normalisation or a way past."""
    return recipe.shaped(depth=int(depth), norm="none", activation="relu", dropout=0.0)


def _in_blocks(task: Task, recipe: Recipe) -> bool:
    return task.family in ("layers", "convnet", "bag", "pretrained", "phrases")


def _not_recurrent(task: Task, recipe: Recipe) -> bool:
    return task.family != "language"


FAULTS = (
    Planted(
        *("dead-biases", ("TW301", "TW104", "TW303"), (3.0,), (10.0,)),
        plant=negative_biases,
        when=(START, MID),
        needs=of_relu,
    ),
    Planted(
        *("rate-kick", ("TW101", "TW301", "TW002", "TW003"), (100.0,), (1000.0,)),
        plant=kick,
        when=(MID,),
        needs=anywhere,
        high_rate=True,
    ),
    Planted(
        *("saturated", ("TW302", "TW303", "TW005", "TW004"), (10.0,), (50.0,)),
        recipe=saturating,
        plant=scaled_weights,
        when=(START, MID),
        needs=_in_blocks,
    ),
    Planted(
        *("equal-weights", ("TW303", "TW104"), (), (0.02, 0.1)),
        plant=equal_weights,
        needs=of_plain,
    ),
    Planted(
        *("zero-weights", ("TW303", "TW104"), (), (1.0,)),
        plant=zero_weights,
        needs=_not_recurrent,
    ),
    Planted(
        *("large-weights", ("TW303", "TW004", "TW002", "TW302"), (6.0,), (30.0,)),
        plant=all_weights,
    ),
    Planted(
        *("small-weights", ("TW303", "TW005", "TW104", "TW102"), (0.02,), (1e-3,)),
        plant=all_weights,
        needs=of_plain,
    ),
    Planted(
        *("too-deep", ("TW304", "TW005", "TW104", "TW303"), (12.0,), (20.0,)),
        recipe=very_deep,
        needs=_in_blocks,
        num=2,
    ),
)
