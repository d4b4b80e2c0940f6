"""What the value of a setting may be: each kind of value, refused in one line where it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from thalweg.errors import UsageError

_PAIR = {"optimizer": "weight_decay=0.1", "until": "accuracy=0.98"}


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise UsageError for a word that is none of the choices, with the nearest one."""
    if value in choices:
        return
    near = get_close_matches(str(value), choices, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"{name} {value!r} is unknown: {hint}choose one of {', '.join(choices)}")


def number_of(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    below: float | None = None,
    least: int = 0,
    most: int | None = None,
) -> float:
    """A plain number. Raises UsageError unless above `above`, below `below` and at most `most`;
    without `above` unless whole, in `least` .. `most`.
    """
    if above is not None:
        if _is(value, Real) and math.isfinite(value) and value > above:
            if (below is None or value < below) and (most is None or value <= most):
                return float(value)
            raise UsageError(
                f"{name} is {value:g}: it must lie between {above:g} and "
                f"{most if below is None else below:g}"
            )
        raise UsageError(f"{name} is {value!r}: it must be a number larger than {above:g}")
    if _is(value, Integral) and least <= value <= (value if most is None else most):
        return int(value)
    allowed = f"{least} or more" if most is None else f"{least} .. {most:,}"
    raise UsageError(f"{name} is {value!r}: it must be a whole number, {allowed}")


def share_of(name: str, value: Any) -> float:
    """A number, 0 or more, below 1. Raises UsageError for anything else."""
    if _is(value, Real) and 0 <= value < 1:
        return float(value)
    raise UsageError(f"{name} is {value!r}: it must be a number, 0 or more, below 1")


def word_or_number(
    name: str, value: Any, words: Sequence[str], *, most: int | None = None
) -> str | int:
    """One of the words, or a whole number in 1 .. `most`. Raises UsageError for anything else."""
    if value in words:
        return value
    try:
        return int(number_of(name, value, least=1, most=most))
    except UsageError:
        allowed = ">= 1" if most is None else f"in 1 .. {most:,}"
        raise UsageError(
            f"{name} is {value!r}: it must be {', '.join(words)}, or a whole number {allowed}"
        ) from None


def texts_of(name: str, text: str) -> dict[str, str]:
    """{"a": "1", "b": "true"} of "a=1,b=true"."""
    pairs = {}
    for part in filter(None, text.split(",")):
        key, _, value = map(str.strip, part.partition("="))
        if not key or not value:
            raise UsageError(f"{name}: {part!r} is not NAME=VALUE, such as {_PAIR[name]}")
        pairs[key] = value
    return pairs


def numbers_of(name: str, text: str) -> dict[str, float]:
    """{"a": 1.0} of "a=1,b=2"."""
    pairs = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not key.strip() or not math.isfinite(number):
            raise UsageError(f"{name}: {part!r} is not NAME=NUMBER, such as {_PAIR[name]}")
        pairs[key.strip()] = number
    return pairs


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
