"""What a run that goes on does otherwise: more steps, or for a child other settings.

All of it is about settings, as pure functions; `resume` carries it out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from thalweg.errors import UsageError
from thalweg.jobs import defaults
from thalweg.jobs.settings import Settings
from thalweg.loop.batches import num_batches
from thalweg.loop.stopping import Pace, budget
from thalweg.scale.precision import FLOAT32, PRECISIONS
from thalweg.state.state import State
from thalweg.tasks.table.usual import EMA

BUDGETS = ("epochs", "steps", "time")

FIXED = {
    "data": "other data makes another run",
    "target": "another target makes another run",
    "task": "another task makes another run",
    "separator": "other labels make another run",
    "columns": "other columns make another run",
    "drop": "other columns make another run",
    "types": "other columns make another run",
    "schema": "other columns make another run",
    "image_size": "pictures of another size make another run",
    "augment": "it is a part of the data that the run sees",
    "model": "another model has other weights",
    "loss": "another loss makes another run",
    "init": "other weights make another run",
    "layer_decay": "its optimizer has a group for each layer",
    "label_smoothing": "another loss makes another run",
    "quantiles": "another loss makes another run",
    "weights": "other weights make another run",
    "class_weights": "other weights make another run",
    "metric": "it decided which weights are best so far",
    **dict.fromkeys(
        ("validation_share", "test_share", "validation", "test", "split", "folds", "fold"),
        "a child must not train on its parent's test rows",
    ),
    "seed": "it decides which rows are trained on, and a child must not train on its test rows",
    "out": "give --out",
    "name": "give --name",
}
"""Settings that a child shares with its parent, and why."""

MUCH_LARGER = 4
"""Batches of so many times the samples: the noise of their gradients is half of what it was."""

STORED_OTHERWISE = {row.name for row in PRECISIONS.values() if row.weights is not None}
"""Precisions in which the weights themselves are of another type."""


@dataclass(frozen=True, slots=True)
class Longer:
    """By how much a budget grows: epochs or steps, one of them."""

    epochs: float | None = None
    steps: int | None = None

    @classmethod
    def of(cls, epochs: Any, steps: Any) -> Longer | None:
        """From "+20"; None where neither was asked for. Raises UsageError for anything else."""
        if epochs is not None and steps is not None:
            raise UsageError("--epochs and --steps were both given: give one of them")
        if steps is not None:
            return cls(steps=int(_more("steps", steps, r"\+(\d+)", 500)))
        if epochs is not None:
            return cls(epochs=_more("epochs", epochs, r"\+(\d+(?:\.\d+)?)", 20))
        return None


def _more(name: str, given: Any, pattern: str, example: int) -> float:
    found = re.fullmatch(pattern, given.strip()) if isinstance(given, str) else None
    if found is None or float(found[1]) == 0:
        shown = str(given).lstrip("+-") or example
        raise UsageError(
            f"{name} is {given!r}: a run is trained longer by so many more, with a plus before "
            f"the number: {name} +{shown if str(shown).isdecimal() and int(shown) else example}"
        )
    return float(found[1])


@dataclass(frozen=True, slots=True)
class Size:
    """Training rows, and how many of them a gradient sees."""

    rows: int
    batch_size: Any

    @property
    def per_epoch(self) -> int:
        return num_batches(self.rows, self.batch_size)

    def horizon(self, settings: Settings) -> int | None:
        """The steps that settings plan for; None where a clock alone ends the run."""
        if settings.horizon is not None:
            return settings.horizon
        if settings.epochs is None and settings.steps is None:
            return None
        size = self.rows if self.batch_size == "full" else min(self.batch_size, self.rows)
        pace = Pace(self.per_epoch, size, self.rows)
        return budget(steps=settings.steps, epochs=settings.epochs).horizon(pace)


def grown(settings: Settings, longer: Longer, size: Size, *, taken: int) -> Settings:
    """The settings of a run whose budget is larger; its schedule is planned anew.

    A run that ended by steps or by a clock is from now on counted in steps.
    taken: steps so far, which count where no horizon is known
    """
    planned = size.horizon(settings) or taken
    more = longer.steps or round((longer.epochs or 0.0) * size.per_epoch)
    is_counted = settings.epochs is not None and settings.steps is None and settings.time is None
    if is_counted and longer.epochs is not None and settings.epochs is not None:
        found = replace(settings, epochs=settings.epochs + longer.epochs)
    else:
        found = replace(settings, steps=planned + more, epochs=None)
    horizon = settings.horizon if settings.time is None else None
    horizon = None if horizon is None else horizon + more
    return replace(found, time=None, horizon=horizon, warmup=_warmup(settings, planned))


def _warmup(settings: Settings, planned: int) -> int | None:
    """A warm-up of the default share stays that share."""
    is_default = settings.warmup == round(defaults.WARMUP * planned)
    return None if is_default else settings.warmup


def changed(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a child, by name: its parent's with those that were set.

    What was chosen because of a setting that is changed now (the other budgets; the rate, the
    schedule and the mean of the weights of another optimizer) is left to the defaults, unless it is
    set as well.
    Raises UsageError for a setting that a child cannot change.
    """
    for name in given:
        if name in FIXED:
            raise UsageError(f"{name} cannot be set for a child: {FIXED[name]}")
    Settings.check_names(given)
    before, now = (row.get("precision", FLOAT32.name) for row in (known, {**known, **given}))
    if before != now and {before, now} & STORED_OTHERWISE:
        raise UsageError(
            f"precision cannot be set from {before} to {now} for a child: its weights are stored "
            "in another type: start a new run"
        )
    found = {name: value for name, value in known.items() if name not in _outdated(known, given)}
    return {**found, **given}


def _outdated(known: Mapping[str, Any], given: Mapping[str, Any]) -> set[str]:
    """Settings that had another reason than the user's wish, and it holds no more."""
    names: set[str] = set()
    if given.keys() & set(BUDGETS):
        names |= {*BUDGETS, "horizon"}
    if has_new_optimizer(known, given):
        old = str(known["optimizer"]).partition(":")[0]
        names |= {"lr"}
        names |= {"schedule"} if known.get("schedule") == defaults.schedule(old) else set()
        names |= {"ema"} if known.get("ema") == EMA else set()
    if "schedule" in given:
        wanted = Settings.of({"schedule": given["schedule"]})
        names |= {"warmup"} if wanted.parsed_schedule.warms_up else set()
    return names


def has_new_optimizer(known: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Is it another optimizer, and not only another hyperparameter of the same?"""
    old, new = (str(row.get("optimizer", "")).partition(":")[0] for row in (known, given))
    return "optimizer" in given and old != new


def begins_afresh(known: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Does the optimizer forget its states? Of another optimizer, or of far noisier gradients.

    Adam's second moments of single samples would keep the steps of batches short for a thousand
    steps.

    >>> begins_afresh({"batch_size": 2}, {"batch_size": 32})
    True
    """
    sizes = [row.get("batch_size") for row in (known, given)]
    before, now = (size if type(size) is int else 0 for size in sizes)
    return has_new_optimizer(known, given) or 0 < MUCH_LARGER * before <= now


def in_words(known: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """What is changed: "lr was 0.001, is 0.0001"."""
    rows = [f"{name} was {known.get(name, 'by default')}, is {given[name]}" for name in given]
    if begins_afresh(known, given):
        rows.append("the optimizer's states begin afresh")
    return "; ".join(rows)


def planned_from(state: State, settings: Settings, size: Size) -> int | None:
    """The horizon of a child whose epochs have another number of steps from here on.

    None where it is not counted in epochs alone.
    """
    if settings.epochs is None or settings.horizon or settings.time is not None:
        return None
    whole, left = divmod(settings.epochs - state.epoch, 1)
    rows = size.rows - state.cursor
    steps = num_batches(rows, size.batch_size) + (int(whole) - 1) * size.per_epoch
    steps += round(left * size.per_epoch)
    known = state.number + max(1, steps)
    return known if settings.steps is None else min(known, settings.steps)


def at_an_epoch(state: State, size: Size) -> State:
    """The state with its place at which a batch of the new size can begin.

    The exact gradient of the whole set starts with the next epoch, and so does a single row that
    would be left alone.
    """
    is_single = size.rows - state.cursor == 1 and size.batch_size != 1
    if state.cursor and (size.batch_size == "full" or is_single):
        return replace(state, epoch=state.epoch + 1, cursor=0)
    return state
