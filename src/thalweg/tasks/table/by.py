"""Groups of rows by the values of one column: its words, or the quarters of its numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from thalweg.tasks.table import dates
from thalweg.tasks.table.values import as_floats, is_number, level_texts

MOST_GROUPS = 20
"""Values that have a group of their own, the most frequent ones; the rest share one."""
QUARTERS = (0.25, 0.5, 0.75)
MISSING = "missing value"


@dataclass(frozen=True, slots=True)
class Groups:
    """names: of the groups; ids: the group of each row, int64 (n,); each group has a row

    kind: values or ranges
    """

    kind: str
    names: tuple[str, ...]
    ids: np.ndarray


def groups_of(series: pl.Series) -> Groups:
    """The groups of some rows: by value, where there are few or they are texts; else by range."""
    series = _as_dates(series)
    if is_number(series) and series.dtype != pl.Boolean and series.n_unique() > MOST_GROUPS + 1:
        return _ranges(series)
    return _values(level_texts(series).alias("name"))


def _as_dates(series: pl.Series) -> pl.Series:
    """The column as dates, where its texts are; else itself."""
    found = dates.format_of(series) if series.dtype == pl.String else None
    if found is None:
        return series
    read = dates.parsed(series, found.text)
    days = read.dt.date()
    return days if (days.cast(read.dtype) == read).all() else read


def _values(texts: pl.Series) -> Groups:
    """The most frequent first, others below them, missing ones last."""
    counts = texts.drop_nulls().value_counts().sort(["count", "name"], descending=[True, False])
    names = counts.get_column("name").to_list()
    own = names[:MOST_GROUPS]
    left = len(names) - len(own)
    others = [f"other ({left:,} values)"] if left else []
    ids = texts.replace_strict(
        {name: i for i, name in enumerate(own)}, default=len(own), return_dtype=pl.Int64
    )
    is_missing = texts.is_null()
    ids = ids.set(is_missing, len(own) + len(others))
    missing = [MISSING] if is_missing.any() else []
    return Groups("values", (*own, *others, *missing), ids.to_numpy())


def _ranges(series: pl.Series) -> Groups:
    """The quarters of the numbers, each called by its lowest and highest; missing ones last."""
    numbers = as_floats(series)
    is_missing = np.isnan(numbers)
    edges = np.unique(np.quantile(numbers[~is_missing], QUARTERS, method="inverted_cdf"))
    found = np.searchsorted(edges, numbers)
    found[is_missing] = len(edges) + 1
    there, ids = np.unique(found, return_inverse=True)
    names = [
        MISSING if group > len(edges) else _between(series.filter(pl.Series(found == group)))
        for group in there
    ]
    return Groups("ranges", tuple(names), ids.reshape(-1).astype(np.int64))


def _between(series: pl.Series) -> str:
    low, high = (f"{end:g}" if isinstance(end, float) else str(end) for end in _ends(series))
    return low if low == high else f"{low} to {high}"


def _ends(series: pl.Series) -> tuple[object, object]:
    return series.min(), series.max()
