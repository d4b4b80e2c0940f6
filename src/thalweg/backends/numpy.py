"""The living definition: a rule in NumPy float64, which every other backend must equal.

Slow and plain on purpose. Tests run it beside the fast backends; nothing else does.
"""

from __future__ import annotations

import numpy as np

from thalweg.backends.base import bind
from thalweg.rules import Rule

_PRIMITIVES = {"div": np.divide, "pow": np.power, "sqrt": np.sqrt}


def update(
    rule: Rule, t: int, p: np.ndarray, g: np.ndarray, *state: np.ndarray, **hyper: float
) -> tuple[np.ndarray, ...]:
    """One update of one tensor; returns (p, *state), float64, and changes nothing.

    t: which update this is, counted from 1; p, g, state: arrays of one shape
    """
    floats = [np.asarray(array, dtype=np.float64) for array in (p, g, *state)]
    coefficients = bind(rule.coefficients, **_PRIMITIVES)(np.float64(t), **hyper)
    return bind(rule.update, **_PRIMITIVES)(*floats, *coefficients)
