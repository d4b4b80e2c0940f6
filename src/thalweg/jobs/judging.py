"""The settings that judge answers, as users write them: quantiles, class weights, metric."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from thalweg.errors import UsageError

BALANCED = "balanced"

_QUANTILES = "quantiles is {!r}: write levels between 0 and 1, such as 0.1,0.5,0.9"
_CLASSES = (
    "class-weights is {!r}: write balanced, or a weight above 0 for each class, such as "
    "spam=5,ham=1"
)


def quantiles_text(given: Any) -> str | None:
    """ "0.1,0.5,0.9", of a text or of numbers. Raises UsageError for levels outside of 0 .. 1.

    >>> quantiles_text([0.1, 0.9])
    '0.1,0.9'
    """
    if given is None:
        return None
    rows = given.split(",") if isinstance(given, str) else given
    rows = rows if isinstance(rows, Sequence) else [rows]
    try:
        levels = [float(row) for row in rows]
    except (TypeError, ValueError):
        raise UsageError(_QUANTILES.format(given)) from None
    if not levels or not all(0 < level < 1 for level in levels):
        raise UsageError(_QUANTILES.format(given))
    if len(set(levels)) < len(levels):
        raise UsageError(f"quantiles is {given!r}: a level stands there twice")
    return ",".join(f"{level:g}" for level in levels)


def levels_of(text: str | None) -> tuple[float, ...]:
    """The levels in what `quantiles_text` gave."""
    return tuple(map(float, text.split(","))) if text else ()


def class_weights_text(given: Any) -> str | None:
    """ "balanced", or an object of JSON by class name: as run.toml keeps it. Raises UsageError.

    >>> class_weights_text("spam=5,ham=1"), class_weights_text({0: 1, 1: 20.0})
    ('{"spam": 5.0, "ham": 1.0}', '{"0": 1.0, "1": 20.0}')
    """
    if given is None or given == BALANCED:
        return given
    rows = given if isinstance(given, Mapping) else _pairs(given)
    values = {_class_name(name): value for name, value in rows.items()}
    for name, value in values.items():
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not (is_number and math.isfinite(float(value)) and float(value) > 0):
            raise UsageError(
                f"class-weights: the weight of {name!r} is {value!r}: it must be a number above 0"
            )
    if not values:
        raise UsageError(_CLASSES.format(given))
    return json.dumps({name: float(value) for name, value in values.items()}, ensure_ascii=False)


def class_weights_of(text: str | None) -> Any:
    """What `class_weights_text` gave, as a mapping or "balanced"."""
    return text if text is None or text == BALANCED else json.loads(text)


def _class_name(name: Any) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _pairs(given: Any) -> Mapping[str, Any]:
    text = str(given)
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    rows = {}
    for part in filter(None, text.split(",")):
        name, equals, value = (piece.strip() for piece in part.rpartition("="))
        try:
            rows[name] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise UsageError(_CLASSES.format(given))
    return rows


def check_named(name: str, given: Any) -> None:
    """Raise UsageError for what is neither a text nor a function."""
    if given is not None and not isinstance(given, str) and not callable(given):
        raise UsageError(
            f"{name} is {given!r}: give a name, module:function, or from Python a function"
        )
    if given == "":
        raise UsageError(f"{name} is empty: leave it out for the default")
