"""Where a number that is not finite came from: the step's batch is fetched and replayed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from thalweg.loop.batches import Batch, Feed, Position
from thalweg.loop.step import Stepper
from thalweg.probes.origin import Origin, in_data, trace
from thalweg.types import Event, Step

MOST_TRACES = 5
"""Replays in one run; whether the data is to blame is looked at always, at the cost of a fetch."""


class Tracer:
    """Remembers where the batches of undrained steps began, and replays those that went wrong."""

    def __init__(self, stepper: Stepper, feed: Feed):
        self._stepper = stepper
        self._feed = feed
        self._places: dict[int, Position] = {}
        self._num_traces = 0

    def saw(self, number: int, position: Position) -> None:
        """Step `number` takes the batch at this position."""
        self._places[number] = position

    def origins(self, block: Sequence[Step], bad: Sequence[Step]) -> dict[int, Origin]:
        """Where the steps `bad` of a drained block went wrong, as far as can be told."""
        found = {}
        for step in bad:
            origin = self._origin(step, may_replay=step is block[-1])  # the weights are still its
            if origin is not None:
                found[step.number] = origin
        self._places.clear()
        return found

    def _origin(self, step: Step, *, may_replay: bool) -> Origin | None:
        place = self._places.get(step.number)
        batch = None if place is None else self._feed.again(place)
        if batch is None:
            return None
        may_replay = may_replay and self._num_traces < MOST_TRACES
        self._num_traces += may_replay
        for shard, (_, data) in enumerate(batch.shards):
            origin = self._replayed(step, shard, data) if may_replay else in_data(data)
            if origin is not None and origin.kind != "finite":
                return _in_the_data(origin, batch, shard)
        return None

    def _replayed(self, step: Step, shard: int, data: object) -> Origin:
        stepper = self._stepper
        stepper.seed(step.number, shard)
        scale = step.measured().get("loss_scale") or 1.0
        with stepper.precision.forward(stepper.device):
            return trace(stepper.task.model, stepper.task.loss, data, scale=scale)


def explained(event: Event, origins: Mapping[int, Origin]) -> Event:
    """An event about a step that was not finite, with where that came from."""
    origin = origins.get(event.number)
    if event.kind != "nonfinite" or origin is None:
        return event
    where = {"origin": origin.kind, "name": origin.name, "samples": list(origin.samples)}
    return replace(event, text=f"{event.text}: {origin.text}", data={**event.data, **where})


def _in_the_data(origin: Origin, batch: Batch, shard: int) -> Origin:
    """The origin with its samples by their places in the data, where these are known."""
    if batch.rows is None or not origin.samples:
        return origin
    rows = batch.rows(shard)
    samples = tuple(int(rows[i]) for i in origin.samples)
    shown = ", ".join(f"{i:,}" for i in samples[:5]) + (", ..." if len(samples) > 5 else "")
    return replace(origin, samples=samples, text=f"{origin.text} (in the data: {shown})")
