"""How gradients are clipped: `clip=1.0` is short for `clip=ByNorm(1.0)`.

Parameter groups with the same clip share one norm, so a `clip` given to the optimizer limits the
norm of all gradients together. The clips themselves stand in `rules/clips.py`.
"""

from __future__ import annotations

from thalweg.rules.clips import ByNorm, Clip, PerTensor, clip_of
from thalweg.rules.options import Adaptive, ByValue

__all__ = ["Adaptive", "ByNorm", "ByValue", "Clip", "PerTensor", "clip_of"]
