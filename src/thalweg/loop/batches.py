"""What each step sees: stretches of an epoch's order, cut into batches.

The batch at any position is a function of the position alone, so a run can start anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from thalweg.loop.order import InOrder, Shuffled
from thalweg.types import Order, Source

BatchSize = int | Literal["full"]

CHUNK = 8192
"""Samples of a full batch that are held at once."""

BLOCK = 65_536
"""Positions of the order that are computed at once."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the next batch starts: the epoch, from 0, and the samples of it already seen."""

    epoch: int = 0
    cursor: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Parts of one batch with their shares: one with share 1.0, or a full batch's chunks.

    They are fetched as they are asked for, and can be gone through once.
    """

    parts: Iterable[tuple[float, Any]]
    samples: int
    following: Position


class Batches:
    """Batches of a source by position.

    batch_size: samples a batch, or "full" for the whole set, streamed in chunks. The last batch of
    an epoch is what is left; a single sample that would be left joins the batch before it (batch
    statistics need two).
    """

    def __init__(self, source: Source, batch_size: BatchSize, seed: int):
        self.source = source
        self.size = len(source)
        self.is_full = batch_size == "full"
        self.batch_size: int = self.size if batch_size == "full" else min(batch_size, self.size)
        self.order: Order = InOrder(self.size) if self.is_full else Shuffled(self.size, seed)
        self._block: Any = None
        self._block_at = (-1, 0, 0)

    @property
    def per_epoch(self) -> int:
        """Steps in one epoch."""
        return num_batches(self.size, self.batch_size)

    @property
    def is_chunked(self) -> bool:
        """Is one batch held in several chunks?"""
        return self.is_full and num_batches(self.size, CHUNK) > 1

    def at(self, position: Position) -> Batch:
        start = position.cursor
        end = min(start + self.batch_size, self.size)
        if self.size - end == 1 and self.batch_size > 1:
            end = self.size
        following = (
            Position(position.epoch, end) if end < self.size else Position(position.epoch + 1)
        )
        parts = self._chunks if self.is_full else self._whole
        return Batch(parts(position.epoch, start, end), end - start, following)

    def _whole(self, epoch: int, start: int, end: int) -> Iterable[tuple[float, Any]]:
        yield 1.0, self.source.fetch(self._indices(epoch, start, end))

    def _chunks(self, epoch: int, start: int, end: int) -> Iterable[tuple[float, Any]]:
        num_chunks = num_batches(end - start, CHUNK)
        for i in range(num_chunks):
            first = start + i * CHUNK
            last = end if i == num_chunks - 1 else first + CHUNK
            yield (
                (last - first) / (end - start),
                self.source.fetch(self._indices(epoch, first, last)),
            )

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
