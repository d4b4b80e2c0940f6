"""How often something is done: every so many steps, or every so many seconds; needs no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from thalweg.errors import UsageError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|)\s*")


@dataclass(frozen=True, slots=True)
class Every:
    """steps, >= 1, or seconds, > 0; the other is None."""

    steps: int | None = None
    seconds: float | None = None


def seconds_of(text: str) -> float | None:
    """Seconds of a length such as 90s, 5m, 2h or 90; None for anything else, and for nothing.

    >>> seconds_of("1.5m"), seconds_of("0s"), seconds_of("soon")
    (90.0, None, None)
    """
    match = _LENGTH.fullmatch(text)
    return float(match[1]) * _UNITS[match[2]] or None if match else None


def every_of(value: int | str) -> Every:
    """A number of steps, or a time such as "60s" or "5m". Raises UsageError for anything else.

    >>> every_of(500), every_of("5m")
    (Every(steps=500, seconds=None), Every(steps=None, seconds=300.0))
    """
    text = str(value).strip()
    if text.isdecimal() and int(text) >= 1:
        return Every(steps=int(text))
    seconds = None if text[-1:].isdigit() else seconds_of(text)
    if seconds is None or not isinstance(value, str):
        raise UsageError(
            f"checkpoint-every is {value!r}: give a number of steps, 1 or more, or a time such as "
            "60s or 5m"
        )
    return Every(seconds=seconds)
