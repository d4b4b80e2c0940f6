"""The order of an epoch: a permutation under a key, of which any stretch is had at once.

`Shuffled` is a Feistel permutation: O(1) memory, nothing stored. Source: Luby and Rackoff, How to
construct pseudorandom permutations from pseudorandom functions, 1988; the walk past positions >= n
is Black and Rogaway's, 2002.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from thalweg.keys import Purpose, key

_ROUNDS = 6
_MIN_BITS = 8
_TABLE_BITS = 12
"""Below this many bits the permutation is looked up in a table, so that long walks cost little."""


@dataclass(frozen=True, slots=True)
class Shuffled:
    """A fresh pseudo-random order of 0 .. size - 1 in every epoch, from (seed, epoch) alone.

    >>> order = Shuffled(size=5, seed=0)
    >>> sorted(order.indices(epoch=0, start=0, count=5).tolist())
    [0, 1, 2, 3, 4]
    """

    size: int
    seed: int

    def indices(self, epoch: int, start: int, count: int) -> np.ndarray:
        """Dataset indices at positions start .. start + count - 1: int64 of shape (count,)."""
        keys = [
            np.uint32(key(Purpose.ORDER, self.seed, epoch, turn) & 0xFFFFFFFF)
            for turn in range(_ROUNDS)
        ]
        bits = max(_MIN_BITS, (self.size - 1).bit_length())
        places = np.arange(start, start + count, dtype=np.uint32 if bits <= 32 else np.uint64)

        walk = partial(_permute, bits=bits, keys=keys)
        if bits <= _TABLE_BITS:
            walk = walk(np.arange(1 << bits, dtype=places.dtype)).__getitem__
        places = walk(places)
        outside = np.flatnonzero(places >= self.size)
        while len(outside):
            places[outside] = walk(places[outside])
            outside = outside[places[outside] >= self.size]
        return places.astype(np.int64)


@dataclass(frozen=True, slots=True)
class InOrder:
    """0 .. size - 1 in every epoch: for a full batch, whose sum does not depend on the order."""

    size: int

    def indices(self, epoch: int, start: int, count: int) -> np.ndarray:
        return np.arange(start, start + count, dtype=np.int64)


def _permute(places: np.ndarray, bits: int, keys: list[np.uint32]) -> np.ndarray:
    """A bijection of 0 .. 2^bits - 1; the halves may differ by a bit, so they swap widths."""
    low_bits, high_bits = bits // 2, bits - bits // 2
    low = places & _mask(low_bits, places.dtype)
    high = places >> places.dtype.type(low_bits)
    for round_key in keys:
        low, high = high ^ (_scramble(low, round_key) & _mask(high_bits, places.dtype)), low
        low_bits, high_bits = high_bits, low_bits
    return (high << places.dtype.type(low_bits)) | low


def _scramble(half: np.ndarray, round_key: np.uint32) -> np.ndarray:
    """32-bit integer hash of each element under a key."""
    x = half.astype(np.uint32) ^ round_key
    x *= np.uint32(0x9E3779B1)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x85EBCA77)
    x ^= x >> np.uint32(13)
    return x.astype(half.dtype, copy=False)


def _mask(bits: int, dtype: np.dtype) -> np.generic:
    return dtype.type((1 << bits) - 1)
