"""The words that GPU kernels and their launches share: where what stands, how what is spelled."""

from __future__ import annotations

from enum import IntEnum

from thalweg.backends.spelling import Speller

ARGUMENTS = {
    "ask": "*fp64",  # see Ask
    "limits": "*fp64",  # (2, segments): largest norm of all gradients together, and of each
    "hyper": "*fp64",  # (groups, 1 + hyperparameters): sign, then the hyperparameters
    "seeds": "*i64",  # (groups,)
    "grads": "*i64",  # (rows,): addresses of this step's gradients, or 0
    "chunks": "*i64",  # (chunks, 3): row, first element, number of elements
    "table": "*i64",  # (columns, rows): see Column
    "sums": "*fp64",  # (4, chunks): g², step², p², elements of g that are not finite
    "made": "*fp64",  # (1 + coefficients + measures, rows): factor of g, then these
    "keys": "*i64",  # (rows,): of the draws of this step
    "segments": "*i64",  # (all rows,): of all launches
    "squares": "*fp64",  # (4, all rows): the sums of each row
    "clips": "*fp64",  # (all rows,): what clipping multiplies the gradient with
    "outcome": "*fp64",  # (1,): was this step a no-op
    "num_rows": "i32",
    "num_chunks": "i32",
    "num_all": "i32",  # rows of all launches
    "num_segments": "i32",
}
"""What every kernel takes, in this order, and Triton's names of their types.

A row is a tensor; a group shares hyperparameters; a segment shares a norm and its limit; a chunk is
what one program of a sweep works on.
"""


class Ask(IntEnum):
    """What a step is asked for: float64 numbers."""

    SCALE = 0  # gradients count this many times
    SKIP = 1  # not 0: this step is a no-op
    SKIPS_NONFINITE = 2  # not 0: a norm that is not finite makes it one
    NEEDS_NORM = 3  # not 0: the sums of g² of this step are known before the update
    OUTLIER = 4  # a segment's norm above it
    CLIP_TO = 5  # has this limit, or its own where that is less


class Column(IntEnum):
    """What the table says of each row."""

    FIRST = 0  # its first chunk
    END = 1  # the chunk after its last
    SIZE = 2  # its number of elements, at least 1
    GROUP = 3
    SEGMENT = 4
    ROW = 5  # its place among the rows of all launches
    STEPS = 6  # address of its float32 count of updates
    NAME = 7  # the number that names it, for its draws
    ADDRESSES = 8  # from here: its running scalars, its parameter, its states


def words() -> dict[str, int]:
    """The places of both by name, for templates."""
    asked = {f"ask_{ask.name.lower()}": int(ask) for ask in Ask}
    return asked | {column.name.lower(): int(column) for column in Column}


_COMMON = {
    "add": "({} + {})",
    "subtract": "({} - {})",
    "multiply": "({} * {})",
    "negative": "(-{})",
    "less": "({} < {})",
    "greater": "({} > {})",
    "less_equal": "({} <= {})",
    "greater_equal": "({} >= {})",
    "pow": "power({}, {})",
    "absolute": "tl.abs({})",
    "sign": "sign({})",
    "maximum": "maximum({}, {})",
    "minimum": "minimum({}, {})",
    "where": "tl.where({}, {}, {})",
    "div": "({} / {})",
    "sqrt": "tl.sqrt({})",
}

spell_double = Speller(_COMMON, number="exact({!r})")
"""How Triton spells float64 operations, whose quotients and roots are correctly rounded."""

spell_single = Speller({**_COMMON, "div": "tl.div_rn({}, {})", "sqrt": "tl.sqrt_rn({})"})
"""The same for float32, where the plain operators are approximations."""
