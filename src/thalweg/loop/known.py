"""Known: the different rows that were trained on, by their numbers, with the class of each."""

from __future__ import annotations

import numpy as np

MOST = 200_000
"""Numbers that are kept: beyond it every second one is let go, and later ones like it."""

UNKNOWN = -(2**62)

MOSTLY = 0.9
"""The share of all that came which `few` rows make up."""


class Known:
    """rows: all that came, as often as they came.

    >>> known = Known()
    >>> known.add(np.array([5, 9, 5]), np.array([1, 0, 2]))
    >>> known.rows, known.different, known.again, known.differing
    (3, 2, 1, 1)
    """

    def __init__(self) -> None:
        self.rows = 0
        self._mask = 0
        self._prints = np.empty(0, np.int64)
        self._labels = np.empty(0, np.int64)
        self._is_again = np.empty(0, bool)
        self._differs = np.empty(0, bool)
        self._counts = np.empty(0, np.int64)

    def add(self, prints: np.ndarray, labels: np.ndarray | None) -> None:
        """Rows, with their classes where these are known."""
        self.rows += len(prints)
        if labels is None:
            labels = np.full(len(prints), UNKNOWN)
        if self._mask:
            is_kept = (prints & self._mask) == 0
            prints, labels = prints[is_kept], labels[is_kept]
        if not len(prints):
            return
        found, first, back, counts = np.unique(
            prints, return_index=True, return_inverse=True, return_counts=True
        )
        label = labels[first]
        is_other = (labels != label[back]) & (labels != UNKNOWN) & (label[back] != UNKNOWN)
        differs = np.bincount(back, weights=is_other, minlength=len(found)) > 0
        self._merge(found, label, counts, differs)
        if len(self._prints) > MOST:
            self._halve()

    def _merge(
        self, found: np.ndarray, label: np.ndarray, counts: np.ndarray, differs: np.ndarray
    ) -> None:
        at, is_known = self._places(found)
        old = at[is_known]
        before = self._labels[old]
        mine = label[is_known]
        is_other = (before != mine) & (before != UNKNOWN) & (mine != UNKNOWN)
        self._is_again[old] = True
        self._counts[old] += counts[is_known]
        self._differs[old] |= differs[is_known] | is_other
        self._labels[old] = np.where(before == UNKNOWN, mine, before)
        fresh = ~is_known
        if fresh.any():
            to = at[fresh]
            self._prints = np.insert(self._prints, to, found[fresh])
            self._labels = np.insert(self._labels, to, label[fresh])
            self._is_again = np.insert(self._is_again, to, counts[fresh] > 1)
            self._counts = np.insert(self._counts, to, counts[fresh])
            self._differs = np.insert(self._differs, to, differs[fresh])

    def _places(self, prints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.searchsorted(self._prints, prints)
        if not len(self._prints):
            return at, np.zeros(len(prints), bool)
        return at, self._prints[np.minimum(at, len(self._prints) - 1)] == prints

    def _halve(self) -> None:
        self._mask = (self._mask << 1) | 1
        is_kept = (self._prints & self._mask) == 0
        self._prints, self._labels = self._prints[is_kept], self._labels[is_kept]
        self._is_again, self._differs = self._is_again[is_kept], self._differs[is_kept]
        self._counts = self._counts[is_kept]

    @property
    def different(self) -> int:
        """Different rows, an estimate once some were let go."""
        return len(self._prints) * (self._mask + 1)

    @property
    def again(self) -> int:
        """Rows with a class that came more than once, of those that are kept."""
        return int((self._is_again & (self._labels != UNKNOWN)).sum())

    @property
    def differing(self) -> int:
        """Of these, with several classes."""
        return int(self._differs.sum())

    @property
    def few(self) -> int:
        """The fewest different rows that make up 90% of all that came, an estimate as above.

        >>> known = Known()
        >>> known.add(np.array([5, 9, 5, 5, 5, 5, 5, 5, 5, 5]), None)
        >>> known.few
        1
        """
        counts = np.cumsum(np.sort(self._counts)[::-1])
        if not len(counts):
            return 0
        return (int(np.searchsorted(counts, MOSTLY * counts[-1])) + 1) * (self._mask + 1)

    def of_class(self, label: int) -> int:
        """Different rows of a class."""
        return int((self._labels == label).sum()) * (self._mask + 1)

    def shared(self, prints: np.ndarray) -> tuple[int, int]:
        """How many different rows these are, and how many of them were trained on."""
        rows = np.unique(prints)
        if self._mask:
            rows = rows[(rows & self._mask) == 0]
        num = int(self._places(rows)[1].sum())
        return len(rows), num
