"""Permutation importance: how much worse the answers are when a column's values change places.

Breiman, Random Forests, 2001. All inputs of a column are shuffled together among rows of the
validation set; the model is not trained again. The interval is a jackknife's over those rows, so it
holds the chance in which rows validate as well as that of the shuffles.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import ThalwegError, UsageError
from thalweg.keys import Purpose, key
from thalweg.tasks.at_once import MOST, at_once_of
from thalweg.tasks.draws import put_back, seed_device, seed_draws
from thalweg.tasks.jackknife import without_each
from thalweg.tasks.mattered.budget import Sample, passes_of, sample_of
from thalweg.tasks.mattered.chance import FEW, LEVEL, PARTS, around, level_of_each
from thalweg.tasks.mattered.columns import blocks_of
from thalweg.tasks.mattered.headline import Measure, headline_of
from thalweg.tasks.measure import evaluating
from thalweg.tasks.sources import in_order
from thalweg.tasks.study import Study
from thalweg.tasks.task import Task
from thalweg.types import Source, Stretch


@dataclass(frozen=True, slots=True)
class Effect:
    """worse_by: of the metric, when this column is shuffled; low, high: its interval, None where
    there are too few rows; is_clear: does the interval leave out 0?
    """

    column: str
    worse_by: float
    low: float | None = None
    high: float | None = None

    @property
    def is_clear(self) -> bool:
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class Importance:
    """What was measured, and how; effects: the largest first, empty where `reason` says why

    value: of the metric on these rows, nothing shuffled; of_rows: rows that there are
    """

    metric: Measure
    value: float = float("nan")
    rows: int = 0
    of_rows: int = 0
    repeats: int = 0
    seconds: float = 0.0
    effects: tuple[Effect, ...] = ()
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """How it was measured, as it stands in the result's JSON."""
        return {
            "metric": self.metric.name,
            "rises": self.metric.rises,
            "value": self.value,
            "rows": self.rows,
            "of_rows": self.of_rows,
            "repeats": self.repeats,
            "columns": len(self.effects),
            "level": LEVEL,
            "interval": (
                "jackknife over the rows, all shuffles of a column together; those of all columns "
                "hold at once (Bonferroni)"
            ),
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
        }

    def rows_of(self) -> list[dict[str, Any]]:
        """Each column, as it stands in the result's JSON."""
        return [{**asdict(effect), "is_clear": effect.is_clear} for effect in self.effects]


def importance_of(
    study: Study, task: Task, *, seed: int, samples: int, longest: float
) -> Importance | None:
    """Of the columns of a table, or of an array (n, k); None of anything else.

    samples: rows that training saw, by which the budget is counted
    longest: seconds after which it is left where it is (a metric or model of one's own may be slow)
    """
    source = task.validation
    if source is None:
        return None
    source = source.to(task.device)
    inputs, targets, *_ = source.fetch(in_order(0, 1))
    blocks = blocks_of(study, inputs)
    if not blocks or not isinstance(targets, Tensor):
        return None
    metric = headline_of(task)
    sample = sample_of(len(source), len(blocks), passes_of(task, metric, samples))
    if sample is None:
        many = f"{len(blocks):,} columns are too many for the time that training took"
        return Importance(metric, of_rows=len(source), reason=many)
    try:
        with put_back(), _devices_own(task), evaluating(task.model), torch.no_grad():
            return _measured(Rows.of(task, metric, source, sample, seed), blocks, longest)
    except ThalwegError as error:
        return Importance(metric, of_rows=len(source), reason=str(error))


def _measured(rows: Rows, blocks: Mapping[str, slice], longest: float) -> Importance:
    start = time.perf_counter()
    effects = list(_effects(rows, blocks, start + longest))
    done = f"measured {len(effects):,} of {len(blocks):,} columns in {longest:.0f} s"
    return Importance(
        rows.metric,
        rows.value,
        len(rows.targets),
        rows.of_rows,
        rows.repeats,
        time.perf_counter() - start,
        tuple(sorted(effects, key=_size, reverse=True)),
        None if len(effects) == len(blocks) else f"{done}, as long as it may take",
    )


def _effects(rows: Rows, blocks: Mapping[str, slice], until: float) -> Iterator[Effect]:
    level = level_of_each(LEVEL, len(blocks))
    for number, (name, block) in enumerate(blocks.items()):
        if time.perf_counter() > until:
            return
        yield rows.effect(name, block, number, level)


def _size(effect: Effect) -> float:
    return -math.inf if math.isnan(effect.worse_by) else effect.worse_by


def _devices_own(task: Task) -> AbstractContextManager[None]:
    """Afterwards the device's generator is as it was."""
    device = task.device
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


class Rows:
    """The rows that are looked at, and the metric on them, nothing shuffled.

    inputs: a copy of the rows', in which one column at a time is shuffled
    without: the metric without each part of the rows; empty where there are too few
    of_rows: rows that these were taken out of
    """

    def __init__(
        self, task: Task, metric: Measure, batch: tuple[Any, ...], repeats: int, seed: int
    ):
        self.task, self.metric, self.repeats, self.seed = task, metric, repeats, seed
        self.inputs, targets, *weights = batch
        self.targets = targets.cpu()
        self.weights = weights[0].cpu() if weights else None
        self.place = torch.arange(len(self.targets)) % min(PARTS, len(self.targets))
        self.of_rows = len(self.targets)
        outputs = self._outputs()
        self.value = metric(outputs, self.targets, self.weights)
        self.without = self._without(outputs, 1)

    @classmethod
    def of(cls, task: Task, metric: Measure, source: Source, sample: Sample, seed: int) -> Rows:
        """A sample of the rows of a source, in their order."""
        chosen = np.arange(len(source))
        if sample.rows < len(source):
            draw = np.random.default_rng(key(Purpose.SHUFFLE, seed))
            chosen = np.sort(draw.choice(len(source), sample.rows, replace=False))
        batches = [
            source.fetch(Stretch(chosen[start : start + MOST], start=start))
            for start in range(0, len(chosen), MOST)
        ]
        batch = tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
        found = cls(task, metric, batch, sample.repeats, seed)
        found.of_rows = len(source)
        return found

    def effect(self, name: str, block: slice, number: int, level: float = LEVEL) -> Effect:
        """Of the column in this block of the inputs, the number-th; level: of its interval."""
        copies = [self._shuffled(block, number, repeat) for repeat in range(self.repeats)]
        outputs = torch.cat(copies)
        now = self.metric(outputs, *self._times(self.repeats))
        worse = self.metric.worsening(now, self.value)
        without = self._without(outputs, self.repeats)
        if len(without) < len(self.without):
            return Effect(name, worse)
        pairs = zip(without, self.without, strict=True)
        changes = [self.metric.worsening(now, before) for now, before in pairs]
        return Effect(name, worse, *(around(worse, changes, level) or (None, None)))

    def _shuffled(self, block: slice, number: int, repeat: int) -> Tensor:
        """The outputs where the rows have this block from other rows."""
        draw = np.random.default_rng(key(Purpose.SHUFFLE, self.seed, number, repeat))
        order = torch.from_numpy(draw.permutation(len(self.inputs))).to(self.inputs.device)
        own = self.inputs[:, block].clone()
        self.inputs[:, block] = own[order]
        outputs = self._outputs()
        self.inputs[:, block] = own
        return outputs

    def _outputs(self) -> Tensor:
        """The model's, on the CPU; what it draws of itself, it draws alike each time."""
        seed_draws(key(Purpose.SHUFFLE, self.seed))
        seed_device(key(Purpose.SHUFFLE, self.seed), self.inputs.device)
        parts = self.inputs.split(at_once_of(self.inputs))
        chunks = [self.task.outputs(self.task.model, part) for part in parts]
        if not all(isinstance(chunk, Tensor) for chunk in chunks):
            raise UsageError("the model's outputs are no tensor")
        return torch.cat([chunk.cpu() for chunk in chunks])

    def _times(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Targets and weights of so many copies of the rows."""
        targets = self.targets.repeat(count, *[1] * (self.targets.dim() - 1))
        return targets, None if self.weights is None else self.weights.repeat(count)

    def _without(self, outputs: Tensor, count: int) -> list[float]:
        """The metric without each part; none where some metric of the user's own cannot tell."""
        if len(self.targets) < FEW:
            return []
        with suppress(UsageError):
            place = self.place.repeat(count)
            return without_each(self.metric, outputs, *self._times(count), place)
        return []
