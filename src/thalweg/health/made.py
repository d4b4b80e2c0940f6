"""Making a finding about a model: a sentence with numbers, and many weights named in few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from thalweg.facts import Weight
from thalweg.health.codes import CODES
from thalweg.health.words import Run, advice
from thalweg.types import Finding

MOST_NAMED = 3


def made(
    code: str,
    step: int,
    confidence: float,
    text: str,
    *,
    numbers: Mapping[str, Any] | None = None,
    severity: Literal["warn", "act"] | None = None,
    remedy: str = "",
    run: Run | None = None,
    **gaps: str,
) -> Finding:
    """A row of the table for this model. text: what was seen, with its numbers; severity: where it
    is milder than the row's; remedy: in place of the row's; gaps: of the row's
    """
    row = CODES[code]
    return Finding(
        code=code,
        name=row.name,
        severity=severity or row.severity,
        since_step=step,
        confidence=confidence,
        evidence={"what": text, **(numbers or {})},
        advice=remedy or advice(row, run or Run(), **gaps),
    )


def named(weights: Iterable[Weight]) -> str:
    """The modules of weights, and how many these are.

    >>> w = Weight("encoder.0.bias", "encoder.0", "Linear", 4, "float32", True, True)
    >>> named([w])
    "'encoder.0' (4 weights)"
    """
    weights = list(weights)
    modules = list(dict.fromkeys(weight.module or "the model" for weight in weights))
    shared = common(modules)
    shown = [shared] if shared and len(modules) > MOST_NAMED else modules[:MOST_NAMED]
    more = len(modules) - MOST_NAMED if len(modules) > MOST_NAMED and not shared else 0
    words = ", ".join(repr(name) for name in shown) + (f" and {more} more" if more else "")
    return f"{words} ({counted(sum(weight.size for weight in weights))})"


def common(modules: list[str]) -> str:
    """The path that all of them begin with."""
    paths = [name.split(".") for name in modules]
    shared = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def counted(size: int) -> str:
    """ "34,000 weights" """
    return "1 weight" if size == 1 else f"{size:,} weights"


def short(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"
