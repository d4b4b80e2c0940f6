"""How much each sample counts: weights checked."""

from __future__ import annotations

import numpy as np

from thalweg.errors import DataError

LEAST, MOST = 1e-30, 1e30
"""Weights beyond these are none in float32, or their sum is not."""


def checked_weights(values: np.ndarray, name: str, row: str, *, first: int = 0) -> np.ndarray:
    """Weights as float64 of shape (n,), each 0 or in LEAST .. MOST, and not all of them 0.

    name: what to call a weight; row: what it is a weight of, counted from `first`
    Raises DataError.
    """
    values = np.asarray(values, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        raise DataError(
            f"the {name} of {row} {bad[0] + first:,} is {values[bad[0]]:g} ({len(bad):,} such "
            f"{row}s): a weight must be a finite number, 0 or more; mend or remove those {row}s"
        )
    odd = np.flatnonzero((values > 0) & ~((values >= LEAST) & (values <= MOST)))
    if len(odd):
        raise DataError(
            f"the {name} of {row} {odd[0] + first:,} is {values[odd[0]]:g} ({len(odd):,} such "
            f"{row}s): a weight must be 0, or lie in {LEAST:g} .. {MOST:g}; bring them to one scale"
        )
    if not values.any():
        raise DataError(
            f"the {name} of every {row} is 0: nothing would be learnt; give some a weight above 0"
        )
    return values
