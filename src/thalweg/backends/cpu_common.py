"""What CPU kernels have in common whatever their formula: the norm, and the bookkeeping of a step.

Ordinary functions, which Numba compiles once a process and links into every kernel that it compiles
after. Where what stands in a launch's table: `cpu_words.py`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from thalweg.backends import elements
from thalweg.backends.base import CLIP_EPS
from thalweg.backends.cpu_words import Ask, Word
from thalweg.backends.layout import SIZES
from thalweg.backends.rounding import GOLDEN, MIX_LONG

FAST: Any = {"reassoc", "contract", "nsz"}
_BARE: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Only a kernel's entry is called from outside: no other function gets what Python or C would call
it by, which took a third of the time to compile."""

compiled = njit(error_model="numpy", fastmath=FAST, nogil=True, **_BARE)
careful = njit(error_model="numpy", nogil=True, **_BARE)

_intrinsics: Any = elements
"""Whose first argument is Numba's own, and no caller's."""

number, put, take, word = (getattr(_intrinsics, name) for name in ("number", "put", "take", "word"))

_GRADS = int(Word.ARRAYS) + 1


@cache
def norms(grad: str, arithmetic: str) -> tuple[Any, Any]:
    """(norm, careful_sum) of gradients that are stored as `grad` and squared in `arithmetic`."""
    kind = getattr(np, arithmetic)
    size = SIZES[grad]
    load1 = elements.load(grad, arithmetic, 1)
    load1_wide = elements.load(grad, "float64", 1)

    @careful
    def careful_sum(g_at, n):
        """The same in float64, and every element looked at."""
        total = 0.0
        bad = 0.0
        for i in range(n):
            g = load1_wide(g_at, i)
            total += g * g
            if not abs(g) < np.inf:
                bad += 1.0
        return total, bad

    @compiled
    def gradient_sum(g_at, n):
        """(sum of g², number of elements not finite); the slow way where that is needed."""
        total = kind(0)
        for i in range(n - 1, -1, -1):
            g = load1(g_at, i)
            total += g * g
        if total < kind(np.inf):
            return np.float64(total), np.float64(0)
        return careful_sum(g_at, n)

    @compiled
    def norm(at):
        while True:
            c = word(at, Word.NUM_CHUNKS) - 1 - take(word(at, Word.COUNTER))
            if c < 0:
                break  # from last to first: what was read last is what the update reads first
            chunk = word(at, Word.CHUNKS) + 24 * c
            t = word(chunk, 0)
            g_at = word(word(at, _GRADS), t)
            total = 0.0
            bad = 0.0
            if g_at != 0:
                total, bad = gradient_sum(g_at + size * word(chunk, 1), word(chunk, 2))
            sums = word(at, Word.SUMS) + 32 * c
            put(sums, 0, total)
            put(sums, 3, bad)

    return norm, careful_sum


@careful
def total(at):
    """Add this launch's sums of g² to its segments, in the order of the chunks."""
    squares = word(at, Word.SQUARES)
    sums = word(at, Word.SUMS)
    for c in range(word(at, Word.NUM_CHUNKS)):
        t = word(word(at, Word.CHUNKS), 3 * c)
        s = word(word(at, Word.SEGMENTS), t)
        put(squares, s, number(squares, s) + number(sums, 4 * c))


@careful
def row_sum(at, t, k):
    """A row's sum number k over its chunks."""
    total = 0.0
    for c in range(word(word(at, Word.FIRSTS), t), word(word(at, Word.FIRSTS), t + 1)):
        total += number(word(at, Word.SUMS), 4 * c + k)
    return total


@careful
def row_elements(at, t):
    """A row's number of elements, at least 1."""
    total = 0
    for c in range(word(word(at, Word.FIRSTS), t), word(word(at, Word.FIRSTS), t + 1)):
        total += word(word(at, Word.CHUNKS), 3 * c + 2)
    return float(max(total, 1))


@careful
def clip_factor(limit, norm):
    """What a gradient of this norm is multiplied with."""
    factor = limit / (norm + CLIP_EPS)
    return 1.0 if factor > 1.0 else factor


@careful
def is_skipped(at):
    """Is this step a no-op?"""
    request = word(at, Word.REQUEST)
    if number(request, Ask.SKIP) != 0.0:
        return True
    if number(request, Ask.SKIPS_NONFINITE) != 0.0:
        for s in range(word(at, Word.NUM_SEGMENTS)):
            if not number(word(at, Word.SQUARES), s) < np.inf:
                return True
    return False


@cache
def factors(hyper_size: int) -> Any:
    """set_factors, where a group's hyperparameters take so many bytes."""

    @careful
    def set_factors(at):
        """What each row's gradient is multiplied with: sign, loss scale and clipping."""
        request = word(at, Word.REQUEST)
        scale = number(request, Ask.SCALE)
        smallest = number(request, Ask.FACTOR)
        for t in range(word(at, Word.NUM_ROWS)):
            s = word(word(at, Word.SEGMENTS), t)
            factor = 1.0
            limit = number(word(at, Word.LIMITS), s)
            norm = abs(scale) * math.sqrt(number(word(at, Word.SQUARES), s))
            if norm > number(request, Ask.OUTLIER):
                limit = min(limit, number(request, Ask.CLIP_TO))
            if limit < np.inf:
                factor = clip_factor(limit, norm)
            limit = number(word(at, Word.OWN_LIMITS), s)
            if limit < np.inf:
                own = clip_factor(limit, abs(scale) * math.sqrt(row_sum(at, t, 0)))
                factor = factor * own
            if not factor >= smallest:
                smallest = factor
            hyper = word(at, Word.HYPER) + hyper_size * word(word(at, Word.GROUPS), t)
            put(word(at, Word.FACTORS), t, factor * scale * number(hyper, 1))
        put(request, Ask.FACTOR, smallest)

    return set_factors


(_SHIFT0, _FACTOR0), (_SHIFT1, _FACTOR1), (_SHIFT2, _) = MIX_LONG


@careful
def mixed(x):
    """A bijection of 64-bit numbers that spreads every bit over all."""
    x = (x ^ (x >> np.uint64(_SHIFT0))) * np.uint64(_FACTOR0)
    x = (x ^ (x >> np.uint64(_SHIFT1))) * np.uint64(_FACTOR1)
    return x ^ (x >> np.uint64(_SHIFT2))


@careful
def key_of(seed, name, t):
    """The key of a parameter's draws in its update t, as `rounding.keys_of` has it."""
    x = mixed(seed * np.uint64(GOLDEN) + name)
    x = mixed(x + np.uint64(t) * np.uint64(GOLDEN))
    return np.int64(x >> np.uint64(32))
