"""How settings of pictures are written."""

from __future__ import annotations

import re

from thalweg.errors import UsageError

LEAST_SIDE, MOST_SIDE = 8, 1024

AUGMENTS = ("shift", "flip", "none")
"""flip: shift as well"""

SHIFT, FLIP, NONE = AUGMENTS


def size_text(width: int, height: int) -> str:
    """ "28" of a square, else "96x128": width and height."""
    return str(width) if width == height else f"{width}x{height}"


def size_of(text: object) -> tuple[int, int]:
    """Width and height of "28" or "96x128". Raises UsageError for anything else.

    >>> size_of("96x128"), size_of(28)
    ((96, 128), (28, 28))
    """
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(text))
    sides = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(LEAST_SIDE <= side <= MOST_SIDE for side in sides):
        raise UsageError(
            f"image-size is {text!r}: it must be a whole number, {LEAST_SIDE} .. {MOST_SIDE:,}, or "
            "WIDTHxHEIGHT such as 96x128"
        )
    return sides
