"""Small pictures in folders, for the tests: bright and dark ones, with a little noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("bright", "dark")
SIDE = 10


def picture(kind: int, number: int, *, side: int = SIDE, mode: str = "L") -> Image.Image:
    """Of class 0 bright above, of class 1 bright below; no two alike."""
    source = np.random.default_rng([kind, number])
    values = source.integers(0, 60, (side, side, 3))
    half = slice(0, side // 2) if kind == 0 else slice(side // 2, side)
    values[half] += 150
    image = Image.fromarray(values.astype(np.uint8))
    return image.convert(mode)


def write_album(
    root: Path, *, count: int = 30, classes: Sequence[str] = CLASSES, first: int = 0, **looks: Any
) -> Path:
    """A folder for each class, with `count` PNGs each."""
    for kind, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            picture(kind, number, **looks).save(root / name / f"{number:03d}.png")
    return root


def write_table(path: Path, folder: str, *, count: int = 30, **looks: Any) -> Path:
    """A table that names the pictures of such folders, relative to itself."""
    write_album(path.parent / folder, count=count, **looks)
    lines = ["photo,where,size,label"]
    for number in range(count):
        for name in CLASSES:
            lines.append(f"{folder}/{name}/{number:03d}.png,{'nsew'[number % 4]},{number},{name}")
    path.write_text("\n".join(lines) + "\n")
    return path
