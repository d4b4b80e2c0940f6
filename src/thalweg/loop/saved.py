"""save and load_state: the state of a loop of one's own, by the protocol of our checkpoints."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from thalweg.errors import RunError, UsageError
from thalweg.loop.facts import differences, machine_facts
from thalweg.loop.guarded import Guard
from thalweg.loop.phase import Phase
from thalweg.loop.sampler import Sampler
from thalweg.state import checkpoint
from thalweg.state.folder import CHECKPOINTS
from thalweg.state.places import name_of
from thalweg.state.saver import Saver


@runtime_checkable
class Stateful(Protocol):
    """What has a state as torch's schedulers, scalers and loaders do."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def save(
    folder: str | os.PathLike[str],
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    sampler: Sampler | None = None,
    guard: Guard | None = None,
    keep: int = 2,
    number: int | None = None,
    **others: Stateful,
) -> Path:
    """Save all that a loop needs to go on, as a checkpoint that is whole or not there.

    folder: of the run; the checkpoint is made below its `checkpoints`, and the last `keep` stay
    number: updates so far, >= 0; by default the guard's
    others: what has a state_dict: scaler=, schedule=, loader=, ...
    Returns its folder, once it is safe from a power cut. Raises UsageError where something cannot
    be saved or written.
    """
    number = _number(number, guard)
    tree: dict[str, Any] = {"phase": Phase(model, optimizer).to_tree()}
    for name, part in (("sampler", sampler), ("guard", guard)):
        tree[name] = None if part is None else part.to_tree()
    tree["others"] = {name: part.state_dict() for name, part in others.items()}
    if guard is not None:
        guard.record.flush()
    told: list[str] = []
    with Saver(Path(folder) / CHECKPOINTS, keep=keep, tell=told.append) as saver:
        facts = {"machine": machine_facts(_device_of(model)), "optimizer": _kind(optimizer)}
        saver.save(number, tree, facts)
    if saver.acknowledged != number:
        raise UsageError(told[0])
    return Path(folder) / CHECKPOINTS / name_of(number)


def _kind(optimizer: torch.optim.Optimizer) -> str:
    """thalweg's and torch's optimizers of one name have the same state."""
    return type(optimizer).__name__


def _device_of(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _number(number: int | None, guard: Guard | None) -> int:
    if number is None and guard is None:
        raise UsageError("save needs a guard, which counts updates, or number=")
    return guard.number if number is None and guard is not None else int(number or 0)


def load_state(
    folder: str | os.PathLike[str],
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    sampler: Sampler | None = None,
    guard: Guard | None = None,
    **others: Stateful,
) -> int | None:
    """Go on where `save` was called last: the number of updates; None where nothing was saved yet.

    A checkpoint that is damaged is left out with a warning, and the one before it used. Raises
    RunError where none can be used, or it is that of another model, optimizer or sampler.
    """
    root = Path(folder) / CHECKPOINTS
    checkpoint.clean(root)
    refused: list[str] = []
    saved = checkpoint.newest(root, refused.append)
    if saved is None:
        if refused:
            raise RunError(f"{root} holds no checkpoint that can be used: {refused[0]}")
        return None
    for line in refused:
        warnings.warn(f"{line}; step {saved.number:,} is used", stacklevel=2)
    kind, own = saved.facts.get("optimizer"), _kind(optimizer)
    if kind not in (None, own):
        raise RunError(
            f"the checkpoint's optimizer is {kind}, this one {own}: bring the optimizer that the "
            "run was started with"
        )
    odd = differences(saved.facts.get("machine", {}), machine_facts(_device_of(model)))
    if odd:
        text = f"exact up to step {saved.number:,}, to rounding after: {'; '.join(odd)}"
        warnings.warn(text, stacklevel=2)
    _restore(saved.tree, model, optimizer, {"sampler": sampler, "guard": guard}, others)
    return saved.number


def _restore(
    tree: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Mapping[str, Any],
    others: Mapping[str, Stateful],
) -> None:
    if "phase" not in tree:
        raise RunError("this is a run of thalweg fit or descend: thalweg resume goes on with it")
    given = {name for name, part in parts.items() if part is not None} | others.keys()
    held = {name for name in parts if tree[name] is not None} | tree["others"].keys()
    for name in sorted(given ^ held):
        where = "the checkpoint" if name in given else "load_state"
        raise RunError(f"{where} has no {name}: give load_state what save was given")
    sampler, guard = parts["sampler"], parts["guard"]
    if sampler is not None:
        sampler.check(tree["sampler"])
    Phase(model, optimizer).restore(tree["phase"])
    for name, part in (("sampler", sampler), ("guard", guard)):
        if part is not None:
            part.restore(tree[name])
    for name, part in others.items():
        part.load_state_dict(tree["others"][name])
