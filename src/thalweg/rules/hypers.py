"""Hyperparameters that several rules share: each with its range and what it means, said once."""

from __future__ import annotations

from dataclasses import replace

from thalweg.rules.rule import Hyper

_OF_MEAN = "share of the mean gradient kept each step: 0.9 remembers about 10 steps"
_OF_SQUARES = "share of the mean square kept each step: 0.999 remembers about 1,000 steps"
_OF_LOOK = "how far from z towards the average gradients are taken: 0 at z, 1 at the average"


def lr(default: float, meaning: str = "learning rate: every step is multiplied by it") -> Hyper:
    """The learning rate."""
    return Hyper("lr", default, meaning=meaning)


def betas(
    beta1: float, beta2: float, first: str = _OF_MEAN, second: str = _OF_SQUARES
) -> tuple[Hyper, Hyper]:
    """The two decays that users give as `betas`."""
    return (
        Hyper("beta1", beta1, high=1.0, key="betas", index=0, meaning=first),
        Hyper("beta2", beta2, high=1.0, key="betas", index=1, meaning=second),
    )


def eps(
    default: float, meaning: str = "keeps the divisor above 0; in the gradient's unit"
) -> Hyper:
    """What is added to a divisor."""
    return Hyper("eps", default, meaning=meaning)


def decay(default: float = 0.0) -> Hyper:
    """The pull towards 0."""
    return Hyper("weight_decay", default, meaning="pull of the parameters towards 0")


MOMENTUM = Hyper(
    "momentum", 0.9, high=1.0, meaning="share of the buffer kept each step: 0.9 sums about 10 steps"
)
DAMPENING = Hyper(
    "dampening",
    0.0,
    high=1.0,
    below=False,
    meaning="by how much a gradient after the first one counts less",
)
ALPHA = Hyper(
    "alpha",
    0.99,
    high=1.0,
    meaning="share of the mean square kept each step: 0.99 remembers about 100 steps",
)
_LOOK, BETA2 = betas(0.9, 0.999, first=_OF_LOOK)
BETA1 = replace(_LOOK, above=True)
AVERAGING = (
    Hyper("warmup_steps", 0, is_whole=True, meaning="steps over which the rate rises from 0 to lr"),
    Hyper("r", 0.0, meaning="power of the step by which its point counts: 0 counts all alike"),
    Hyper(
        "weight_lr_power", 2.0, meaning="power of the largest rate so far by which a point counts"
    ),
)

MOMENTUM_DECAY = Hyper(
    "momentum_decay",
    4e-3,
    meaning="pace at which the momentum rises from half of beta1 to all of it: 0 stays at half",
)
