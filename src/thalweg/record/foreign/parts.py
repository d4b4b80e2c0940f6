"""From columns to the series of a run: which plays which part, and what stands in for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from thalweg.errors import DataError
from thalweg.record.foreign.log import (
    IN_TURNS,
    LOSS,
    LR,
    REWARDS,
    SECONDS,
    TRAIN,
    VALIDATION,
    Log,
)
from thalweg.record.foreign.names import CRITICS, MAKERS, is_of_rewards, is_players, named
from thalweg.record.foreign.points import Points, said_of
from thalweg.record.foreign.roles import (
    evaluated_loss,
    metric_of,
    parts_of,
    roles_of,
    test_loss,
)
from thalweg.record.foreign.seconds import seconds_of
from thalweg.record.foreign.texts import unnamed

_BITS = {"bpb", "bpc"}
_ERRORS = ("mse", "rmse", "mae")
_OFF = 0.05
"""Share of zeros at the head from which on a term of a loss is one that is switched on later."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of each part as the user named them; None: guessed."""

    loss: str | None = None
    validation: str | None = None
    step: str | None = None
    lr: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """By role."""
        rows = {LOSS: self.loss, VALIDATION: self.validation, LR: self.lr}
        return {role: name for role, name in rows.items() if name is not None}


def roles_in(points: Mapping[str, Points], columns: Columns, source: str) -> dict[str, str]:
    """The column of each role. Raises DataError for a column that is not there."""
    roles = roles_of({name: len(rows) for name, rows in points.items()})
    held, loss = (named(roles.get(role, "")) for role in (VALIDATION, LOSS))
    if held.has(_BITS) and loss.is_loss and not loss.has(_BITS):
        del roles[VALIDATION]
    for role, name in columns.given.items():
        own = column_named(name, list(points), source)
        roles = {other: column for other, column in roles.items() if column != own} | {role: own}
    return roles


def column_named(name: str, names: list[str], source: str) -> str:
    """A column by the name that the user gave it, in any case. Raises DataError where none is."""
    found = next((n for n in names if n.lower() == name.lower()), None)
    if name in names or found is not None:
        return name if name in names else str(found)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {shown}"
    raise DataError(f"{source} has no column {name!r} with numbers: {hint}")


def fill(log: Log, points: dict[str, Points], columns: Columns) -> None:
    """Gives a log its series and notes. Raises DataError where no column is a loss."""
    roles = roles_in(points, columns, log.source)
    _stand_in(log, points, roles)
    for role, name in roles.items():
        log.series[role] = points[name].series(name)
    _add_up(log, points, roles, columns)
    evaluated = evaluated_loss({name: len(rows) for name, rows in points.items()}, roles)
    if evaluated is not None:
        log.series[TRAIN] = points[evaluated].series(evaluated)
    main = roles.get(LOSS) or roles.get(VALIDATION)
    if main is None:
        raise unnamed(log.source, points)
    log.notes += said_of(points[main], log.unit)
    log.kind = _kind(points, main)
    log.parts = _parts_beside(points, main)
    part = "validation" if log.tool == "fastai" else "train"
    for name in sorted(points, key=lambda name: len(named(name).words)):
        known = None if name in roles.values() else metric_of(name, part)
        if known is not None:
            log.series.setdefault("_".join(known), points[name].series(name))
    seconds = seconds_of(points, main)
    if seconds is not None:
        log.series[SECONDS] = seconds
    if max(len(log.series[role]) for role in (LOSS, VALIDATION) if role in roles) < 2:
        raise DataError(f"{log.source} has one row with a loss: a curve needs two or more")


def _kind(points: Mapping[str, Points], main: str) -> str:
    """Of training whose losses do not say how it goes, in a log's columns."""
    rows = [named(name) for name in points]
    held = any(row.is_loss and row.is_held for row in rows)
    is_policy = any(row.is_loss and row.has({"policy"}) for row in rows) and not held
    if is_policy or any(is_of_rewards(name) for name in points):
        return REWARDS
    both = [is_players(rows, players) for players in (CRITICS, MAKERS)]
    return IN_TURNS if all(both) and named(main).has(CRITICS | MAKERS) else ""


def _parts_beside(points: Mapping[str, Points], main: str) -> tuple[str, ...]:
    """Other losses of most of its lines, of which the main one may be the sum."""
    like, least = named(main), 0.5 * len(points[main])
    rows = [named(name) for name in points if name != main and len(points[name]) >= least]
    alike = [row for row in rows if row.is_loss and row.is_held == like.is_held and not row.is_test]
    return tuple(row.name for row in alike if len(row.words) > len(like.words))


def _add_up(
    log: Log, points: dict[str, Points], roles: Mapping[str, str], columns: Columns
) -> None:
    """Of a training loss that is logged in parts only, their sum; then of a validation loss too."""
    counts = {name: len(rows) for name, rows in points.items()}
    for role in (LOSS, VALIDATION):
        name = roles.get(role, "")
        parts = parts_of(counts, of=name) if named(name).is_loss else [name]
        parts = [part for part in parts if part and not _comes_later(points[part])] or [name]
        rows = [points[part] for part in parts if part]
        is_one = len(rows) < 2 or any(_are_apart(each, rows[0]) for each in rows)
        if is_one or name in columns.given.values():
            break
        total = Points(rows[0].steps, np.sum([r.values for r in rows], axis=0))
        log.series[role] = total.series(" + ".join(parts))
        log.notes.append(f"no column is the whole loss: {' + '.join(parts)} is read as it")
    held = [name for name in points if named(name).is_loss and named(name).is_held]
    if role == LOSS and len(held) > 1 and VALIDATION not in columns.given:
        log.notes.append(
            f"{len(held)} columns are losses of evaluations: {roles[VALIDATION]!r} is read"
        )


def _comes_later(points: Points) -> bool:
    """Is it a term that is 0 up to some line, and switched on there?"""
    there = np.flatnonzero(points.values)
    return len(there) > 0 and there[0] > _OFF * len(points)


def _are_apart(one: Points, other: Points) -> bool:
    return not np.array_equal(one.steps, other.steps, equal_nan=True)


def _stand_in(log: Log, points: dict[str, Points], roles: dict[str, str]) -> None:
    """Where a loss is missing, another column that says as much."""
    if LOSS not in roles and VALIDATION not in roles:
        for name in list(points):
            known = metric_of(name)
            if known is None or known[1] not in ("perplexity", *_ERRORS, *_BITS):
                continue
            role = VALIDATION if known[0] == "validation" else LOSS if known[0] == "train" else ""
            if role and role not in roles:
                roles[role] = _as_loss(log, points, name, known[1])
    test = test_loss({name: len(rows) for name, rows in points.items()})
    if VALIDATION not in roles and test is not None and LOSS in roles and len(points[test]) > 1:
        roles[VALIDATION] = test
        log.notes.append(f"no validation loss is logged: {test!r} is read in its place")


def _as_loss(log: Log, points: dict[str, Points], name: str, metric: str) -> str:
    """The column that stands for a loss: an error as it is, of a perplexity the logarithm."""
    if metric != "perplexity":
        log.notes.append(f"no column is named a loss: {name!r} is read as it")
        return name
    new, rows = f"log({name})", points[name]
    with np.errstate(invalid="ignore", divide="ignore"):
        points[new] = Points(rows.steps, np.log(rows.values), rows.clock)
    log.notes.append(f"no column is named a loss: the logarithm of {name!r} is read as it")
    return new
