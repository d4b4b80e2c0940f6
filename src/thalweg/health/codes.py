"""The table of findings: one row each, with its code, its severity and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Code:
    """A row: code, name, severity ("act": unhealthy), advice with {lr} and {lower} open."""

    code: str
    name: str
    severity: Literal["warn", "act"]
    advice: str


NON_FINITE = Code(
    "TW001",
    "non-finite loss or gradient",
    "act",
    "lower the learning rate (it was {lr:.3g}; try --lr {lower:.1g}); "
    "if it happens again at the first steps, look for extreme values in the data",
)

DIVERGENCE = Code(
    "TW002",
    "divergence",
    "act",
    "lower the learning rate (it was {lr:.3g}; try --lr {lower:.1g}), or clip the gradient "
    "(--clip 1)",
)

NON_FINITE_AT_ONCE = (
    "no update had been made yet, so the learning rate is not the cause: look for values in the "
    "data that are NaN, infinite or extreme, and for a loss that cannot take these outputs"
)
"""The advice for TW001 where it stands at the first step."""

CODES = {row.code: row for row in (NON_FINITE, DIVERGENCE)}
