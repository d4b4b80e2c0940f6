"""Targets as they come in batches: how alike those of one batch are, and how often each comes."""

from __future__ import annotations

from collections import Counter

import numpy as np

MOST_CLASSES = 10_000


class Together:
    """Takes in the targets of batches, (rows,) each. Whole numbers are classes."""

    def __init__(self, *, are_classes: bool):
        self.are_classes = are_classes
        self.num_batches = 0
        self.counts: Counter[int] = Counter()
        self._pairs = self._equal = 0.0
        self._next_pairs = self._next_equal = 0.0
        self._last: tuple[int, np.ndarray, np.ndarray] | None = None
        self._num_rows, self._sum, self._squares, self._within = 0, 0.0, 0.0, 0.0
        self._middle: float | None = None

    def add(self, place: int, targets: np.ndarray) -> None:
        """place: of the batch among all of them."""
        if len(targets) < 2 or len(self.counts) > MOST_CLASSES:
            return
        self.num_batches += 1
        if self.are_classes:
            self._add_classes(place, *np.unique(targets.astype(np.int64), return_counts=True))
        elif np.isfinite(targets).all():
            self._add_numbers(targets.astype(np.float64))

    def _add_classes(self, place: int, ids: np.ndarray, counts: np.ndarray) -> None:
        for label, count in zip(ids.tolist(), counts.tolist(), strict=True):
            self.counts[label] += count
        num = float(counts.sum())
        self._pairs += num * (num - 1)
        self._equal += float((counts * (counts - 1)).sum())
        if self._last is not None and self._last[0] == place - 1:
            _, before, of_before = self._last
            _, mine, theirs = np.intersect1d(ids, before, return_indices=True)
            self._next_pairs += num * float(of_before.sum())
            self._next_equal += float((counts[mine] * of_before[theirs]).sum())
        self._last = place, ids, counts

    def _add_numbers(self, targets: np.ndarray) -> None:
        if self._middle is None:
            self._middle = float(targets.mean())
        off = targets - self._middle
        self._num_rows += len(off)
        self._sum += float(off.sum())
        self._squares += float((off * off).sum())
        self._within += float(off.var() * len(off))

    @property
    def alike(self) -> tuple[float, float]:
        """0 where batches are drawn at random, 1 where each holds one target; and its error."""
        if self.are_classes:
            chance = self._chance
            if not self._pairs or chance > 0.9:
                return 0.0, 1.0
            error = (chance * (1 - chance) / self._pairs * 2) ** 0.5 / (1 - chance)
            return (self._equal / self._pairs - chance) / (1 - chance), error
        free = self._num_rows - self.num_batches
        total = self._squares - self._sum**2 / max(1, self._num_rows)
        if free < 1 or total <= 0:
            return 0.0, 1.0
        return 1 - (self._within / free) / (total / (self._num_rows - 1)), (2 / free) ** 0.5

    @property
    def next_alike(self) -> float:
        """The same between the rows of a batch and those of the next one."""
        chance = self._chance
        if not self._next_pairs or chance > 0.9:
            return 0.0
        return (self._next_equal / self._next_pairs - chance) / (1 - chance)

    @property
    def _chance(self) -> float:
        total = sum(self.counts.values())
        return sum((count / total) ** 2 for count in self.counts.values()) if total else 1.0
