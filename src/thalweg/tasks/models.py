"""Models by name, for tables: `linear` and `mlp:256,256`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from thalweg.errors import UsageError

SPELLING = "linear, or mlp:WIDTH,WIDTH,... such as mlp:256,256"


def build(name: str, num_inputs: int, num_outputs: int, *, seed: int) -> nn.Module:
    """The model called `name`: input of shape (n, num_inputs), output of shape (n, num_outputs).
    Its first weights are a function of the seed; torch's generator is left as it was.

    Raises UsageError for an unknown name, or a model that is too large.
    """
    widths = widths_of(name)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if not widths:
                return nn.Linear(num_inputs, num_outputs)
            return mlp(num_inputs, widths, num_outputs)
    except RuntimeError:
        raise UsageError(f"model {name!r} does not fit into memory: take smaller widths") from None


def check_module(model: Any) -> nn.Module:
    """A model of the user's own. Raises UsageError for what is no nn.Module, or trains nothing."""
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model is {model!r}: give an nn.Module such as nn.Linear(4, 3), or write {SPELLING}"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError("model has no parameter to train: none at all, or requires_grad is False")
    return model


def mlp(num_inputs: int, widths: list[int], num_outputs: int) -> nn.Sequential:
    """Layers of the given widths, each with LayerNorm before its ReLU, then a linear head."""
    layers: list[nn.Module] = []
    for before, after in pairwise([num_inputs, *widths]):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_outputs))


def widths_of(name: str) -> list[int]:
    """The hidden widths in a model's name; none for `linear`. Raises UsageError for others."""
    kind, _, text = name.partition(":")
    if name == "linear":
        return []
    parts = text.split(",")
    if kind != "mlp" or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"model {name!r} is unknown: write {SPELLING}")
    return [int(part) for part in parts]
