"""Clips: what a gradient may be at most, as objects and as texts such as `adaptive:0.01`.

Needs no torch, so that a slip on the command line is answered at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, get_args

from thalweg.errors import UsageError
from thalweg.rules.options import Adaptive, ByValue, check_limit
from thalweg.rules.rule import number_of


@dataclass(frozen=True, slots=True)
class ByNorm:
    """Gradients are scaled down together so that their norm is at most `limit` (> 0).

    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks,
    ICML 2013.
    """

    limit: float

    def __post_init__(self) -> None:
        check_limit(self)


@dataclass(frozen=True, slots=True)
class PerTensor:
    """Each tensor's gradient is scaled down so that its own norm is at most `limit` (> 0)."""

    limit: float

    def __post_init__(self) -> None:
        check_limit(self)


Clip = ByNorm | PerTensor | ByValue | Adaptive

CLIPS: tuple[type, ...] = get_args(Clip)

WORDS: dict[str, type] = {
    "norm": ByNorm,
    "tensor": PerTensor,
    "value": ByValue,
    "adaptive": Adaptive,
}
"""Each clip's word, as the command line has it; `norm` may be left out."""

NO_CLIP = "none"
"""The text for no clip, where one is usual."""

EXAMPLES = "1.0 (a norm > 0), tensor:1.0, value:0.5, adaptive or adaptive:0.01, or none"


def is_in_formula(clip: Clip | None) -> bool:
    """Does it join the rule's formula, as an option does, so that no norm is shared by tensors?"""
    return isinstance(clip, ByValue | Adaptive)


def clip_of(value: Any) -> Clip | None:
    """The clip that a setting means. Raises UsageError for anything else.

    >>> clip_of(1.0)
    ByNorm(limit=1.0)
    """
    if value is None or isinstance(value, CLIPS):
        return value
    if 0 < number_of(value) < math.inf:
        return ByNorm(float(value))
    raise UsageError(
        f"clip is {value!r}: give a norm > 0 such as 1.0, ByNorm(1.0), PerTensor(1.0), "
        "ByValue(0.5), Adaptive(0.01), or None"
    )


def parse_clip(text: str) -> Clip:
    """The clip that a text means. Raises UsageError for anything else.

    >>> parse_clip("value:0.5"), parse_clip("adaptive:0.02,eps=0.01")
    (ByValue(limit=0.5), Adaptive(limit=0.02, eps=0.01))
    """
    word, colon, rest = text.strip().partition(":")
    if not colon and _number(word) is not None:
        word, rest = "norm", word
    if word not in WORDS:
        raise UsageError(f"clip is {text!r}: give {EXAMPLES}")
    kind = WORDS[word]
    known = [row.name for row in fields(kind)]
    given: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = map(str.strip, part.partition("="))
        name, value = (name, value) if equals else (known[0], name)
        if name not in known or name in given or _number(value) is None:
            raise UsageError(f"clip is {text!r}: {part!r} is none of its numbers: give {EXAMPLES}")
        given[name] = _number(value)
    if not given and kind is not Adaptive:
        raise UsageError(f"clip is {text!r}: {word} needs its limit, such as {word}:1.0")
    try:
        return kind(**given)
    except UsageError as error:
        raise UsageError(f"clip is {text!r}: {error}") from None


def clip_text(clip: Clip) -> str:
    """The text that means this clip: `parse_clip` reads it back.

    >>> clip_text(Adaptive())
    'adaptive:limit=0.01,eps=0.001'
    """
    word = next(word for word, kind in WORDS.items() if type(clip) is kind)
    numbers = [f"{row.name}={float(getattr(clip, row.name))!r}" for row in fields(clip)]
    return f"{word}:{','.join(numbers)}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
