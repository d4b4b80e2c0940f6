"""Chance that is counted, not drawn: the key of a tensor's draws in a step, and the draws.

Every backend rounds bfloat16 results with the same bits, a function of (seed, parameter, step,
element): a resumed run repeats them, whatever computed the first part.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MIX_LONG = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
"""(shift, factor) of each round that mixes a key's 64 bits (Stafford's mix 13)."""
MIX = ((16, 0x7FEB352D), (15, 0x846CA68B))
"""(shift, factor) of each round of a draw."""
SHIFTS = (0, 16, 8)
"""Which 16 of a draw's 32 bits round array k: SHIFTS[k % 3]."""


def keys_of(seed: int, parameters: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The 32-bit keys, as int64, of these parameters' draws in their update t."""
    with np.errstate(over="ignore"):
        x = np.uint64(seed & 0xFFFFFFFFFFFFFFFF) * np.uint64(GOLDEN)
        x = _mixed(x + parameters.astype(np.uint64))
        x = _mixed(x + t.astype(np.uint64) * np.uint64(GOLDEN))
    return (x >> np.uint64(32)).astype(np.int64)


def _mixed(x: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit numbers that spreads every bit over all."""
    for shift, factor in MIX_LONG:
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x


def draws(key: int, indices: Tensor) -> Tensor:
    """32 random bits, as int64, for the elements at these places of a tensor."""
    low = 0xFFFFFFFF
    x = (indices + key) & low
    for shift, factor in MIX:
        x = x ^ (x >> shift)
        x = (x * factor) & low
    return x ^ (x >> 16)


def rounded_by_chance(values: Tensor, bits: Tensor, array: int) -> Tensor:
    """Values as bfloat16, by way of float32, each rounded up by the chance that keeps the mean."""
    chance = ((bits >> SHIFTS[array % 3]) & 0xFFFF).to(torch.int32)
    single = values.to(torch.float32).contiguous()
    pattern = single.view(torch.int32) + chance.view(values.shape)
    return (pattern & -0x10000).view(torch.float32).to(torch.bfloat16)
