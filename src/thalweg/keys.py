"""Nothing random is stored, everything is counted: a key is a hash of the place that draws.

Whoever draws seeds its generator with the key of where it stands (seed, epoch, position; or seed,
step, shard), so that the draws are the same whatever ran before.
"""

from __future__ import annotations

from enum import IntEnum

_WORD = (1 << 64) - 1


class Purpose(IntEnum):
    """What a key is for: the first number of each, so that no two uses share their draws."""

    ORDER = 1
    STEP = 2
    SAMPLE = 3
    COLLATE = 4
    LOADER = 5
    STATISTICS = 6
    LOOK = 7
    SHUFFLE = 8
    START = 9
    WRITING = 10
    TRIAL = 11


def key(*numbers: int) -> int:
    """A hash in 0 .. 2^63 - 1 of a few integers, the same everywhere (splitmix64, chained).

    >>> key(Purpose.STEP, 0, 1) != key(Purpose.STEP, 0, 2)
    True
    """
    state = 0
    for number in numbers:
        state = (state ^ (number & _WORD)) + 0x9E3779B97F4A7C15 & _WORD
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _WORD
        state ^= state >> 31
    return state >> 1
