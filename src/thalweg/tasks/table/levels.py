"""Which values of a category are told apart, and how: an input each, or a learnt vector each."""

from __future__ import annotations

import polars as pl

MOST_LEVELS = 64
"""Levels of a category that get an input of their own; rarer ones share one."""

MOST_VECTORS = 50_000
"""Levels that get a vector of their own; rarer ones share one."""

LEAST_SEEN = 5
"""A level needs so many training rows for a vector of its own: fewer teach it little, and those
that share one teach what a value never seen is like.
"""

WIDEST = 64


def levels_of(counts: pl.DataFrame, *, embeds: bool) -> tuple[tuple[str, ...], int]:
    """The levels, most frequent first, and the width of their vectors: 0 is an input each.

    counts: of each value, as `counted` has them
    embeds: can the model learn vectors? It does for more than MOST_LEVELS levels.
    """
    frequent = counts.filter(pl.col("count") >= LEAST_SEEN).get_column("level")
    if embeds and len(frequent) > MOST_LEVELS:
        levels = tuple(frequent.head(MOST_VECTORS).to_list())
        return levels, width_of(len(levels))
    return tuple(counts.get_column("level").head(MOST_LEVELS).to_list()), 0


def width_of(num_levels: int) -> int:
    """The width of a category's vectors: 1.6 levels ** 0.56, the rule of fastai, up to WIDEST."""
    return min(WIDEST, round(1.6 * num_levels**0.56))
