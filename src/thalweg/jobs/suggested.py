"""What findings suggest to change of a run's settings, and from where to try it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

from thalweg.health.view import NO_BETTER
from thalweg.health.words import USUAL_RATIO
from thalweg.types import Finding

Changes = Mapping[str, Any]

SLOW = {"TW102", "TW103", "TW105", "TW106", "TW107", "TW202"}
"""Findings of a descent that is slow or held back: nothing broke, what was learnt is kept."""

NEARLY = 1.2
"""A loss of so many times the least, from before something broke, is a better place to go on from:
weights that are damaged may have come back to a low loss, and get no further."""

SCHEDULE = "TW105"
"""The finding that a change of the schedule alone mends, which each try brings."""

_WHOLE = "a schedule that lasts to the end"

ENOUGH = 32
"""Samples of a batch, from which on a larger one is dear, and noise seldom the cause."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """words: what is changed, as it is told; settings: by name, empty for the run as it was

    leads: where it helps, more of the same may help more
    """

    words: str
    settings: Changes
    leads: bool = False


def suggestions(codes: Sequence[str], chosen: Mapping[str, Any]) -> list[Suggestion]:
    """What findings suggest, the run as it was first; lr: the rate that was used.

    chosen: settings by name, and what is known of the run: gradient_norm, the usual one;
    update_ratio, the size of a step beside that of the weights

    >>> [each.words for each in suggestions(["TW004"], {"lr": 0.3, "gradient_norm": 0.21})]
    ['as it was', '--clip 0.21', '--clip 0.21 and --lr 0.03 (it was 0.3)']

    What no setting mends, such as slow steps, suggests nothing beside what does.
    """
    found = [Suggestion(_WHOLE if SCHEDULE in codes else "as it was", {})]
    known = [code for code in codes if code in _BY_CODE]
    names = [name for code in known for name in _BY_CODE[code]] if known else [*_ALWAYS]
    for name in dict.fromkeys(names):
        made = [_CHANGES[part](chosen) for part in name.split(" + ")]
        if None not in made:
            found.append(_together([each for each in made if each is not None]))
    return found


def _together(parts: Sequence[Suggestion]) -> Suggestion:
    """One suggestion of several."""
    words = " and ".join(each.words for each in parts)
    settings = {name: value for each in parts for name, value in each.settings.items()}
    return Suggestion(words, settings, leads=len(parts) == 1 and parts[0].leads)


def known_of(
    findings: Sequence[Finding], steps: Iterable[float], norms: Iterable[float]
) -> dict[str, Any]:
    """What is known of a run beside its settings. norms: of the gradient, at these steps

    gradient_norm: the usual one before anything was wrong; update_ratio: the size of a step beside
    that of the weights, where it is far too small; None where it is not known

    >>> known_of([], [1, 2, 3], [2.0, 1.0, 3.0])
    {'gradient_norm': 2.0, 'update_ratio': None}
    """
    since = min((each.since_step for each in findings), default=inf)
    rows = [n for step, n in zip(steps, norms, strict=True) if step < since and 0 < n < inf]
    ratios = [each.evidence.get("update_ratio") for each in findings if each.code == "TW102"]
    return {
        "gradient_norm": median(rows) if rows else None,
        "update_ratio": next((ratio for ratio in ratios if ratio is not None), None),
    }


def begin_of(losses: Mapping[int, float], findings: Sequence[Finding]) -> int:
    """Where to go on from: the step of the lowest loss, from before a break where that is near.

    losses: of validation, by the step of a state that was kept

    >>> finding = Finding("TW301", "dead units", "act", 150, 0.8, {}, "")
    >>> begin_of({0: 2.3, 100: 0.5, 200: 0.9, 300: 0.49}, [finding])
    100
    """
    found = _lowest(losses)
    breaks = [each.since_step for each in findings if each.code not in SLOW]
    before = {step: loss for step, loss in losses.items() if step < min(breaks, default=0)}
    if before and losses[_lowest(before)] <= NEARLY * losses[found]:
        return _lowest(before)
    return found


@dataclass(frozen=True, slots=True)
class Fresh:
    """Validation losses of one who knows nothing: the first weights', and a guess's where known."""

    loss: float
    guess: float | None = None


def worth_of(fresh: Fresh, codes: Iterable[str]) -> float:
    """What weights must be below to be a better place to go on from than fresh ones.

    Those that are no better than a guess have learnt nothing, wherever they began; and a run that
    broke leaves weights that are hard to train, so that they must be clearly better.
    codes: of what was found; where the descent was only slow, what little it learnt is kept

    >>> worth_of(Fresh(2.5, guess=2.3), ["TW101"]), worth_of(Fresh(2.5, guess=2.3), ["TW102"])
    (2.07, 2.3)
    """
    known = min(fresh.loss, inf if fresh.guess is None else fresh.guess)
    found = set(codes)
    return known if found and found <= SLOW else NO_BETTER * known


def begins_anew(kept: Mapping[int, float], fresh: Fresh) -> str:
    """Why it is not gone on from any state that was kept; kept: validation losses by their step.

    >>> begins_anew({900: 2.304}, Fresh(2.387, guess=2.303))[-68:]
    'hardly better than fresh ones (2.387) or a guess (2.303): begin anew'
    """
    finite = {step: loss for step, loss in kept.items() if loss < inf}
    if not finite:
        return "no weights were kept that have a validation loss: begin anew"
    step = _lowest(finite)
    guess = "" if fresh.guess is None else f" or a guess ({fresh.guess:.4g})"
    return (
        f"the best weights that were kept (step {step:,}, validation loss {finite[step]:.4g}) are "
        f"hardly better than fresh ones ({fresh.loss:.4g}){guess}: begin anew"
    )


def needs_schedule(codes: Sequence[str], settings: Changes) -> bool:
    """Does a run that begins anew with these changes need the schedule of the tries? Where its own
    was at fault, or is planned for another number of steps.

    >>> needs_schedule(["TW101"], {"lr": 0.1}), needs_schedule(["TW105"], {})
    (False, True)
    """
    return SCHEDULE in codes or "batch_size" in settings


def _lowest(losses: Mapping[int, float]) -> int:
    """The last step of the lowest loss."""
    return min(losses, key=lambda step: (losses[step], -step))


def is_repairable(code: str) -> bool:
    """Does a finding suggest any change of settings?

    >>> is_repairable("TW101"), is_repairable("TW203")
    (True, False)
    """
    return code in _BY_CODE


def of_rate(rate: float, lr: float, *, leads: bool = False) -> Suggestion:
    """Another rate in place of `lr`.

    >>> of_rate(0.01, 0.1).words
    '--lr 0.01 (it was 0.1)'
    """
    value = float(f"{rate:.3g}")
    return Suggestion(f"--lr {value:g} (it was {lr:g})", {"lr": value}, leads=leads)


def _rate(
    factor: float, *, leads: bool = False
) -> Callable[[Mapping[str, Any]], Suggestion | None]:
    def change(chosen: Mapping[str, Any]) -> Suggestion | None:
        lr = chosen.get("lr")
        if not isinstance(lr, float | int) or lr <= 0:
            return None
        return of_rate(lr * factor, lr, leads=leads)

    return change


def _up(chosen: Mapping[str, Any]) -> Suggestion | None:
    """By how much steps are too short, where that was measured; else ten times."""
    ratio = chosen.get("update_ratio")
    factor = USUAL_RATIO / ratio if isinstance(ratio, float) and ratio > 0 else 10.0
    return _rate(float(f"{min(max(factor, 3.0), 1e4):.1g}"), leads=True)(chosen)


def _clip(chosen: Mapping[str, Any]) -> Suggestion | None:
    now = chosen.get("clip")
    norm = chosen.get("gradient_norm") or 1.0
    value = now / 3 if isinstance(now, float | int) and now > 0 else norm
    value = float(f"{value:.2g}")
    return Suggestion(f"--clip {value:g}", {"clip": value})


def _batch(chosen: Mapping[str, Any]) -> Suggestion | None:
    """To some dozens, which cost little more than a few."""
    now = chosen.get("batch_size")
    if type(now) is not int or now >= ENOUGH:
        return None
    size = max(ENOUGH, 4 * now)
    return Suggestion(f"--batch-size {size} (it was {now})", {"batch_size": size})


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
    "lr / 10": _rate(0.1, leads=True),
    "lr / 3": _rate(1 / 3),
    "lr x 3": _rate(3.0),
    "lr up": _up,
    "clip": _clip,
    "batch": _batch,
    "decay / 10": _decay(0.1),
    "decay / 1000": _decay(0.001),
}
_ALWAYS = ("lr / 10", "lr up")
_BY_CODE = {
    "TW001": ("clip", "lr / 10"),
    "TW002": ("clip", "lr / 10"),
    "TW003": ("clip", "lr / 10"),
    "TW004": ("clip", "clip + lr / 10"),
    "TW101": ("lr / 10", "batch"),
    "TW102": ("lr up",),
    "TW103": ("batch", "lr / 3", "lr x 3"),
    "TW104": ("lr / 10", "lr up"),
    SCHEDULE: (),
    "TW106": ("decay / 1000", "decay / 10"),
    "TW107": ("batch", "batch + lr / 3"),
    "TW301": ("lr / 10",),
    "TW302": ("lr / 10",),
}
"""What is tried, by code, what is most to the point first."""
