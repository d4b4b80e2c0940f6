"""What each step sees: stretches of an epoch's order, cut into batches, and these into shards.

The batch at any position is a function of the position alone, so a run can start anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from thalweg.keys import Purpose, key
from thalweg.loop.order import InOrder, Shuffled
from thalweg.loop.workers import Workers
from thalweg.tasks.sources import on_device, rows_of
from thalweg.types import Order, Source, Stretch

BatchSize = int | Literal["full"]

CHUNK = 8192
"""Samples of a full batch that are held at once."""

BLOCK = 65_536
"""Positions of the order that are computed at once."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next batch starts: the epoch, from 0, and how much of it was already seen.

    cursor: counted in samples, or in a loader's own batches where the data is a loader
    """

    epoch: int = 0
    cursor: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch in shards, each with its share of the batch (1.0 where there is only one).

    shards: (share, data), fetched as they are asked for, and gone through once
    rows: where the samples of a shard stand in the data; None where a loader does not tell
    """

    shards: Iterable[tuple[float, Any]]
    num_shards: int
    samples: int
    following: Position
    rows: Callable[[int], Any] | None = None


class Feed(Protocol):
    """Gives the batch at a position.

    size: samples in an epoch; batch_size: in a batch (of a loader both count its own batches);
    per_epoch: steps in an epoch; None: not known
    """

    batch_size: int
    counts_samples: bool

    @property
    def size(self) -> int | None: ...

    @property
    def per_epoch(self) -> int | None: ...

    def at(self, position: Position) -> Batch: ...

    def again(self, position: Position) -> Batch | None:
        """The batch at a position that was had before, to look at; None: it cannot be had again."""
        ...

    def aside(self, count: int) -> Iterator[Any] | None:
        """So many batches for another use, part by part, the run's own undisturbed; None: it has
        none."""
        ...

    def to_tree(self) -> Any:
        """A state of its own, besides the position."""
        ...

    def restore(self, tree: Any, position: Position) -> None: ...

    def close(self) -> None: ...


@contextmanager
def put_back(feed: Feed) -> Iterator[None]:
    """Batches may be read ahead inside; afterwards the data stands at its beginning again."""
    state = deepcopy(feed.to_tree())
    try:
        yield
    finally:
        feed.restore(state, Position())


class Batches:
    """Batches of a source by position.

    batch_size: samples a gradient sees, or "full" for the whole set, streamed in chunks. The last
    batch of an epoch is what is left; a single sample that would be left joins the batch before it
    (batch statistics need two), and so it does within a batch's shards.
    num_shards: parts in which a batch is computed, one after the other; their gradients are summed
    num_workers: processes that fetch ahead; 0: fetched when asked for
    """

    counts_samples = True

    def __init__(
        self,
        source: Source,
        batch_size: BatchSize,
        seed: int,
        *,
        num_shards: int = 1,
        num_workers: int = 0,
        device: Any = None,
    ):
        self.source = source
        self.size = len(source)
        self.is_full = batch_size == "full"
        self.batch_size: int = self.size if batch_size == "full" else min(batch_size, self.size)
        self.order: Order = InOrder(self.size) if self.is_full else Shuffled(self.size, seed)
        self.shard_size = -(-self.batch_size // num_shards)
        if self.is_full:
            self.shard_size = min(CHUNK, self.shard_size)
        self._seed = seed
        self._num_shards = num_shards
        self._block: Any = None
        self._block_at = (-1, 0, 0)
        self._device = device
        self.workers = Workers(source, num_workers, self._upcoming) if num_workers else None

    @property
    def per_epoch(self) -> int:
        """Steps in one epoch."""
        return num_batches(self.size, self.batch_size)

    @property
    def is_split(self) -> bool:
        """Is a batch computed in several parts?"""
        return len(self._stretches(Position())) > 1

    def at(self, position: Position) -> Batch:
        return self._batch(position, partial(self._fetch, position))

    def again(self, position: Position) -> Batch:
        """Fetched in this process, so that the workers' stream goes on."""
        return self._batch(position, lambda s: on_device(self.source.fetch(s), self._device))

    def aside(self, count: int) -> Iterator[Any]:
        """The first `count`, an epoch at most, of an order of their own, always the same."""
        seed = key(Purpose.STATISTICS, self._seed)
        size = "full" if self.is_full else self.batch_size
        other = Batches(self.source, size, seed, num_shards=self._num_shards, device=self._device)
        position = Position()
        for _ in range(min(count, self.per_epoch)):
            batch = other.again(position)
            yield from (data for _, data in batch.shards)
            position = batch.following

    def _batch(self, position: Position, fetch: Callable[[Stretch], Any]) -> Batch:
        stretches = self._stretches(position)
        samples = sum(map(len, stretches))
        return Batch(
            ((len(stretch) / samples, fetch(stretch)) for stretch in stretches),
            len(stretches),
            samples,
            self._following(position, samples),
            lambda i: rows_of(self.source, stretches[i].indices),
        )

    def to_tree(self) -> None:
        """The position says it all."""

    def restore(self, tree: None, position: Position) -> None:
        pass

    def close(self) -> None:
        """End the workers."""
        if self.workers is not None:
            self.workers.close()

    def _fetch(self, position: Position, stretch: Stretch) -> Any:
        if self.workers is None:
            return self.source.fetch(stretch)
        return on_device(self.workers.fetch(stretch, position), self._device)

    def _following(self, position: Position, samples: int) -> Position:
        end = position.cursor + samples
        return Position(position.epoch, end) if end < self.size else Position(position.epoch + 1)

    def _upcoming(self, position: Position) -> Iterator[Stretch]:
        """All stretches from the batch at a position on, for ever."""
        while True:
            stretches = self._stretches(position)
            yield from stretches
            position = self._following(position, sum(map(len, stretches)))

    def _stretches(self, position: Position) -> list[Stretch]:
        """Of the batch at a position, one for each shard."""
        start = position.cursor
        end = min(start + self.batch_size, self.size)
        if self.size - end == 1 and self.batch_size > 1:
            end = self.size
        size = end - start if self.shard_size == self.batch_size else self.shard_size
        return [
            Stretch(self._indices(position.epoch, first, last), self._seed, position.epoch, first)
            for first, last in _cuts(start, end, size)
        ]

    def _indices(self, epoch: int, start: int, end: int) -> Any:
        at, first, last = self._block_at
        if at != epoch or start < first or end > last:
            last = min(self.size, max(end, start + BLOCK))
            self._block = self.order.indices(epoch, start, last - start)
            self._block_at = (epoch, start, last)
            first = start
        return self._block[start - first : end - first]


def num_batches(size: int, batch_size: BatchSize) -> int:
    """Batches in one epoch of `size` samples; a single one left over joins the batch before."""
    if batch_size == "full" or batch_size >= size:
        return 1
    full, rest = divmod(size, batch_size)
    joins = rest == 1 and batch_size > 1
    return full + (1 if rest and not joins else 0)


def _cuts(start: int, end: int, size: int) -> list[tuple[int, int]]:
    """Stretches of `size` from start to end; a single sample left over joins the one before."""
    firsts = range(start, end, size)
    if size > 1 and len(firsts) > 1 and end - firsts[-1] == 1:
        firsts = firsts[:-1]
    return list(zip(firsts, [*firsts[1:], end], strict=True))
