"""Sampler: the counted shuffle for a DataLoader of one's own; it knows what was consumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from thalweg.errors import RunError, UsageError
from thalweg.loop.batches import BLOCK
from thalweg.loop.order import Shuffled
from thalweg.tasks.counted import Place
from thalweg.tasks.streams import size_of


class Sampler:
    """Indices of each epoch in a fresh order, from (seed, epoch) alone: any position at once.

    size: samples in the data, >= 1; seed: of the order
    epoch, consumed: how far the run has come, and of this epoch how many samples it has seen;
    counted by `batches`, so that what a worker fetched ahead does not count

    >>> import torch, thalweg
    >>> from torch.utils.data import DataLoader
    >>> sampler = thalweg.Sampler(6, seed=0)
    >>> loader = DataLoader(range(6), batch_size=4, sampler=sampler)
    >>> for batch in sampler.batches(loader, epochs=1):
    ...     print(len(batch), sampler.epoch, sampler.consumed)
    4 0 4
    2 1 0
    """

    def __init__(self, size: int, *, seed: int = 0):
        if size < 1:
            raise UsageError(f"size is {size!r}: there must be 1 sample or more")
        self.size = size
        self.seed = seed
        self.epoch = 0
        self.consumed = 0
        self._order = Shuffled(size, seed)

    def __len__(self) -> int:
        """Samples left in this epoch."""
        return self.size - self.consumed

    def __iter__(self) -> Iterator[Place]:
        """The rest of this epoch, as indices that carry their place."""
        epoch = self.epoch
        for start in range(self.consumed, self.size, BLOCK):
            block = self._order.indices(epoch, start, min(BLOCK, self.size - start))
            for i, index in enumerate(block.tolist()):
                yield Place(index, epoch, start + i)

    def batches(self, loader: DataLoader, epochs: int | None = None) -> Iterator[Any]:
        """The batches of a loader over this sampler, counted as they are handed out.

        epochs: until so many have been seen in all, those before a resume included; None: the rest
        of this epoch
        Raises UsageError for a loader with another sampler.
        """
        if not self._feeds(loader):
            raise UsageError("this loader has another sampler: give DataLoader(..., sampler=it)")
        last = self.epoch + 1 if epochs is None else epochs
        while self.epoch < last:
            epoch = self.epoch
            for batch in loader:
                self._count(loader, batch)
                yield batch
            if self.epoch == epoch:  # the loader dropped the last samples
                self.epoch, self.consumed = epoch + 1, 0

    def _feeds(self, loader: DataLoader) -> bool:
        samplers = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
        return any(sampler is self for sampler in samplers)

    def _count(self, loader: DataLoader, batch: Any) -> None:
        size = loader.batch_size or size_of(batch)
        self.consumed += min(size, self.size - self.consumed)
        if self.consumed == self.size:
            self.epoch, self.consumed = self.epoch + 1, 0

    def to_tree(self) -> dict[str, int]:
        """How far it has come, with what its order depends on."""
        return {
            "size": self.size,
            "seed": self.seed,
            "epoch": self.epoch,
            "consumed": self.consumed,
        }

    def check(self, tree: Mapping[str, int]) -> None:
        """Raise RunError where the tree is that of another data size or seed."""
        for name in ("size", "seed"):
            if tree[name] != getattr(self, name):
                raise RunError(
                    f"the saved sampler has {name} {tree[name]}, this one {getattr(self, name)}: "
                    "the order would be another"
                )

    def restore(self, tree: Mapping[str, int]) -> None:
        """Go on from what `to_tree` gave. Raises RunError as `check`."""
        self.check(tree)
        self.epoch, self.consumed = tree["epoch"], tree["consumed"]
