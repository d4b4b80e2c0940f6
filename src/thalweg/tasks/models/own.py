"""A model of the user's own: an nn.Module as it is, or `module:function` that makes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from thalweg.errors import UsageError
from thalweg.tasks.callables import callable_named, called, taken


def made(name: str, known: Mapping[str, Any]) -> nn.Module:
    """What the function `module:function` returns.

    known: what it is called with, as far as it takes arguments of these names
    Raises UsageError where it is not there, fails, returns something else, or a model that has no
    place for the dropout that is known.
    """
    what = f"model {name!r}"
    function = callable_named(name, "model")
    if known.get("dropout") and not taken(function, ["dropout"]):
        raise UsageError(
            f"dropout is {known['dropout']:g}, and the function of {what} takes no argument "
            "'dropout': give it one, or leave the setting out"
        )
    model = called(function, known, what)
    if not isinstance(model, nn.Module):
        raise UsageError(f"{what} returned {model!r:.80}: it must return an nn.Module")
    return check_module(model, what=what)


def check_module(model: Any, *, what: str = "model") -> nn.Module:
    """A model of the user's own. Raises UsageError for what is no nn.Module, or trains nothing."""
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"{what} is {model!r:.80}: give an nn.Module such as nn.Linear(4, 3), or a name such "
            "as mlp:256,256"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError(
            f"{what} has no parameter to train: none at all, or requires_grad is False"
        )
    return model
