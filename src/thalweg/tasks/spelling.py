"""Names with settings, such as `focal:gamma=2`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from thalweg.errors import UsageError


def numbers_of(what: str, text: str, known: Mapping[str, float]) -> dict[str, float]:
    """{"gamma": 2.0} of "gamma=2", known settings with their defaults filled in.

    Raises UsageError for a setting that is not known, or is no number above 0.
    """
    found = dict(known)
    for part in filter(None, text.split(",")):
        key, _, value = map(str.strip, part.partition("="))
        if key not in known:
            allowed = ", ".join(f"{name}=NUMBER" for name in known) or "nothing"
            raise UsageError(f"{what}: {key!r} is not a setting of it, which takes {allowed}")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise UsageError(f"{what}: {key} is {value!r}, and must be a number larger than 0")
        found[key] = number
    return found
