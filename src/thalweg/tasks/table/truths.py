"""Truth values in words: yes and no, in a few languages and spellings."""

from __future__ import annotations

import polars as pl

from thalweg.tasks.table.values import first_known

PAIRS = (
    ("no", "yes"),
    ("n", "y"),
    ("nein", "ja"),
    ("n", "j"),
    ("non", "oui"),
    ("no", "si"),
    ("no", "sí"),
    ("false", "true"),
    ("f", "t"),
    ("off", "on"),
    ("0", "1"),
)
"""(false, true), in small letters."""

PLAIN = ("false", "true")

_TRUTH = {word: float(i) for pair in PAIRS for i, word in enumerate(pair)}


def pair_of(series: pl.Series) -> tuple[str, str] | None:
    """The pair of words that a column of texts is made of, both of them; None for others."""
    if series.dtype != pl.String:
        return None
    if not first_known(series).str.to_lowercase().is_in(list(_TRUTH)).all():
        return None
    distinct = series.unique().drop_nulls()
    if not 2 <= len(distinct) <= 8:
        return None
    words = set(distinct.str.to_lowercase())
    return next((pair for pair in PAIRS if words == set(pair)), None)


def two_of(series: pl.Series) -> tuple[str, ...]:
    """The words of a column that is to be one of truths: a known pair, or its two in order."""
    if series.dtype == pl.Boolean or series.dtype.is_numeric():
        return PLAIN
    distinct = series.cast(pl.String).str.to_lowercase().unique().drop_nulls().sort()
    return pair_of(series) or (tuple(distinct) if len(distinct) == 2 else PLAIN)


def truths(series: pl.Series, levels: tuple[str, ...]) -> pl.Series:
    """1.0 for true, 0.0 for false, missing for a missing value and for what is neither.

    levels: (false, true); where they are one of the pairs above, any of these is understood
    """
    if series.dtype == pl.Boolean:
        return series.cast(pl.Float64)
    if series.dtype.is_numeric():
        values = series.cast(pl.Float64)
        return values.set(~values.is_in([0.0, 1.0]), None)
    if series.dtype != pl.String:
        return pl.Series(series.name, [None] * len(series), dtype=pl.Float64)
    own = {word.lower(): float(i) for i, word in enumerate(levels)}
    known = {**_TRUTH, **own} if levels in PAIRS else own
    return series.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Float64)
