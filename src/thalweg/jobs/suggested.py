"""What findings suggest to change of a run's settings, and from where to try it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Changes = Mapping[str, Any]

HARMLESS = {"TW102", "TW103", "TW105", "TW106", "TW107", "TW202"}
"""Findings of a descent that is slow or held back: what was learnt so far is worth keeping."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """words: what is changed, as it is told; settings: by name, empty for the run as it was"""

    words: str
    settings: Changes


def suggestions(codes: Sequence[str], chosen: Mapping[str, Any]) -> list[Suggestion]:
    """What findings suggest, the run as it was first; lr: the rate that was used.

    >>> [each.words for each in suggestions(["TW101"], {"lr": 0.3})]
    ['as it was', '--lr 0.1 (it was 0.3)', '--lr 0.03 (it was 0.3)']
    """
    found = [Suggestion("as it was", {})]
    names = [name for code in codes for name in _BY_CODE.get(code, ())] or _ALWAYS
    for name in dict.fromkeys(names):
        made = _CHANGES[name](chosen)
        if made is not None:
            found.append(made)
    return found


def is_repairable(code: str) -> bool:
    """Does a finding suggest any change of settings?

    >>> is_repairable("TW101"), is_repairable("TW203")
    (True, False)
    """
    return code in _BY_CODE


def is_worth_keeping(codes: Sequence[str]) -> bool:
    """Can one go on from the last checkpoint, because nothing is broken?

    >>> is_worth_keeping(["TW102", "TW103"]), is_worth_keeping(["TW102", "TW002"])
    (True, False)
    """
    return bool(codes) and set(codes) <= HARMLESS


def _rate(factor: float) -> Callable[[Mapping[str, Any]], Suggestion | None]:
    def change(chosen: Mapping[str, Any]) -> Suggestion | None:
        lr = chosen.get("lr")
        if not isinstance(lr, float | int) or lr <= 0:
            return None
        value = float(f"{lr * factor:.3g}")
        return Suggestion(f"--lr {value:g} (it was {lr:g})", {"lr": value})

    return change


def _clip(chosen: Mapping[str, Any]) -> Suggestion | None:
    now = chosen.get("clip")
    value = now / 3 if isinstance(now, float | int) and now > 0 else 1.0
    return Suggestion(f"--clip {value:.3g}", {"clip": value})


def _batch(chosen: Mapping[str, Any]) -> Suggestion | None:
    now = chosen.get("batch_size")
    if type(now) is not int:
        return None
    size = 4 * now if now > 2 else 32
    return Suggestion(f"--batch-size {size} (it was {now})", {"batch_size": size})


def _schedule(chosen: Mapping[str, Any]) -> Suggestion | None:
    if chosen.get("schedule") is None:
        return None
    return Suggestion("--schedule cosine, over what is left", {"schedule": "cosine"})


def _decay(factor: float) -> Callable[[Mapping[str, Any]], Suggestion | None]:
    """Of the optimizer's text, "adamw:weight_decay=0.1", or of a setting of that name."""

    def change(chosen: Mapping[str, Any]) -> Suggestion | None:
        now = chosen.get("weight_decay")
        text = str(chosen.get("optimizer") or "")
        named = re.search(r"weight_decay=([\d.eE+-]+)", text)
        if isinstance(now, float | int) and now > 0:
            value = float(f"{now * factor:.3g}")
            return Suggestion(f"weight decay {value:g} (it was {now:g})", {"weight_decay": value})
        if named is None:
            return None
        value = float(f"{float(named[1]) * factor:.3g}")
        other = text.replace(named[0], f"weight_decay={value:g}")
        return Suggestion(f"--optimizer {other} (it was {named[1]})", {"optimizer": other})

    return change


_CHANGES = {
    "lr / 10": _rate(0.1),
    "lr / 3": _rate(1 / 3),
    "lr x 3": _rate(3.0),
    "lr x 10": _rate(10.0),
    "lr x 100": _rate(100.0),
    "clip": _clip,
    "batch": _batch,
    "schedule": _schedule,
    "decay / 10": _decay(0.1),
    "decay / 1000": _decay(0.001),
}
_LOWER, _HIGHER = ("lr / 3", "lr / 10"), ("lr x 3", "lr x 10", "lr x 100")
_ALWAYS = ["lr / 3", "lr x 3", "lr x 10"]
_BY_CODE = {
    "TW001": (*_LOWER, "clip"),
    "TW002": (*_LOWER, "clip"),
    "TW003": ("clip", "lr / 3"),
    "TW004": ("clip", *_LOWER),
    "TW101": _LOWER,
    "TW102": _HIGHER,
    "TW103": ("lr / 3", "lr x 3", "batch"),
    "TW104": ("lr / 10", *_HIGHER),
    "TW105": ("schedule",),
    "TW106": ("decay / 10", "decay / 1000"),
    "TW107": ("batch", "lr / 3"),
    "TW301": _LOWER,
}
