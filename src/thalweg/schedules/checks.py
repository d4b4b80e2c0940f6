"""Ranges of the settings: each check gives back a plain number, or says what is allowed."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from thalweg.errors import UsageError


def share(owner: str, name: str, value: Any) -> float:
    """A number in 0 .. 1."""
    number = _float(value)
    if not 0 <= number <= 1:
        raise UsageError(f"{owner}: {name} is {value!r}: it must be a number in 0 .. 1")
    return number


def positive(owner: str, name: str, value: Any) -> float:
    """A finite number larger than 0."""
    number = _float(value)
    if not 0 < number < math.inf:
        raise UsageError(f"{owner}: {name} is {value!r}: it must be a number larger than 0")
    return number


def count(owner: str, name: str, value: Any, least: int) -> int:
    """A whole number, `least` or more."""
    if not _is(value, Integral) or value < least:
        raise UsageError(
            f"{owner}: {name} is {value!r}: it must be a whole number, at least {least}"
        )
    return int(value)


def length(owner: str, name: str, value: Any, least: int = 0) -> int | float:
    """A number of steps, `least` or more, as an int; or a share of the horizon as a float."""
    if _is(value, Integral) and value >= least:
        return int(value)
    if _is(value, Real) and not _is(value, Integral) and 0 <= value <= 1 and (value or not least):
        return float(value)
    share = "0 .. 1" if not least else "0 .. 1, above 0"
    raise UsageError(
        f"{owner}: {name} is {value!r}: it must be a whole number of steps, at least {least}, "
        f"or a share as a float in {share}"
    )


def _float(value: Any) -> float:
    """The value as a float; NaN, which lies in no range, for anything that is no number."""
    if not _is(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
