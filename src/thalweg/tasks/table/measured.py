"""What is measured of a column's values on the training rows, and how values become inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

MOST_DEVIATIONS = 1e6
"""Standardised numbers are cut off here, beyond what a training row can reach, so that no absurd
value overflows the model.
"""


def spread(values: np.ndarray) -> dict[str, Any]:
    """What is measured of numbers, float64 (n,), where a missing one is NaN."""
    missing = np.isnan(values)
    if missing.all():
        return {"has_missing": True, "missing": 1.0}
    return {
        "mean": float(np.nanmean(values)),
        "deviation": float(np.nanstd(values)) or 1.0,
        "has_missing": bool(missing.any()),
        "low": float(np.nanmin(values)),
        "high": float(np.nanmax(values)),
        "missing": float(missing.mean()),
    }


def standard(block: np.ndarray, values: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Write standardised numbers; where they are missing, which is returned, the mean."""
    missing = np.isnan(values)
    scaled = ((values - mean) / deviation).clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
    block[:] = np.where(missing, 0.0, scaled)
    return missing


def one_hot(block: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Mark the level of each row; a missing one has none, which is returned."""
    missing = np.isnan(places)
    rows = np.flatnonzero(~missing)
    block[rows, places[rows].astype(np.int64)] = 1.0
    return missing


def counted(texts: pl.Series) -> pl.DataFrame:
    """`level` and `count` of each text that is there, by their number of rows, then by name."""
    known = texts.drop_nulls().alias("level")
    return known.value_counts().sort(["count", "level"], descending=[True, False])


def with_levels(
    texts: pl.Series,
    counts: pl.DataFrame,
    levels: tuple[str, ...] | None,
    num_rows: int,
    most: int,
) -> dict[str, Any]:
    """Levels by their number of rows, then by name, and how many rows lie outside of them.

    counts: of the texts; what stands in one row only tells how many rows hold something never seen
    (Good and Turing)
    """
    if levels is None:
        levels = tuple(counts.get_column("level").head(most).to_list())
    others = counts.filter(~pl.col("level").is_in(list(levels))).get_column("count").sum()
    single = int((counts.get_column("count") == 1).sum())
    return {
        "levels": levels,
        "has_missing": texts.null_count() > 0,
        "missing": texts.null_count() / num_rows,
        "unseen": min(1.0, (others + single) / num_rows),
    }
