"""Tables of counts that predict the next byte: what a language model has to beat.

Each order is smoothed by the one below it (Witten and Bell, The Zero-Frequency Problem, 1991).
"""

from __future__ import annotations

import numpy as np

BYTES = 256


def bits_of(train: np.ndarray, test: np.ndarray, order: int) -> float:
    """Mean bits per byte of the test text, of bytes that have `order` - 1 others before them.

    train, test: uint8, (bytes,); order: 1 byte frequencies, 2 pairs, 3 triples
    """
    most = min(order, len(test))
    last = test[most - 1 :].astype(np.int64)
    counts = np.bincount(train, minlength=BYTES)
    chance = (counts[last] + 1.0) / (len(train) + BYTES)
    for n in range(2, most + 1):
        chance = _longer(train, test[most - n :], n, chance)
    return float(-np.log2(chance).mean())


def _longer(train: np.ndarray, test: np.ndarray, order: int, lower: np.ndarray) -> np.ndarray:
    """The chance of each byte after `order` - 1 others, from its chance after one fewer."""
    known, counts = np.unique(_codes(train, order), return_counts=True)
    wanted = _codes(test, order)
    histories, first = np.unique(known // BYTES, return_index=True)
    totals = np.add.reduceat(counts, first) if len(first) else counts
    kinds = np.diff([*first, len(known)])
    count = _looked_up(known, counts, wanted)
    total = _looked_up(histories, totals, wanted // BYTES)
    kind = _looked_up(histories, kinds, wanted // BYTES)
    return np.where(total > 0, (count + kind * lower) / np.maximum(total + kind, 1), lower)


def _codes(text: np.ndarray, order: int) -> np.ndarray:
    """A number for each `order` bytes in a row, int64 (bytes - order + 1,)."""
    size = max(0, len(text) - order + 1)
    found = np.zeros(size, dtype=np.int64)
    for place in range(order):
        found = found * BYTES + text[place : place + size]
    return found


def _looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key; 0 where there is none."""
    if not len(keys):
        return np.zeros(len(wanted))
    where = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[where] == wanted, values[where], 0)
