"""The words that CPU kernels and their launches share: where what stands, how what is spelled."""

from __future__ import annotations

from enum import IntEnum

from thalweg.backends.spelling import Speller


class Word(IntEnum):
    """What stands in the table of a launch, as int64 words: addresses, unless it is a count.

    A row is a tensor; a group shares hyperparameters; a segment shares a norm and its limit.
    """

    COUNTER = 0  # int64: chunks taken so far
    NUM_CHUNKS = 1  # a count
    CHUNKS = 2  # three int64 a chunk: row, first element, number of elements
    SUMS = 3  # four float64 a chunk: g², step², p², elements of g that are not finite
    NUM_ROWS = 4  # a count
    FIRSTS = 5  # int64 a row, and one more: its first chunk
    GROUPS = 6  # int64 a row: its group
    SEGMENTS = 7  # int64 a row: its segment
    STEPS = 8  # int64 a row: the address of its float32 count of updates
    SCALARS = 9  # int64 a row and running scalar: the address of the float64
    NAMES = 10  # int64 a row: the number that names it, for its draws
    HYPER = 11  # float64 a group: the bits of its seed, sign, hyperparameters
    NUM_SEGMENTS = 12  # a count
    SQUARES = 13  # float64 a segment: the sum of g² over all launches
    LIMITS = 14  # float64 a segment: the largest norm, or infinity
    OWN_LIMITS = 15  # float64 a segment: the largest norm of each tensor's own gradient
    REQUEST = 16  # float64: see Ask
    COEFFICIENTS = 17  # float64, as many a row as the formula has
    FACTORS = 18  # float64 a row: its gradient counts this many times
    SCALES = 19  # float64 a row and measure
    KEYS = 20  # int64 a row: the key of its draws in this step
    TASK = 21  # a count: which of the kernel's tasks to do
    ARRAYS = 22  # from here: addresses of int64 lists of addresses: p, g, the states


class Ask(IntEnum):
    """What a step is asked for, and what came of it: float64 numbers."""

    SCALE = 0  # gradients count this many times
    SKIP = 1  # not 0: this step is a no-op
    SKIPS_NONFINITE = 2  # not 0: a norm that is not finite makes it one
    SKIPPED = 3  # came of it: was it a no-op
    FACTOR = 4  # came of it: the smallest clip factor (1 before)
    NEEDS_NORM = 5  # not 0: the gradients are read once before the update
    OUTLIER = 6  # a segment's norm above it
    CLIP_TO = 7  # has this limit, or its own where that is less


def words() -> dict[str, int]:
    """The places of the table by name, for templates."""
    return {word.name.lower(): int(word) for word in Word}


spell = Speller(
    {
        "add": "({} + {})",
        "subtract": "({} - {})",
        "multiply": "({} * {})",
        "negative": "(-{})",
        "less": "({} < {})",
        "greater": "({} > {})",
        "less_equal": "({} <= {})",
        "greater_equal": "({} >= {})",
        "div": "({} / {})",
        "sqrt": "math.sqrt({})",
        "pow": "({} ** {})",
        "absolute": "abs({})",
        "sign": "sign({})",
        "maximum": "maximum({}, {})",
        "minimum": "minimum({}, {})",
        "where": "where({}, {}, {})",
    }
)
"""How Numba spells the operations of a formula."""
