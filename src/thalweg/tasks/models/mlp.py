"""A multilayer perceptron: linear layers, each normalised and rectified, then a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(
    num_inputs: int, widths: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """Layers of the given widths, each with LayerNorm before its ReLU, then a linear head.

    (n, num_inputs) -> (n, num_outputs)
    """
    layers: list[nn.Module] = []
    for before, after in pairwise([num_inputs, *widths]):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), rectifier(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_outputs))


def rectifier(dropout: float) -> nn.Module:
    """ReLU, and dropout where there is any: one module, so that names of weights stay the same."""
    return nn.Sequential(nn.ReLU(), nn.Dropout(dropout)) if dropout else nn.ReLU()
