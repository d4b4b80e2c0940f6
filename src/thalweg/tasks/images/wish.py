"""What is asked of pictures besides what is asked of any table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from thalweg.tasks.images.words import SHIFT


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """size: as the setting image-size has it; None: by the data. augment: of AUGMENTS; None: by
    default

    threads: that decode; 0: one for each processor; tell: hears of progress
    """

    size: str | None = None
    augment: str | None = None
    threads: int = 0
    tell: Callable[[str], None] = _silent

    @property
    def augmentation(self) -> str:
        """That which is used."""
        return self.augment or SHIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """A table of pictures, before any is decoded.

    frame: with the target, and whatever else a split needs; paths: of the rows' files
    column: that holds them; empty where folders are the classes
    validation, test: rows of their own, as such; notices: what was found, a line each
    """

    frame: pl.DataFrame
    paths: tuple[str, ...]
    column: str = ""
    validation: Album | None = None
    test: Album | None = None
    notices: tuple[str, ...] = field(default=())
