"""The schema of a table, from its training rows and from what was asked of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import polars as pl

from thalweg.errors import DataError, UsageError
from thalweg.tasks.table import dates
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.describe import (
    FREE_TEXT,
    Dropped,
    Wanted,
    describe_columns,
    notices_of,
    row_numbers,
)
from thalweg.tasks.table.given import Given
from thalweg.tasks.table.parts import Parts
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.target import (
    Target,
    describe_labels,
    describe_numbers,
    describe_target,
    is_unparted,
    labels_of,
    measured,
    rare_classes,
)
from thalweg.tasks.table.truths import truths, two_of
from thalweg.tasks.table.values import first_lost, is_understood, nearest, plain_numbers, short
from thalweg.tasks.table.wishes import Wishes, wishes_of


def learn_target(frame: pl.DataFrame, names: Sequence[str], asked: Asked) -> Target:
    """The target before the rows are split: of labels only that they are such.

    Raises DataError for one that cannot be learnt, UsageError for wishes that do not fit together.
    """
    if asked.separator:
        if len(names) > 1:
            raise UsageError(f"separator: {len(names)} targets were given, it parts only one")
        if asked.task != "auto":
            raise UsageError(f"separator: labels are no {asked.task}: leave --task out")
        return describe_labels(frame, names[0], asked.separator, np.arange(frame.height))
    if len(names) > 1:
        if asked.task == "classification":
            raise UsageError(f"{len(names)} targets were given: they must be numbers, not classes")
        return describe_numbers(frame, names)
    return describe_target(frame, names[0], asked.task)


def learn_schema(given: Given, target: Target, parts: Parts, asked: Asked) -> Schema:
    """The schema, from the training rows. Raises DataError where no column is left."""
    frame, train = given.frame, parts.rows.train
    wishes = wishes_of(asked, frame, target.names)
    _leave_groups(wishes, parts)
    features = frame.drop(target.names).drop(wishes.dropped)
    counting = row_numbers(features.head(given.num_own))
    counting = [row for row in counting if row.name not in wishes.wanted]
    features = features.drop([row.name for row in counting])
    for name, wanted in wishes.wanted.items():
        _check_kind(given.own.get_column(name), wanted)
    training = (series.gather(train) for series in features.iter_columns())
    columns, left_out = describe_columns(training, wishes.wanted, embeds=asked.embeds)
    dropped = (*wishes.dropped.values(), *counting, *left_out)
    if not columns:
        raise DataError(
            f"no column is left to learn from ({_reasons(dropped)}): "
            "give the model a column that differs from row to row"
        )
    if target.task == "multilabel":
        target = describe_labels(frame, target.name, target.separator, train)
    target = _given_target(measured(target, frame, train), asked.given.get("target"))
    return Schema(columns, dropped, target, len(train))


def _leave_groups(wishes: Wishes, parts: Parts) -> None:
    """Leave out the column whose groups share out the rows: a new group says nothing to the model.

    Unless the user said what it is.
    """
    name = parts.column
    if parts.kind == "group" and name is not None and name not in wishes.wanted:
        reason = "its groups share out the rows, and new groups are unknown"
        wishes.dropped.setdefault(name, Dropped(name, reason))


def _reasons(dropped: Sequence[Dropped]) -> str:
    """Why each column is left out; those that were asked for in one."""
    texts = [f"{row.name!r}: {row.reason}" for row in dropped if not row.is_asked]
    num_asked = len(dropped) - len(texts)
    texts += [f"{num_asked:,} left out as asked"] if num_asked else []
    return "; ".join(texts) or "there is only the target"


def schema_notices(frame: pl.DataFrame, schema: Schema, train: np.ndarray) -> tuple[str, ...]:
    """What was done with the columns that a user should know, a line each."""
    left = [row for row in schema.dropped if not row.is_asked or row.reason.startswith(FREE_TEXT)]
    asked = [row.name for row in schema.dropped if row.is_asked and row not in left]
    lines = [f"column {row.name!r} left out: {row.reason}" for row in left]
    if asked:
        shown = ", ".join(asked[:8]) + (", ..." if len(asked) > 8 else "")
        lines.append(f"left out as asked, {len(asked):,}: {shown}")
    lines += notices_of(frame, schema.columns, train)
    return (*lines, *rare_classes(frame, schema.target), *_untrained(frame, schema.target))


def _untrained(frame: pl.DataFrame, target: Target) -> list[str]:
    """A line for labels that nothing parts, and for those that stand in no training row."""
    if target.task != "multilabel":
        return []
    column, lines = frame.get_column(target.name), []
    if is_unparted(column, target.separator):
        lines.append(
            f"{target.name!r}: {target.separator!r} stands in no row, so that each has one label "
            "at most; without --separator it would be one of classes"
        )
    every = labels_of(column, target.separator).explode().drop_nulls()
    new = every.filter(~every.is_in(list(target.classes)))
    if not len(new):
        return lines
    return [
        *lines,
        f"{target.name!r}: {new.n_unique():,} labels stand in no training row, such as {new[0]!r}: "
        "they cannot be learnt, nor are they scored",
    ]


def _check_kind(series: pl.Series, wanted: Wanted) -> None:
    """Raise DataError where a column cannot be of the kind that was asked for."""
    name = series.name
    if not is_understood(series):
        raise DataError(f"column {name!r} holds {series.dtype}, which is no {wanted.kind}")
    known = series.drop_nulls()
    if len(known) == 0:
        raise DataError(f"column {name!r} is asked to be a {wanted.kind}: every value is missing")
    if wanted.kind == "number" and series.dtype == pl.String:
        row = first_lost(series, plain_numbers(series))
        if row is not None:
            raise DataError(
                f"column {name!r} is asked to be a number, but holds {series[row]!r} in row "
                f"{row + 1:,}: mend that row, or ask for mixed, --types {name}=mixed"
            )
    if wanted.kind == "boolean" and "levels" not in wanted.given:
        _check_truths(known)
    if wanted.kind != "date" or series.dtype.is_temporal():
        return
    format = wanted.given.get("format", "")
    format = format or (dates.epoch(known) if series.dtype.is_numeric() else "")
    found = dates.parsed(known, format)
    if found.null_count() == len(found):
        row = first_lost(known, found) or 0
        tried = dates.words(format) if format else ", ".join(map(dates.words, dates.FORMATS[:6]))
        raise DataError(
            f"column {name!r} is asked to be a date, but holds {known[row]!r} and the like, which "
            f"is none ({tried}): give the format, --types {name}=date:%d.%m.%Y"
        )


def _check_truths(known: pl.Series) -> None:
    """Raise DataError for values that are no two truths."""
    if not truths(known, two_of(known)).null_count():
        return
    values = known.unique(maintain_order=True)
    more = ", ..." if len(values) > 3 else ""
    raise DataError(
        f"column {known.name!r} is asked to be a boolean, which has two values, false and true, "
        f"and this one has {len(values):,} ({', '.join(map(short, values.head(3)))}{more}): ask "
        f"for another kind, --types {known.name}=category"
    )


def _given_target(target: Target, given: Mapping[str, Any] | None) -> Target:
    """The target with what a schema file says of it. Raises UsageError for another one."""
    if not given:
        return target
    if not isinstance(given, Mapping):
        raise UsageError("schema: target must be a table, [target]")
    known = tuple(row.name for row in fields(Target))
    for key in given:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"schema: target has a key {key!r}, which is unknown: {hint}")
    for key, own in (("name", target.name), ("task", target.task)):
        if given.get(key, own) != own:
            raise UsageError(
                f"schema: its target's {key} is {given[key]!r}, and {own!r} was asked for: "
                "leave the target out there, or ask for that one"
            )
    if target.task != "regression" or target.scales:
        return target
    numbers = {key: given[key] for key in ("mean", "deviation") if key in given}
    for key, value in numbers.items():
        if type(value) not in (int, float) or (key == "deviation" and value <= 0):
            raise UsageError(f"schema: the target's {key} is {value!r}: it must be a number")
    return replace(target, **numbers)
