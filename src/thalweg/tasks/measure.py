"""Looking without learning: outputs, mean loss and metrics of a model on a set."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.errors import DataError
from thalweg.keys import Purpose, key
from thalweg.tasks.at_once import at_once
from thalweg.tasks.batch_loss import summed
from thalweg.tasks.draws import put_back, seed_device
from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.sources import Part, in_order, whole_of
from thalweg.tasks.streams import size_of
from thalweg.tasks.task import Task
from thalweg.tasks.text.windows import Windows
from thalweg.types import Source

MOST_BYTES, MOST_PICTURES = 1 << 16, 1000
"""Of a plain text and of pictures that were learnt from, as many as are scored at the end."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a set, all on the CPU.

    values: mean loss and metrics by name
    losses: (n,), whose mean is the mean loss, each with its weight; None where the loss cannot tell
    outputs, targets: all of them where metrics were measured, else None; weights: (n,) or None
    """

    values: dict[str, float]
    losses: Tensor | None
    outputs: Tensor | None
    targets: Tensor | None
    weights: Tensor | None


class Gathered:
    """One tensor on the CPU out of chunks, which are written where they belong as they come.

    Kept until the end each small result would stand in the way of the next large buffer: of a
    million rows more than a gigabyte was held that way.

    count: samples in all
    """

    def __init__(self, count: int):
        self._count = count
        self._found: Tensor | None = None
        self._filled = 0

    def add(self, chunk: Tensor) -> None:
        """The next samples' rows, (n, ...)."""
        if self._found is None:
            self._found = torch.empty(self._count, *chunk.shape[1:], dtype=chunk.dtype)
        self._found[self._filled : self._filled + len(chunk)] = chunk
        self._filled += len(chunk)

    @property
    def all(self) -> Tensor:
        """What was added."""
        assert self._found is not None
        return self._found[: self._filled]


def measure(task: Task, source: Source) -> tuple[dict[str, float], Tensor | None]:
    """Mean loss and metrics by name; and each sample's loss, (n,), if the loss can tell."""
    seen = look_at(task, source)
    return seen.values, seen.losses


@torch.no_grad()
def look_at(task: Task, source: Source) -> Seen:
    """Everything that one pass over a set shows."""
    if task.batch_loss is not None:
        return Seen(_batch_losses(task, source), None, None, None, None)
    means, weights = [], []
    losses, outputs, targets = (Gathered(len(source)) for _ in range(3))
    metrics = [metric for metric in task.metrics if metric.of_loss is None]
    with evaluating(task.model), put_back():
        for start, (inputs, target, *weight) in chunks_of(source):
            seed_device(key(Purpose.LOOK, start), task.device)
            output = task.outputs(task.model, inputs)
            found = task.objective.each(output, target)
            if found.dim():
                losses.add(found)
            else:
                means.append(found.cpu().reshape(1) * len(target))
            weights += [row.cpu() for row in weight]
            if metrics:
                outputs.add(output)
                targets.add(target)

    all_losses = None if means else _weighed(losses.all.reshape(-1), weights)
    total = torch.cat(means) if all_losses is None else all_losses
    values = {"loss": float(total.double().sum()) / len(source)}
    pair = (None, None)
    weight = torch.cat(weights) if weights else None
    values |= {m.name: m.of_loss(values["loss"], source) for m in task.metrics if m.of_loss}
    if metrics:
        pair = (outputs.all, targets.all)
        values |= _metrics(task, *pair, weight)
    return Seen(values, all_losses, *pair, weight)


class Sights:
    """What a pass over each set shows of a trained model: made when first asked for, and kept.

    sets: by name; None where there is none
    known: loss and metrics of some of them, where a look at the same weights has shown them before
    """

    def __init__(
        self,
        task: Task,
        sets: Mapping[str, Source | None],
        known: Mapping[str, dict[str, float] | None],
    ):
        self.task = task
        self._known = known
        self.sets = {name: source for name, source in sets.items() if source is not None}
        self._seen: dict[str, Seen] = {}

    def of(self, name: str) -> Seen | None:
        """Of one set; None where there is none."""
        if name not in self.sets:
            return None
        if name not in self._seen:
            self._seen[name] = look_at(self.task, self.sets[name].to(self.task.device))
        return self._seen[name]

    def values(self, name: str) -> dict[str, float] | None:
        """Loss and metrics of one set, by the way that answers are read now."""
        hangs_on_reading = any(metric.of_loss is None for metric in self.task.metrics)
        known = self._known.get(name)
        if known is not None and not hangs_on_reading:
            return known
        seen = self.of(name)
        if seen is None or seen.outputs is None or seen.targets is None:
            return None if seen is None else seen.values
        return seen.values | _metrics(self.task, seen.outputs, seen.targets, seen.weights)


def _batch_losses(task: Task, source: Source) -> dict[str, float]:
    """The mean loss of a set, and of those that it is the sum of, where a batch has one loss."""
    sums: dict[str, float] = defaultdict(float)
    with evaluating(task.model), put_back():
        for start, batch in chunks_of(source):
            seed_device(key(Purpose.LOOK, start), task.device)
            loss, several = summed(task.losses(task.model, batch))
            share = size_of(batch) / len(source)
            for name, value in (("loss", loss), *several.items()):
                sums[name] += share * float(value)
    return dict(sums)


def _weighed(losses: Tensor, weights: list[Tensor]) -> Tensor:
    """Losses of which the plain mean is the weighted one."""
    if not weights:
        return losses
    share = torch.cat(weights).double()
    return losses.double() * (share / share.mean())


def _metrics(
    task: Task, outputs: Tensor, targets: Tensor, weights: Tensor | None
) -> dict[str, float]:
    outputs = fitting(outputs, targets)
    rows = (metric for metric in task.metrics if metric.of_loss is None)
    return {metric.name: metric(outputs, targets, weights) for metric in rows}


def fitting(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs of shape (n, 1) beside targets (n,) as (n,)."""
    if outputs.dim() == targets.dim() + 1 and outputs.shape[-1] == 1:
        return outputs.squeeze(-1)
    return outputs


def chunks_of(source: Source) -> Iterator[tuple[int, Any]]:
    """The whole source in order: (first index, batch), some samples at a time."""
    size = at_once(source)
    for start in range(0, len(source), size):
        yield start, source.fetch(in_order(start, min(start + size, len(source))))


def few(source: Any) -> Any:
    """The source itself; of many windows or pictures some, evenly spread, enough to be scored by:
    all that were learnt from would take as long as a good part of an epoch.
    """
    whole, most = whole_of(source), math.inf
    if isinstance(whole, Windows):
        most = MOST_BYTES // whole.length
    elif isinstance(whole, PictureSource):
        most = MOST_PICTURES
    if len(source) <= most:
        return source
    return Part(source, np.linspace(0, len(source) - 1, int(most)).round().astype(np.int64))


def _tensor(output: Any) -> Tensor:
    """Raises DataError for what cannot stand in a table of predictions."""
    if isinstance(output, Tensor):
        return output
    raise DataError(
        f"the model gives a {type(output).__name__}, and predictions need a tensor: call it "
        "yourself, run.model(inputs)"
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards every module's own mode again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def outputs_of(task: Task, source: Source) -> tuple[Tensor, Tensor]:
    """The model's outputs and the targets of a whole set, on the CPU."""
    outputs, targets = Gathered(len(source)), Gathered(len(source))
    with evaluating(task.model):
        for _, (inputs, target, *_rest) in chunks_of(source.to(task.device)):
            outputs.add(_tensor(task.outputs(task.model, inputs)))
            targets.add(target)
    return outputs.all, targets.all
