"""What the tests of checkpoints share: states that show which step they are of, and folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import xxhash

from thalweg.state.checkpoint import STATE, TENSORS, Saved
from thalweg.state.manifest import FORMAT, MANIFEST, Manifest, written
from trees import same


def state_of(number: int, size: int = 300) -> dict[str, Any]:
    """A state all of whose parts tell the same number."""
    weight = torch.full((size,), float(number))
    return {
        "phases": {"main": {"weight": weight, "tied": weight, "state": {0: weight.half() * 2}}},
        "position": (number, [number, -0.0]),
        "raw": number.to_bytes(8, "little"),
    }


def facts_of(number: int) -> dict[str, Any]:
    return {"loss": number / 3, "seed": 0}


def is_whole(saved: Saved, size: int = 300) -> bool:
    """Is it the state of its step in every part?"""
    is_fact = same(saved.facts, facts_of(saved.number))
    return is_fact and same(saved.tree, state_of(saved.number, size))


def names_in(root: Path) -> list[str]:
    """All that lies in a folder, hidden files included."""
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def seal(folder: Path, **changes: Any) -> None:
    """Make a manifest anew, as if the folder's files had been written just so."""
    files = {
        name: (
            (folder / name).stat().st_size,
            xxhash.xxh3_64_hexdigest((folder / name).read_bytes()),
        )
        for name in (TENSORS, STATE)
        if (folder / name).is_file()
    }
    manifest = Manifest(FORMAT, {"thalweg": "0.1.0"}, files)
    (folder / MANIFEST).write_bytes(written(manifest))
    if changes:
        reseal(folder, json.loads(written(manifest)) | changes)


def reseal(folder: Path, values: dict[str, Any]) -> None:
    """Write a manifest of any content, with the checksum that is right for it."""
    values.pop("xxh3", None)
    body = json.dumps(values, indent=1).removesuffix("\n}").encode() + b",\n"
    (folder / MANIFEST).write_bytes(signed(body))


def signed(body: bytes) -> bytes:
    """A manifest of any bytes, with the last line that is right for them."""
    return body + b' "xxh3": "%s"}\n' % xxhash.xxh3_64_hexdigest(body).encode()
