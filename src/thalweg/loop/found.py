"""What a run's folder holds to go on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from thalweg.errors import RunError
from thalweg.state import checkpoint
from thalweg.state.checkpoint import Saved
from thalweg.state.folder import CHECKPOINTS
from thalweg.state.places import name_of, number_of


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in a run's folder: the state to go on from, if any, and what was left out."""

    folder: Path
    saved: Saved | None
    refused: tuple[str, ...] = ()


def found_in(folder: Path, step: int | None = None) -> Found:
    """The checkpoint of a step, by default the newest that is whole; nothing is written.

    Raises RunError where every checkpoint is damaged, or that of the step is, or is not kept.
    """
    root = folder / CHECKPOINTS
    if step is not None:
        kept = sorted(number_of(path) for path in checkpoint.every(root))
        if step not in kept:
            there = ", ".join(map(str, kept)) or "none at all"
            raise RunError(f"step {step} of {folder} is not kept: its checkpoints are of {there}")
        return Found(folder, checkpoint.read(root / name_of(step)))
    refused: list[str] = []
    saved = checkpoint.newest(root, refused.append)
    if saved is None and refused:
        raise RunError(f"{root} holds no checkpoint that can be used: {refused[0]}")
    return Found(folder, saved, tuple(refused))
