"""What a monitor is handed, checked: errors say what was given, and what is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from thalweg.errors import UsageError


def watched(model: Any, optimizer: Any, share: float) -> list[torch.optim.Optimizer]:
    """The optimizers of a model that is to be looked at. Raises UsageError for what is none."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"monitor's model is {given(model)}: it must be a torch.nn.Module")
    is_several = isinstance(optimizer, Iterable) and not isinstance(optimizer, nn.Module)
    optimizers: list[Any] = [*optimizer] if is_several else [optimizer]
    wrong = [each for each in optimizers if not isinstance(each, torch.optim.Optimizer)]
    if wrong or not optimizers:
        raise UsageError(
            f"monitor's optimizer is {given(*wrong)}: it must be a torch.optim.Optimizer, or a "
            "sequence of them"
        )
    if not 0 <= share <= 1:
        raise UsageError(f"share is {share!r}: it must be from 0 to 1")
    return optimizers


def given(*what: Any) -> str:
    """The first of what was given in place of something else, in a few words.

    >>> given(None), given({"lr": 1}), given()
    ('None', 'a dict', 'empty')
    """
    if not what:
        return "empty"
    is_plain = what[0] is None or isinstance(what[0], int | float)
    return repr(what[0]) if is_plain else f"a {type(what[0]).__name__}"


def measures(loss: Any, named: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """What an evaluation was given, by name; and what of it is no number, a line each.

    loss: alone, or all measures by name, or None

    >>> measures(0.3, {"accuracy": None})
    ({'loss': 0.3}, ['accuracy is None, which is no number'])
    """
    one = loss if isinstance(loss, Mapping) else {} if loss is None else {"loss": loss}
    found: dict[str, float] = {}
    wrong = []
    for name, value in {**named, **one}.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError, RuntimeError):  # the last of tensors with several numbers
            wrong.append(f"{name} is {given(value)}, which is no number")
    return found, wrong
