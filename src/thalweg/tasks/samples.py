"""Data that ships with a dependency, for the demo."""

from __future__ import annotations

from typing import Any

import polars as pl

from thalweg.tasks import scikit


def digits() -> pl.DataFrame:
    """Handwritten digits: 1,797 rows of 64 pixels (0 .. 16) and the column `digit`."""
    table: Any = scikit.digits()
    pixels = {name: table.data[:, i] for i, name in enumerate(table.feature_names)}
    return pl.DataFrame({**pixels, "digit": table.target})
