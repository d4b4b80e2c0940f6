"""How much each sample counts: weights checked."""

from __future__ import annotations

import numpy as np

from thalweg.errors import DataError


def checked_weights(values: np.ndarray, name: str, row: str, *, first: int = 0) -> np.ndarray:
    """Weights as float64 of shape (n,), each a finite number of 0 or more, and not all of them 0.

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
    if not values.any():
        raise DataError(
            f"the {name} of every {row} is 0: nothing would be learnt; give some a weight above 0"
        )
    return values
