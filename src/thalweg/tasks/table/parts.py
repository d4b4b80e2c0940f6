"""Which rows train, validate and test: at random, by class, by time, by group, in folds.

Only the rows are chosen here; what is random is keyed by the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from thalweg.errors import DataError, UsageError
from thalweg.tasks.table.asked import Parting
from thalweg.tasks.table.split import (
    Split,
    check_count,
    num_of,
    rest_trains,
    split,
    spread,
)
from thalweg.tasks.table.target import find_target
from thalweg.tasks.table.times import times_of

FAR_OFF = 0.5
"""A share that groups or ties met only beyond this part of what was asked is said."""


@dataclass(frozen=True, slots=True)
class Parts:
    """rows: of each part; kind: how they were shared out; column: the one that decided

    words: what is to be said of it, a line each
    """

    rows: Split
    kind: str
    column: str | None = None
    words: tuple[str, ...] = ()


def parts_of(frame: pl.DataFrame, parting: Parting, strata: np.ndarray | None) -> Parts:
    """The parts of a table; strata: class ids of shape (rows,), None where there are no classes.

    Raises DataError where the column does not allow it, UsageError for a split that does not fit.
    """
    if parting.kind == "stratified" and strata is None:
        raise UsageError("split stratified needs classes, and the target is a number: use random")
    if parting.column is None:
        return at_random(frame.height, parting, strata)
    find_target(frame, parting.column, "split: the table")
    series = frame.get_column(parting.column)
    check_count(len(series))
    return _by_time(series, parting) if parting.kind == "time" else _by_group(series, parting)


def at_random(num_rows: int, parting: Parting, strata: np.ndarray | None) -> Parts:
    """Rows shared out by chance; each class alike where there are classes, unless asked not to."""
    strata = None if parting.kind == "random" else strata
    kind = "random" if strata is None else "stratified"
    if parting.folds is not None:
        return Parts(_fold(num_rows, parting, strata), kind)
    return Parts(_whole(num_rows, parting, strata), kind)


def _whole(num_rows: int, parting: Parting, strata: np.ndarray | None) -> Split:
    shares = {"share": parting.validation_share, "test_share": parting.test_share}
    if not any(shares.values()):
        return _all_train(num_rows)
    return split(num_rows, seed=parting.seed, strata=strata, **shares)


def _all_train(num_rows: int) -> Split:
    return Split(np.arange(num_rows), np.arange(0), np.arange(0))


def _fold(num_rows: int, parting: Parting, strata: np.ndarray | None) -> Split:
    """Every folds-th row of one random order tests; of the others some validate."""
    folds, fold = _fold_of(parting)
    check_count(num_rows)
    if num_rows < 2 * folds:
        raise DataError(f"{num_rows} rows are too few for {folds} folds: each needs at least 2")
    order = np.random.default_rng(parting.seed).permutation(num_rows)
    if strata is not None:
        order = order[np.argsort(strata[order], kind="stable")]
    is_test = np.arange(num_rows) % folds == fold - 1
    validation, _ = spread(order[~is_test], num_of(num_rows, parting.validation_share), 0)
    return rest_trains(num_rows, validation, np.sort(order[is_test]))


def _fold_of(parting: Parting) -> tuple[int, int]:
    assert parting.folds is not None
    assert parting.fold is not None
    return parting.folds, parting.fold


def _by_time(series: pl.Series, parting: Parting) -> Parts:
    """The newest rows test, those before them validate; rows of one time stay together."""
    assert parting.folds is None
    moments, counts, ids = _distinct(times_of(series))
    shares = (parting.validation_share, parting.test_share)
    needed = 1 + sum(share > 0 for share in shares)
    if len(moments) < needed:
        raise DataError(
            f"split time: column {series.name!r} has {len(moments)} distinct "
            f"{'time' if len(moments) == 1 else 'times'} in {len(series):,} rows, and rows of one "
            f"time stay together: {needed} parts need at least {needed}"
        )
    first_test = _cut(counts, num_of(len(series), shares[1]), len(moments), shares[0] > 0)
    first_validation = _cut(counts, num_of(len(series), shares[0]), first_test, False)
    rows = Split(
        np.flatnonzero(ids < first_validation),
        np.flatnonzero((ids >= first_validation) & (ids < first_test)),
        np.flatnonzero(ids >= first_test),
    )
    words = [
        _in_order(series, ids, rows),
        *_far_off(rows, parting, "rows of one time stay together"),
    ]
    return Parts(rows, "time", series.name, tuple(words))


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct values in order, how many rows have each, and each row's place among them."""
    found, ids, counts = np.unique(values, return_inverse=True, return_counts=True)
    return found, counts, ids.reshape(-1)


def _cut(counts: np.ndarray, wanted: int, end: int, is_more_before: bool) -> int:
    """Where the last times before `end` that hold about `wanted` rows begin; earlier ones stay.

    is_more_before: two parts are still to come from what is before, not one
    """
    if wanted == 0:
        return end
    held = np.cumsum(counts[:end][::-1])[: end - 1 - is_more_before]
    return end - 1 - int(np.abs(held - wanted).argmin())


def _in_order(series: pl.Series, ids: np.ndarray, rows: Split) -> str:
    """From when to when each part reaches, as it is written; ids: places of the times in order."""
    reach = []
    for name, part in _named(rows):
        if len(part):
            low, high = part[ids[part].argmin()], part[ids[part].argmax()]
            reach.append(f"{name} {series[int(low)]} to {series[int(high)]}")
    return f"split by time, column {series.name!r}: {'; '.join(reach)}"


def _named(rows: Split) -> list[tuple[str, np.ndarray]]:
    return [("train", rows.train), ("validation", rows.validation), ("test", rows.test)]


def _by_group(series: pl.Series, parting: Parting) -> Parts:
    """Whole groups in each part, so that no group stands in two."""
    if series.null_count():
        row = int(series.is_null().arg_max() or 0) + 1
        raise DataError(
            f"split group: column {series.name!r} is missing in {series.null_count():,} rows "
            f"(first: row {row:,}): name their group, or remove them"
        )
    ids = series.rank("dense").to_numpy().astype(np.int64) - 1
    counts = np.bincount(ids)
    groups = _fold_groups if parting.folds is not None else _share_groups
    _check_groups(series, counts, parting)
    validation, test = groups(counts, parting)
    rows = rest_trains(
        len(ids), np.flatnonzero(np.isin(ids, validation)), np.flatnonzero(np.isin(ids, test))
    )
    sizes = ", ".join(
        f"{len(np.unique(ids[part])):,} {name}" for name, part in _named(rows) if len(part)
    )
    words = f"split by group, column {series.name!r}: of {len(counts):,} groups {sizes}"
    far_off = _far_off(rows, parting, "groups stay together")
    return Parts(rows, "group", series.name, (words, *far_off))


def _check_groups(series: pl.Series, counts: np.ndarray, parting: Parting) -> None:
    """Raise DataError for too few groups."""
    shares = (parting.validation_share, parting.test_share)
    needed = 1 + sum(share > 0 for share in shares)
    needed = max(3, parting.folds) if parting.folds is not None else needed
    if len(counts) >= needed:
        return
    names = series.value_counts(sort=True).rows()
    shown = ", ".join(f"{name!r}: {count:,} rows" for name, count in names[:4])
    what = f"{parting.folds} folds" if parting.folds is not None else f"{needed} parts"
    raise DataError(
        f"split group: column {series.name!r} has {len(counts)} "
        f"{'group' if len(counts) == 1 else 'groups'} ({shown}), and a group stays together: "
        f"{what} need at least {needed} groups"
    )


def _share_groups(counts: np.ndarray, parting: Parting) -> tuple[np.ndarray, np.ndarray]:
    """Groups that validate and that test, picked at random until their shares are met."""
    order = np.random.default_rng(parting.seed).permutation(len(counts))
    total = int(counts.sum())
    test = _pick(
        order, counts, num_of(total, parting.test_share), 1 + bool(parting.validation_share)
    )
    left = order[~np.isin(order, test)]
    return _pick(left, counts, num_of(total, parting.validation_share), 1), test


def _pick(order: np.ndarray, counts: np.ndarray, wanted: int, to_leave: int) -> np.ndarray:
    """Groups, in order, each of which brings the rows nearer to `wanted`; at least one.

    to_leave: groups that must stay for other parts
    """
    if wanted == 0:
        return order[:0]
    picked, held = [], 0
    for group in order.tolist():
        is_nearer = counts[group] < 2 * (wanted - held)
        if is_nearer and len(picked) < len(order) - to_leave:
            picked.append(group)
            held += int(counts[group])
    return np.array(picked or [order[counts[order].argmin()]])


def _fold_groups(counts: np.ndarray, parting: Parting) -> tuple[np.ndarray, np.ndarray]:
    """Groups that validate and that test in this fold: the largest first, to the smallest fold."""
    folds, fold = _fold_of(parting)
    order = np.random.default_rng(parting.seed).permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    sizes, home = np.zeros(folds, dtype=np.int64), np.zeros(len(counts), dtype=np.int64)
    for group in order.tolist():
        home[group] = sizes.argmin()
        sizes[home[group]] += counts[group]
    test = np.flatnonzero(home == fold - 1)
    left = replace(parting, test_share=0, folds=None, fold=None, seed=parting.seed + fold)
    others = np.where(home == fold - 1, 0, counts)
    wanted = num_of(int(counts.sum()), left.validation_share)
    order = np.random.default_rng(left.seed).permutation(np.flatnonzero(others))
    return _pick(order, counts, wanted, 1), test


def _far_off(rows: Split, parting: Parting, why: str) -> list[str]:
    """A line for each share that was met badly."""
    total = sum(len(part) for _, part in _named(rows))
    asked = [("validation", parting.validation_share)]
    asked += [("test", parting.test_share if parting.folds is None else 1 / parting.folds)]
    found = {name: len(part) / total for name, part in _named(rows)}
    return [
        f"{name} has {found[name]:.1%} of the rows where {share:.1%} was asked for: {why}"
        for name, share in asked
        if abs(found[name] - share) > FAR_OFF * share
    ]
