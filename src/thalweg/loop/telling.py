"""Columns of the inputs that say the target, found in a few hundred samples."""

from __future__ import annotations

import numpy as np

from thalweg.sample_facts import Telling

FEWEST, MOST = 200, 512
"""Samples that are looked at."""

MOST_COLUMNS = 4096
MOST_CLASSES = 100
FEWEST_OF_CLASS = 8

HIT = 0.7
"""Share of a class that has its value in the column."""

PURE = 0.995
"""Share of those with the value that are of the classes it stands for."""

COVERED = 0.8
"""Share of the samples whose class has such a value."""

COPIED, MANY, ON_A_LINE, FEW_COLUMNS = 0.7, 50, 0.9999, 3


def telling_of(x: np.ndarray, y: np.ndarray, *, are_classes: bool) -> Telling | None:
    """x: (samples, columns), y: (samples,) or, for symbols, (samples, columns). None where nothing
    stands out.

    >>> y = np.arange(300) % 3
    >>> x = np.random.default_rng(0).normal(size=(300, 5))
    >>> x[:, 4] = y * 2.0 - 1
    >>> telling_of(x, y, are_classes=True)
    Telling(how='values', columns=(4,), share=1.0, samples=300)
    """
    if len(x) < FEWEST or not np.isfinite(y).all():
        return None
    x = np.where(np.isfinite(x), x, 0.0)
    if y.ndim == 2:
        return _same(x, y)
    return _values(x, y) if are_classes else _numbers(x, y)


def _same(x: np.ndarray, y: np.ndarray) -> Telling | None:
    """Of symbols: rows whose answer is the question."""
    if x.shape != y.shape or x.shape[1] < 2:
        return None
    is_varied = (x != x[:, :1]).any(1)
    share = float((x == y).all(1)[is_varied].mean()) if is_varied.any() else 0.0
    return Telling("same", (), share, len(x)) if share >= COVERED else None


def _values(x: np.ndarray, y: np.ndarray) -> Telling | None:
    """Classes that have a value of their own in some column, or share it with few others."""
    ids, counts = np.unique(y, return_counts=True)
    places = np.flatnonzero(counts >= FEWEST_OF_CLASS)
    if len(places) < 2 or len(ids) > MOST_CLASSES:
        return None
    member = y[:, None] == ids
    most = max(1, len(ids) // 10)
    found = {place: _column(x, member, counts, place, most) for place in places.tolist()}
    columns = {column for column in found.values() if column is not None}
    told = [place for place in places.tolist() if found[place] is not None]
    share = float(counts[told].sum() / len(y))
    if share < COVERED or len(told) < max(2, COVERED * len(places)):
        return None
    return Telling("values", tuple(sorted(columns)), share, len(y))


def _column(
    x: np.ndarray, member: np.ndarray, counts: np.ndarray, place: int, most: int
) -> int | None:
    """A column in which a value stands for this class, and for no more than `most` in all."""
    rows = x[member[:, place]]
    middle = np.sort(rows, axis=0)[len(rows) // 2]
    often = np.flatnonzero((rows == middle).mean(0) >= HIT)
    has = x[:, often] == middle[often]
    by_class = member.T.astype(np.float64) @ has
    is_meant = by_class >= HIT * counts[:, None]
    pure = (by_class * is_meant).sum(0) / np.maximum(1, by_class.sum(0))
    good = (pure >= PURE) & (is_meant.sum(0) <= most)
    return int(often[np.flatnonzero(good)[0]]) if good.any() else None


def _numbers(x: np.ndarray, y: np.ndarray) -> Telling | None:
    """A column that holds the number itself, or a straight line of it."""
    if len(np.unique(y)) < MANY or x.shape[1] < FEW_COLUMNS:
        return None
    near = np.abs(x - y[:, None]) <= 1e-5 * np.maximum(1e-3, np.abs(y[:, None]))
    shares = near.mean(0)
    best = int(shares.argmax())
    if shares[best] >= COPIED:
        return Telling("copy", (best,), float(shares[best]), len(y))
    spread = x.std(0) * y.std()
    varied = np.flatnonzero(spread > 0)
    if not len(varied):
        return None
    products = ((x - x.mean(0)) * (y - y.mean())[:, None]).mean(0)
    fit = np.abs(products[varied] / spread[varied])
    best = int(fit.argmax())
    is_on = fit[best] > ON_A_LINE
    return Telling("line", (int(varied[best]),), 1.0, len(y)) if is_on else None
