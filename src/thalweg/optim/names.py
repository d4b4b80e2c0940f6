"""Optimizers by name, as the command line and `minimize` know them: the class in lower case.

`momentum` and `nesterov` are names of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from thalweg.errors import UsageError
from thalweg.optim.adafactor import Adafactor
from thalweg.optim.adaptive import Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop
from thalweg.optim.modern import LAMB, Lion, Prodigy, ScheduleFreeAdamW, ScheduleFreeSGD
from thalweg.optim.muon import Muon
from thalweg.optim.muon_groups import muon_groups
from thalweg.optim.optimizer import Optimizer
from thalweg.optim.sgd import SGD


@dataclass(frozen=True, slots=True)
class Named:
    """A class, and the settings that its name stands for.

    groups: how it wants a model's parameters; None: all in one group
    """

    build: type[Optimizer]
    preset: Mapping[str, Any] = field(default_factory=dict)
    groups: Callable[[nn.Module], Any] | None = None

    def settings(self) -> dict[str, Any]:
        """Its own settings with their defaults, lr apart; pairs of betas as beta1 and beta2."""
        known: dict[str, Any] = {}
        for row in inspect.signature(self.build).parameters.values():
            default = self.preset.get(row.name, row.default)
            if row.name == "betas":
                known["beta1"], known["beta2"] = default
            elif row.name not in ("lr", "params") and isinstance(default, bool | int | float | str):
                known[row.name] = default
        return known


_CLASSES = (
    SGD,
    Adagrad,
    RMSprop,
    Adam,
    AdamW,
    Adadelta,
    Adamax,
    NAdam,
    RAdam,
    Adafactor,
    Lion,
    LAMB,
    Prodigy,
    ScheduleFreeSGD,
    ScheduleFreeAdamW,
)

OPTIMIZERS: dict[str, Named] = {
    "momentum": Named(SGD, {"momentum": 0.9}),
    "nesterov": Named(SGD, {"momentum": 0.9, "nesterov": True}),
    **{build.__name__.lower(): Named(build) for build in _CLASSES},
    "muon": Named(Muon, groups=muon_groups),
}


def make(
    name: str,
    params: Iterable[Any] | nn.Module,
    settings: Mapping[str, Any] | None = None,
    *,
    lr: float | None = None,
    clip: Any = None,
    options: Sequence[Any] = (),
) -> Optimizer:
    """The optimizer of this name over parameters, or over those of a model.

    lr: by default the class's own; settings: numbers, switches or their texts ("0.1", "true"), with
    beta1 and beta2 for betas; clip, options: as every optimizer takes them
    Raises UsageError for an unknown name or setting, or a value of the wrong kind.

    >>> import torch
    >>> make("momentum", [torch.zeros(1, requires_grad=True)], lr=0.1).param_groups[0]["momentum"]
    0.9
    """
    if name not in OPTIMIZERS:
        raise UsageError(f"optimizer {name!r} is unknown: choose one of {', '.join(OPTIMIZERS)}")
    named = OPTIMIZERS[name]
    known = named.settings()
    given: dict[str, Any] = dict(named.preset)
    for key, value in (settings or {}).items():
        if key not in known:
            has = ", ".join(known)
            raise UsageError(f"optimizer {name!r} has no setting {key!r}: it has {has} (and --lr)")
        given[key] = _read(key, value, known[key])
    if "beta1" in known:
        given["betas"] = tuple(given.pop(key, known[key]) for key in ("beta1", "beta2"))
    if lr is not None:
        given["lr"] = lr
    return named.build(arranged(name, params), clip=clip, options=options, **given)


def arranged(name: str, params: Iterable[Any] | nn.Module) -> Iterable[Any]:
    """A model's parameters as the optimizer of this name wants them; others as they are."""
    if not isinstance(params, nn.Module):
        return params
    named = OPTIMIZERS[name]
    return params.parameters() if named.groups is None else named.groups(params)


def _read(name: str, value: Any, default: Any) -> Any:
    """A setting from its text, of the kind that its default is."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    if isinstance(default, bool):
        switches = {"true": True, "1": True, "false": False, "0": False}
        if value.lower() not in switches:
            raise UsageError(f"{name} is {value!r}: it must be true or false")
        return switches[value.lower()]
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{name} is {value!r}: it must be a number") from None
