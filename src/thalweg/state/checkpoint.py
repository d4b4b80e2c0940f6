"""Checkpoints: folders that are either whole or not there, whatever happens while they are written.

    step-00001234/  tensors.safetensors  state.json  MANIFEST.json

A checkpoint is written into a folder with another name, every file synced, the manifest last; then
that folder is synced, renamed, and the folder around it synced: only now is it said to be saved.
It is read with nothing believed: each file once, its size and checksum compared, and parsed from
the very bytes that were compared.

state.json holds `number`, `facts` and `tree` (structures of `tree.py`), `aliases`, and `tensors`:
qualified name -> [[file, offset in the whole tensor, shape], ...], of one part each so far.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import RunError, UsageError
from thalweg.state import durable
from thalweg.state.careful import (
    MOST_JSON,
    about,
    counts,
    digest,
    of_type,
    parse,
    read_whole,
    shown,
    with_keys,
)
from thalweg.state.manifest import FORMAT, MANIFEST, MOST_BYTES, Manifest, understood, written
from thalweg.state.places import beside, folders, has_manifest, name_of, number_of, reason, settle
from thalweg.state.shard import laid_out, load
from thalweg.state.tree import Packed, Tree, pack, unpack
from thalweg.version import __version__

TENSORS, STATE = "tensors.safetensors", "state.json"

Files = dict[str, tuple[int, str]]
"""Size and xxh3 by name."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a checkpoint holds: the step's number, the state, and facts about the run."""

    number: int
    tree: Tree
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be written, taken apart already: nothing in it can be refused any more."""

    number: int
    packed: Packed
    state: bytes

    @classmethod
    def of(cls, number: int, tree: Tree, facts: Mapping[str, Any]) -> Content:
        """Raises UsageError where something cannot be saved, and names it."""
        if type(number) is not int or not 0 <= number < 10**18:
            raise UsageError(f"step number {shown(number)}: a checkpoint's is an integer from 0 on")
        if sys.byteorder != "little":
            raise UsageError("a checkpoint holds little-endian numbers, and this machine has none")
        packed, said = pack(tree), pack(dict(facts))
        for name in said.tensors:
            raise UsageError(f"fact {shown(name)} is a tensor or bytes: put it into the tree")
        state = _state(number, packed, said.structure)
        if len(state) > MOST_JSON:
            raise UsageError(
                f"the state has {len(state)} bytes of text, numbers and names, and a checkpoint "
                f"takes {MOST_JSON}: keep long lists as tensors"
            )
        return cls(number, packed, state)


def write(root: str | os.PathLike[str], number: int, tree: Tree, facts: Mapping[str, Any]) -> Path:
    """Save a tree as `root`/step-<number>; when this returns, a power cut cannot undo it.

    A checkpoint of the same number is replaced. One process at a time may write below `root`,
    which is made where missing. The files are read back before the checkpoint gets its name (as a
    rule from the system's memory: this finds a fault on the way there, not one of the disk).
    Raises UsageError where something in the tree cannot be saved or the place cannot be written;
    what was there before is then there still, and nothing else is.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read(write(folder, 7, {"weight": torch.ones(2), "lr": 0.1}, {"seed": 0}))
    Saved(number=7, tree={'weight': tensor([1., 1.]), 'lr': 0.1}, facts={'seed': 0})
    """
    return write_content(root, Content.of(number, tree, facts))


def write_content(root: str | os.PathLike[str], content: Content) -> Path:
    """What `write` does, of a tree taken apart before."""
    place = Path(root) / name_of(content.number)
    part = beside(place, "part")
    try:
        durable.make_folders(place.parent)
        settle(place.parent)
        try:
            _check_files(part, _fill(part, content))
            _publish(part, place)
        except BaseException:
            with suppress(OSError):
                durable.remove(part)
            raise
    except (OSError, ValueError) as error:
        raise UsageError(f"{place} cannot be written: {reason(error)}") from None
    return place


def _fill(folder: Path, content: Content) -> Files:
    """Write all files, the manifest last; returns their sizes and checksums, its own included."""
    files: Files = {}

    def put(name: str, parts: Iterator[bytes | memoryview], size: int) -> None:
        files[name] = (size, durable.write_file(folder / name, parts, size))

    durable.make_folder(folder)
    put(TENSORS, *laid_out(content.packed.tensors))
    put(STATE, iter([content.state]), len(content.state))
    manifest = written(Manifest(FORMAT, _versions(), files))
    put(MANIFEST, iter([manifest]), len(manifest))
    durable.sync_folder(folder)
    return files


def _publish(part: Path, place: Path) -> None:
    """Give a written folder its name; on failure, one that was there keeps its own or can be found.

    A file system may fail because its server crashed, and go on with names as they were before:
    nothing is moved or deleted that could be the older checkpoint.
    """
    old = beside(place, "old")
    is_there = os.path.lexists(place)
    if is_there:
        durable.rename(place, old)
    try:
        durable.rename(part, place)
        durable.sync_folder(place.parent)
    except BaseException:
        with suppress(OSError):
            if not is_there:
                durable.rename(place, part)
            elif not os.path.lexists(place):
                durable.rename(old, place)
        raise
    with suppress(OSError):  # the new one is safe; what stays of the old one goes with the next
        durable.remove(old)


def _state(number: int, packed: Packed, facts: Any) -> bytes:
    values = {
        "number": number,
        "facts": facts,
        "tree": packed.structure,
        "aliases": packed.aliases,
        "tensors": {
            name: [[TENSORS, [0] * tensor.ndim, list(tensor.shape)]]
            for name, tensor in packed.tensors.items()
        },
    }
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode()


def _versions() -> dict[str, str]:
    return {"thalweg": __version__, "torch": torch.__version__, "python": sys.version.split()[0]}


def read(path: str | os.PathLike[str]) -> Saved:
    """What a checkpoint holds, its tensors on the CPU.

    Raises RunError where anything is not as it was written, or was written in another format.
    """
    path = Path(path)
    with _refusals(path):
        files = _manifest(path).files
        raw, found = read_whole(path / STATE, MOST_JSON, files[STATE][0])
        _compare(STATE, found, files)
        tensors, found = load(path / TENSORS, files[TENSORS][0])
        _compare(TENSORS, found, files)
        with about(STATE):
            return _saved(parse(raw, "it"), tensors, number_of(path))


def verify(path: str | os.PathLike[str]) -> None:
    """Read a checkpoint's files for their sizes and checksums alone. Raises RunError as `read`."""
    path = Path(path)
    with _refusals(path):
        _check_files(path, _manifest(path).files)


def _check_files(path: Path, files: Mapping[str, tuple[int, str]]) -> None:
    for name in files:
        _compare(name, digest(path / name, files[name][0]), files)


def _compare(name: str, found: str, files: Mapping[str, tuple[int, str]]) -> None:
    """Is a file of the right size, with the checksum that was found, the one that was written?"""
    if found != files[name][1]:
        raise ValueError(f"{name} is damaged (its checksum differs)")


def _manifest(path: Path) -> Manifest:
    """The manifest of a folder that holds a checkpoint of this format."""
    number_of(path)
    if path.is_symlink():
        raise ValueError("it is a link, and links are not followed")
    if not path.is_dir():
        raise ValueError("it is no folder" if path.exists() else "it is not there")
    manifest = understood(read_whole(path / MANIFEST, MOST_BYTES)[0])
    if manifest.format != FORMAT:
        author = shown(manifest.versions.get("thalweg", "unknown"))
        raise ValueError(
            f"it is of format {shown(manifest.format)}, written by thalweg {author}, and thalweg "
            f"{__version__} reads format {FORMAT}: read it with the version that wrote it"
        )
    if manifest.files.keys() != {TENSORS, STATE}:
        raise ValueError(f"its files are not {STATE} and {TENSORS}: {shown(list(manifest.files))}")
    return manifest


def _saved(state: dict[str, Any], tensors: dict[str, Tensor], number: int) -> Saved:
    with_keys(state, "number facts tree aliases tensors", "it")
    if of_type(state["number"], int, "the step's number") != number:
        raise ValueError(f"it holds step {shown(state['number'])}: was the folder renamed?")
    _check_parts(of_type(state["tensors"], dict, "the table of tensors"), tensors)
    aliases = of_type(state["aliases"], dict, "the table of tied tensors")
    for name, stored in aliases.items():
        if name in tensors or of_type(stored, str, "a tied tensor") not in tensors:
            raise ValueError(f"tensor {shown(name)} cannot be tied to {shown(stored)}")
    facts = unpack(Packed(state["facts"]))
    tree = unpack(Packed(state["tree"], tensors, aliases))
    return Saved(number, tree, of_type(facts, dict, "the table of facts"))


def _check_parts(table: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Is every tensor one part, at the start of the whole tensor, and the table about no other?"""
    for name in sorted(table.keys() ^ tensors.keys()):
        raise ValueError(f"tensor {shown(name)} stands in only one of {STATE} and {TENSORS}")
    for name, parts in table.items():
        what = f"the place of tensor {shown(name)}"
        if len(of_type(parts, list, what)) != 1 or len(of_type(parts[0], list, what)) != 3:
            raise ValueError(f"{what} is {shown(parts)}, which is not one part")
        file, offset, shape = parts[0]
        is_right = counts(shape, what) == list(tensors[name].shape)
        if file != TENSORS or counts(offset, what) != [0] * len(shape) or not is_right:
            raise ValueError(f"{what} is {shown(parts)}, which is not what {TENSORS} holds")


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Inside, whatever goes wrong refuses the checkpoint in one line."""
    try:
        yield
    except (ValueError, OSError, MemoryError, RuntimeError, OverflowError) as error:
        raise RunError(f"checkpoint {path} cannot be used: {reason(error)}") from None


def every(root: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints below `root`, newest first: those whose manifest is whole.

    Their other files are not looked at; `newest` and `verify` do.
    """
    return [path for path in folders(Path(root)) if has_manifest(path)]


def newest(root: str | os.PathLike[str], tell: Callable[[str], object]) -> Saved | None:
    """The newest checkpoint that is as it was written; None where there is none.

    Of each one that is left out, `tell` is told in one line which, and why.
    """
    for path in folders(Path(root)):
        try:
            return read(path)
        except RunError as error:
            tell(f"left out: {error}")
    return None


def clean(root: str | os.PathLike[str]) -> None:
    """Delete what interrupted saves left: unfinished folders, and those without a whole manifest.

    To be called while nobody saves below `root`. Checkpoints of another format stay. Raises
    RunError where something cannot be deleted.
    """
    root = Path(root)
    try:
        settle(root)
        for path in folders(root):
            if path.is_dir() and not path.is_symlink() and not has_manifest(path):
                durable.remove(path)
    except (OSError, RecursionError) as error:
        raise RunError(f"{root} cannot be tidied up: {reason(error)}") from None
