"""What pictures are like, by a sample of them: from that the one size and the colours of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from thalweg.errors import DataError
from thalweg.tasks.images.files import content_of
from thalweg.tasks.images.form import COLOURS, Shape
from thalweg.tasks.images.read import looks_of, quiet
from thalweg.tasks.images.words import LEAST_SIDE, size_of, size_text

LOOKED_AT = 200
"""Pictures that are looked at, spread over the data."""

LONGEST = 128
"""The longer side of what the model sees, at most, unless asked for."""

NEARLY_SQUARE = 1.1
"""Sides that differ by a smaller factor are made alike."""


def shape_of(paths: Sequence[str], size: str | None, source: str) -> tuple[Shape, str]:
    """The shape for all pictures, and a line about it. Raises DataError where none can be read.

    size: as asked for; None: that of the middle picture, up to LONGEST
    """
    seen = _seen(paths, source)
    middle = tuple(int(np.median(sides)) for sides in zip(*(row[:2] for row in seen), strict=True))
    sides = _fitted(*middle) if size is None else size_of(size)
    colourful = sum(row[2] for row in seen)
    shape = Shape(*sides, 3 if colourful else 1)
    is_one = len({row[:2] for row in seen}) == 1
    why = f"{'all are' if is_one else 'their middle is'} {middle[0]}x{middle[1]}"
    if size is None and sides != middle:
        why += f"; --image-size {size_text(sides[0] * 2, sides[1] * 2)} reads them finer"
    if 0 < colourful < len(seen):
        why += f"; {len(seen) - colourful:,} of {len(seen):,} that were looked at are grey"
    for odd, count in Counter(row[3] for row in seen if row[3]).items():
        why += f"; {count:,} of {len(seen):,} that were looked at {odd}"
    kind = COLOURS[shape.channels]
    return shape, f"pictures are read in {kind}, {sides[0]}x{sides[1]} ({why})"


def _seen(paths: Sequence[str], source: str) -> list[tuple[int, int, bool, str]]:
    """Width, height, colours and oddity of a sample."""
    places: list[int] = np.unique(
        np.linspace(0, len(paths) - 1, LOOKED_AT).round().astype(int)
    ).tolist()
    found, why = [], ""
    with quiet():
        for place in places:
            try:
                found.append(looks_of(content_of(paths[place])))
            except DataError as error:
                why = why or f"{paths[place]}: {error}"
    if not found:
        raise DataError(
            f"{source}: none of {len(places):,} pictures that were looked at can be read ({why}): "
            "mend or replace them"
        )
    return found


def _fitted(width: int, height: int) -> tuple[int, int]:
    """The size within LONGEST that has these proportions; nearly square ones are squares."""
    if max(width, height) < NEARLY_SQUARE * min(width, height):
        width = height = round((width * height) ** 0.5)
    scale = min(1.0, LONGEST / max(width, height))
    return max(LEAST_SIDE, round(width * scale)), max(LEAST_SIDE, round(height * scale))
