"""Ways to save a state, ours and others, each as `save(folder, number)` and `load(folder)`.

`save` returns when its way says that the state is safe. `load` returns the newest number below the
folder, None where it finds none, and raises where what it finds cannot be read, or is not whole.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load as load_state
from torch.distributed.checkpoint.state_dict_saver import save as save_state

from checkpoints import facts_of, is_whole, names_in, state_of
from thalweg.state.checkpoint import clean, newest
from thalweg.state.saver import Saver

FAILURES = (Exception, CheckpointException)
"""The distributed checkpoint's is no Exception."""

SIZE = 3000
"""Elements: more than one block of the file system."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way, for a folder of its own."""

    save: Callable[[Path, int], object]
    load: Callable[[Path], int | None]


class NotSafe(Exception):
    """The way itself says that the state was not saved."""


def ours(folder: Path, number: int) -> None:
    """With `keep=1`: each save deletes the one before it."""
    lines: list[str] = []
    with Saver(folder / "run" / "checkpoints", keep=1, tell=lines.append) as saver:
        saver.save(number, state_of(number, SIZE), facts_of(number))
    if saver.acknowledged != number:
        raise NotSafe(*lines)


def ours_again(folder: Path, number: int) -> None:
    """A save of a step that is saved already: the older one is replaced."""
    lines: list[str] = []
    with Saver(folder / "checkpoints", tell=lines.append) as saver:
        saver.save(7, {"is": number, "state": torch.full((SIZE,), float(number))}, {})
    if saver.acknowledged != 7:
        raise NotSafe(*lines)


def load_ours(folder: Path) -> int | None:
    root = folder / "run" / "checkpoints"
    clean(root)
    lines: list[str] = []
    saved = newest(root, lines.append)
    assert not lines, "what a cut leaves is whole or garbage, never a candidate"
    if saved is None:
        return None
    assert is_whole(saved, SIZE)
    assert all(name.startswith("step-") for name in names_in(root)), "something was left over"
    return saved.number


def load_ours_again(folder: Path) -> int | None:
    clean(folder / "checkpoints")
    saved = newest(folder / "checkpoints", print)
    if saved is None:
        return None
    assert torch.equal(saved.tree["state"], torch.full((SIZE,), float(saved.tree["is"])))
    return saved.tree["is"]


def tensor_of(number: int) -> dict[str, Any]:
    return {"number": number, "weight": torch.full((SIZE,), float(number))}


def in_place(folder: Path, number: int) -> None:
    torch.save(tensor_of(number), folder / "last.pt")


def renamed(folder: Path, number: int) -> None:
    """To a temporary file, then renamed: atomic, but nothing is synced."""
    torch.save(tensor_of(number), folder / "last.pt.tmp")
    os.replace(folder / "last.pt.tmp", folder / "last.pt")


def lightning(folder: Path, number: int) -> None:
    """The calls of Lightning's "atomic" save, which is not installed here: to bytes, and those
    through a transaction of fsspec, that is to a temporary file which is then moved.
    """
    buffer = io.BytesIO()
    torch.save(tensor_of(number), buffer)
    system = fsspec.filesystem("file")
    with system.transaction, system.open(str(folder / "last.pt"), "wb") as file:
        file.write(buffer.getvalue())  # pyright: ignore[reportArgumentType]


def load_torch(folder: Path) -> int | None:
    if not (folder / "last.pt").exists():
        return None
    held = torch.load(folder / "last.pt", weights_only=True)
    assert torch.equal(held["weight"], torch.full((SIZE,), float(held["number"])))
    return held["number"]


def distributedly(folder: Path, number: int) -> None:
    """Torch's distributed checkpoint, a folder for each step; one process."""
    state = {"weight": torch.full((SIZE,), float(number))}
    save_state(state, checkpoint_id=folder / f"step-{number}", no_dist=True)


def load_distributedly(folder: Path) -> int | None:
    steps = sorted(folder.glob("step-*"))
    if not steps:
        return None
    state = {"weight": torch.zeros(SIZE)}
    load_state(state, checkpoint_id=steps[-1], no_dist=True)
    number = int(state["weight"][0])
    assert torch.equal(state["weight"], torch.full((SIZE,), float(number)))
    return number


OURS = {
    "a new step": Way(ours, load_ours),
    "a step again": Way(ours_again, load_ours_again),
}
OTHERS = {
    "torch.save": Way(in_place, load_torch),
    "renamed, not synced": Way(renamed, load_torch),
    "Lightning's calls": Way(lightning, load_torch),
    "torch's distributed checkpoint": Way(distributedly, load_distributedly),
}


def verdict(way: Way, folder: Path, acknowledged: int) -> str:
    """What is wrong with what a power cut left; empty where nothing is."""
    try:
        number = way.load(folder)
    except FAILURES as error:
        return f"torn: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
    if (number or 0) < acknowledged:
        return f"lost: {acknowledged} was said to be safe, and {number} is there"
    return ""
