"""Batches from a loader of the user's own, at a position: by its own state, or read forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from thalweg.errors import DataError
from thalweg.keys import Purpose, key
from thalweg.loop.batches import Batch, Position
from thalweg.tasks.draws import put_back, seed_draws
from thalweg.tasks.streams import Resumable, Stream, size_of

START_OF_EPOCH = -1
"""The place of the draws that begin an epoch, where those of its batches count from 0."""


class Foreign:
    """One batch is `num_shards` of the loader's, its shards; an epoch's last may have fewer.

    What the loader draws (its order, augmentation in this process) is counted by epoch and batch,
    so that a position is found again by reading forward from the start of its epoch.
    """

    counts_samples = False

    def __init__(self, stream: Stream, seed: int, *, num_shards: int = 1):
        self.stream = stream
        self.num_shards = self.batch_size = num_shards
        self._seed = seed
        self._iterator: Iterator[Any] | None = None
        self._at = Position()
        self._is_restored = False
        self._last: Batch | None = None
        self._last_at: Position | None = None

    @property
    def size(self) -> int | None:
        return self.stream.num_batches

    @property
    def per_epoch(self) -> int | None:
        return None if self.size is None else -(-self.size // self.num_shards)

    def at(self, position: Position) -> Batch:
        """Raises DataError where an epoch holds no batch, or fewer than it did before."""
        if self._iterator is None or position != self._at:
            self._go_to(position)
        shards = self._take()
        if not shards:  # the loader did not say how long it is, and the epoch is over
            self._go_to(Position(position.epoch + 1))
            shards = self._take()
        if not shards:
            raise DataError(
                f"the loader gave no batch in epoch {self._at.epoch + 1}: is it a generator, which "
                "can be read once only? give something that can be iterated anew"
            )
        at, size = self._at, self.size
        end = at.cursor + len(shards)
        is_over = size is not None and end >= size
        following = Position(at.epoch + 1) if is_over else Position(at.epoch, end)
        self._at = following
        if is_over:
            self._iterator = None
        counts = [size_of(shard[0]) for shard in shards]
        shares = [count / sum(counts) for count in counts]
        self._last = Batch(
            list(zip(shares, shards, strict=True)), len(shards), sum(counts), following
        )
        self._last_at = position
        return self._last

    def again(self, position: Position) -> Batch | None:
        """The last batch; those before it cannot be had again."""
        return self._last if position == self._last_at else None

    def aside(self, count: int) -> None:
        """None: a loader that is iterated anew may forget where it was."""

    def _take(self) -> list[Any]:
        """The next batches of the loader, as many as make one of ours; fewer at the end."""
        assert self._iterator is not None
        shards = []
        for i in range(self.num_shards):
            with put_back():
                seed_draws(self._key(self._at.epoch, self._at.cursor + i))
                shard = next(self._iterator, None)
            if shard is None:
                break
            shards.append(shard)
        return shards

    def _go_to(self, position: Position) -> None:
        """Begin the epoch, and read forward to where the batch starts."""
        is_there = self._is_restored and self._at == position
        self._is_restored = False
        with put_back():
            seed_draws(self._key(position.epoch, START_OF_EPOCH))
            for generator in self.stream.generators():
                generator.manual_seed(self._key(position.epoch, START_OF_EPOCH))
            self._iterator = iter(self.stream)
        self._at = Position(position.epoch)
        if is_there:
            self._at = position
            return
        while self._at.cursor < position.cursor:
            with put_back():
                seed_draws(self._key(self._at.epoch, self._at.cursor))
                batch = next(self._iterator, None)
            if batch is None:
                raise DataError(
                    f"the loader gave only {self._at.cursor:,} batches in epoch "
                    f"{position.epoch + 1}, where the run had seen {position.cursor:,}"
                )
            self._at = Position(self._at.epoch, self._at.cursor + 1)

    def _key(self, epoch: int, place: int) -> int:
        return key(Purpose.LOADER, self._seed, epoch, place)

    def to_tree(self) -> Any:
        """The loader's own state, where it has one."""
        loader = self.stream.loader
        return loader.state_dict() if isinstance(loader, Resumable) else None

    def restore(self, tree: Any, position: Position) -> None:
        """Go on at a position with a state that `to_tree` gave."""
        self._iterator = None
        loader = self.stream.loader
        if tree is not None and isinstance(loader, Resumable):
            loader.load_state_dict(tree)
            self._is_restored = True
            self._at = position

    def close(self) -> None:
        self._iterator = None


def inexact(stream: Stream) -> str | None:
    """What may keep a resume from being exact, in words; None: its own state or order is known."""
    if isinstance(stream.loader, Resumable | torch.utils.data.DataLoader):
        return None
    return (
        "the data's position is found by reading forward: a resume is exact if the iterable gives "
        "the same batches again, its draws from torch's, NumPy's or Python's own generators apart"
    )
