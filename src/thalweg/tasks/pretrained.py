"""Fine-tuning: weights to begin with, which of them stay as they are, and how far the rest moved.

A layer is what stands below one number in the names of the parameters (encoder.layer.3), or below
one name; they are counted in the order in which the model holds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from thalweg.errors import DataError, UsageError
from thalweg.tasks.models.columns import Columns

MOST_NAMES = 4


@dataclass(frozen=True, slots=True)
class Begun:
    """What a model began with.

    taken: names of its tensors that came from the file; unlike: that have another shape there;
    absent: that the file does not hold; other: that answer another target there
    unused: names of the file that the model does not have
    """

    taken: tuple[str, ...]
    unlike: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def anew(self) -> tuple[str, ...]:
        """The model's tensors that did not come from the file."""
        return (*self.unlike, *self.absent, *self.other)

    @property
    def sentence(self) -> str:
        """What was taken, and what was not, in a line."""
        left = [
            (self.unlike, "have another shape there"),
            (self.absent, "are not in it"),
            (self.other, "answer another target there"),
        ]
        more = [f"{_named(names)} {why}, and begin anew" for names, why in left if names]
        unused = [f"{_named(self.unused)} of it are not used"] if self.unused else []
        return "; ".join([f"{len(self.taken):,} tensors taken", *more, *unused])


@torch.no_grad()
def begin_with(
    model: nn.Module, weights: Mapping[str, Tensor], source: str, other: Collection[str] = ()
) -> Begun:
    """Copy what fits by name and shape into the model, but for `other`.

    Raises DataError where nothing does, naming both sides, or it is not finite.
    """
    own = model.state_dict()
    fits = [name for name in own if name in weights and own[name].shape == weights[name].shape]
    taken = [name for name in fits if name not in other]
    if not any(own[name].is_floating_point() for name in taken):
        raise DataError(
            f"{source} holds no tensor of this model: it has {_named(weights)}, and the model "
            f"{_named(own)}, by name and shape"
        )
    for name in taken:
        if not weights[name].isfinite().all():
            raise DataError(
                f"{source}: {name} holds numbers that are not finite: those weights went wrong, "
                "begin with others"
            )
        own[name].copy_(weights[name])
    unlike = [name for name in own if name in weights and name not in fits]
    return Begun(
        tuple(taken),
        tuple(unlike),
        tuple(name for name in own if name not in weights),
        tuple(name for name in fits if name in other),
        tuple(name for name in weights if name not in own),
    )


@torch.no_grad()
def copy_over(model: nn.Module, other: nn.Module, names: Iterable[str]) -> None:
    """Give a model the tensors of another one, which has the same under these names."""
    own, theirs = model.state_dict(), other.state_dict()
    for name in names:
        own[name].copy_(theirs[name])


def freeze(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Keep the parameters whose names match as they are, and the running statistics of layers whose
    parameters all do; returns their names.

    patterns: names with * for anything: encoder.*, *.bias
    Raises UsageError for a pattern that matches nothing, or where nothing is left to train.
    """
    params = dict(model.named_parameters())
    frozen: dict[str, None] = {}
    for pattern in patterns:
        found = [name for name in params if fnmatchcase(name, pattern)]
        if not found:
            near = get_close_matches(pattern, [*layers_of(model), *params], n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(
                f"freeze: {pattern!r} matches no parameter: {hint}there are {_named(params)}"
            )
        frozen |= dict.fromkeys(found)
    if not any(p.requires_grad for name, p in params.items() if name not in frozen):
        raise UsageError(
            f"freeze: all {len(params):,} parameters are kept: nothing is left to train"
        )
    for name in frozen:
        params[name].requires_grad_(False)
    for layer in model.modules():
        own = list(layer.parameters(recurse=False))
        if isinstance(layer, _NormBase) and own and not any(p.requires_grad for p in own):
            layer.eval()
    return list(frozen)


def layers_of(model: nn.Module) -> dict[str, list[str]]:
    """The names of a model's parameters by layer, in order.

    A model that stands behind the columns of a table has its own layers, and is none itself.
    """
    is_behind = isinstance(model, nn.Sequential) and isinstance(model[0], Columns)
    behind = "1." if is_behind else ""
    found: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        own = name.removeprefix(behind)
        prefix = name.removesuffix(own)
        found.setdefault(prefix + layer_of(own), []).append(name)
    return found


def layer_of(name: str) -> str:
    """The layer of a parameter, by its name.

    >>> layer_of("encoder.layer.3.attention.weight"), layer_of("head.weight"), layer_of("scale")
    ('encoder.layer.3', 'head', 'scale')
    """
    parts = name.split(".")
    for i, part in enumerate(parts[:-1]):
        if part.isdigit():
            return ".".join(parts[: i + 1])
    return ".".join(parts[:-1]) or name


@dataclass(frozen=True, slots=True)
class Shares:
    """The rate of each parameter, as a share of the run's.

    decay: factor from each layer that is trained to the one below; the last one has the whole rate
    (discriminative fine-tuning of Howard and Ruder, Universal Language Model Fine-tuning for Text
    Classification, 2018)
    anew: factor of the parameters that did not come from a file, and their names
    """

    decay: float = 1.0
    anew: float = 1.0
    names: frozenset[str] = frozenset()

    def of(self, model: nn.Module) -> dict[int, float]:
        """By the parameter's id."""
        params = dict(model.named_parameters())
        layers = [
            names
            for names in layers_of(model).values()
            if any(params[name].requires_grad for name in names)
        ]
        return {
            id(params[name]): self.decay**depth * (self.anew if name in self.names else 1.0)
            for depth, names in enumerate(reversed(layers))
            for name in names
        }


def with_shares(
    groups: Iterable[Any], model: nn.Module, lr: float, shares: Shares
) -> list[dict[str, Any]]:
    """Parameter groups, parted by their shares of the rate `lr`; the group that has it whole, whose
    rate stands for the run's, comes first.
    """
    share_of = shares.of(model)
    found: list[dict[str, Any]] = []
    for group in _as_groups(groups):
        parts: dict[float, list[Tensor]] = {}
        for p in group["params"]:
            parts.setdefault(share_of.get(id(p), 1.0), []).append(p)
        own = group.get("lr", lr)
        found += [{**group, "params": some, "lr": own * share} for share, some in parts.items()]
    return sorted(found, key=lambda group: (group["lr"] != lr, -group["lr"]))


def _as_groups(groups: Iterable[Any]) -> list[dict[str, Any]]:
    rows = list(groups)
    if rows and isinstance(rows[0], dict):
        return [{**row, "params": list(row["params"])} for row in rows]
    return [{"params": rows}]


@torch.no_grad()
def moved(model: nn.Module, start: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """How far each layer is from where it began, as a share of its norm there; None: anew."""
    params, found = dict(model.named_parameters()), []
    for layer, names in layers_of(model).items():
        known = [n for n in names if n in start and start[n].shape == params[n].shape]
        squares, begun = 0.0, 0.0
        for name in known:
            before = start[name].to(params[name].device, torch.float64)
            squares += float((params[name].double() - before).square().sum())
            begun += float(before.square().sum())
        found.append(
            {
                "layer": layer,
                "parameters": sum(params[name].numel() for name in names),
                "frozen": not any(params[name].requires_grad for name in names),
                "moved": (squares / begun) ** 0.5 if begun else None,
            }
        )
    return found


def _named(names: Iterable[str]) -> str:
    rows = list(names)
    more = f", ... ({len(rows):,} in all)" if len(rows) > MOST_NAMES else ""
    return (", ".join(rows[:MOST_NAMES]) or "none") + more
