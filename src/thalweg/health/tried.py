"""What trials on a snapshot say of causes: their numbers in, what they confirm or refute out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from thalweg.facts import Trial
from thalweg.health.codes import CODES
from thalweg.health.view import Suspicion
from thalweg.types import Finding

FITTED, NOT_FITTED = 0.1, 0.5
"""Of 16 samples' loss at the beginning, what is left: below the one they were fitted, above the
other they were not. Between them it is not known."""

WORTHLESS, WORTH_MUCH = 0.1, 0.7
"""What right labels, or inputs, take off the loss: as a share of the loss without them."""

TIME = 200
"""Steps, of the run and of the trial together, before which a model need not have learned."""

BETTER_BELOW, BETTER_ABOVE, FASTER, WORSE = 0.2, 0.05, 5.0, 0.02
"""A lower rate is better by this share of the loss (any sound run gains some when its rate is
lowered), or a higher one by this, and falls so many times as far; or it is worse by that share."""

LOST = 1.5
"""A loss of so many times what one pays without inputs: weights so bad that any rate mends them."""

DIFFERENT = 0.05
"""A gradient that differs by more than this share, and thrice what chance explains, is another."""

ODDS = 4.0
"""What a trial multiplies, or divides, the odds of a cause by: set by hand, not yet calibrated."""

DOUBTED = 0.5
"""A finding that falls below it is told as a warning."""

BROKEN = ("TW305", "TW307", "TW309")
DEAD = ("TW301", "TW302")
"""What keeps a model from fitting 16 samples at any rate: how it is made, what became of it."""

FAR_UP, FAR_DOWN = 90.0, 0.2
"""Samples that are fitted only at so many times the rate: it is too low, or too high. Ten times is
no fault: a sound rate need not fit them in so few steps."""

SEARCHED = 6
"""Rates at which it was tried to fit them, before it is said that they cannot be fitted."""

NEEDS = {
    **dict.fromkeys(("TW001", "TW002", "TW004"), ("rates",)),
    "TW101": ("rates",),
    "TW102": ("rates", "overfit"),
    "TW103": ("rates",),
    "TW104": ("overfit", "zeroed", "permuted"),
    "TW202": ("overfit",),
    "TW203": ("overfit", "permuted"),
    "TW308": ("replay",),
    **dict.fromkeys((*BROKEN, *DEAD), ("overfit",)),
}
"""Which trials a finding asks for, the most telling first."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one trial says. says: a sentence with its numbers; confirms, refutes: causes by code"""

    says: str
    confirms: tuple[str, ...] = ()
    refutes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """Trials that were made, and what they say. budget: the steps that they might take

    >>> numbers = {"begin": 2.3, "blank": 2.2, "best": 0.05, "factor": 1.0, "rates": 1}
    >>> print(Tried((Trial("overfit", 40, numbers),), budget=400))
    overfit: the loss of 16 samples went from 2.3 to 0.05 at the run's rate, and with inputs all \
zero to 2.2: model, loss and gradients work (against TW305, TW307, TW309)
    """

    results: tuple[Trial, ...]
    budget: int

    @property
    def steps(self) -> int:
        """That they took, together."""
        return sum(each.steps for each in self.results)

    @property
    def said(self) -> dict[str, Said]:
        """What each of them says, by its name."""
        numbers = {each.name: each.numbers for each in self.results if each.numbers}
        return {
            each.name: _JUDGES[each.name](numbers) if each.numbers else Said(each.why_not)
            for each in self.results
        }

    def __str__(self) -> str:
        return "\n".join(f"{name}: {_line(said)}" for name, said in self.said.items())


def _line(said: Said) -> str:
    words = [f"for {', '.join(said.confirms)}"] if said.confirms else []
    words += [f"against {', '.join(said.refutes)}"] if said.refutes else []
    return f"{said.says} ({'; '.join(words)})" if words else said.says


def in_need(names: Sequence[str], codes: Iterable[str]) -> list[str]:
    """Trials in the order in which the findings of a run ask for them, then the others.

    >>> in_need(["overfit", "permuted", "zeroed", "rates"], ["TW101"])
    ['rates', 'overfit', 'permuted', 'zeroed']
    """
    asked = [name for code in codes for name in NEEDS.get(code, ()) if name in names]
    return list(dict.fromkeys([*asked, *names]))


def kept(tried: Tried, findings: Iterable[Finding] = ()) -> dict[str, Any]:
    """Trials as an event of a record keeps them, with the findings that asked for them;
    `tried_again` reads the former.
    """
    results = [asdict(each) for each in tried.results]
    return {"budget": tried.budget, "results": results, "findings": [*map(asdict, findings)]}


def tried_again(kept: Mapping[str, Any]) -> Tried:
    """Trials that `kept` has written.

    >>> made = Tried((Trial("rates", why_not="nothing to try with"),), budget=40)
    >>> tried_again(kept(made)) == made
    True
    """
    return Tried(tuple(Trial(**row) for row in kept["results"]), kept["budget"])


def confirmed(findings: Sequence[Finding], tried: Tried) -> list[Finding]:
    """The findings as sure as they are after trials, the surest first; each with what was seen."""
    found = [weighed(each, each.code, tried) for each in findings]
    return sorted(found, key=lambda each: (each.severity == "warn", -each.confidence))


Claim = TypeVar("Claim", Finding, Suspicion)


def weighed(finding: Claim, code: str, tried: Tried) -> Claim:
    """A finding as sure as it is after trials, with what these have shown of its cause."""
    said = tried.said.values()
    spoke = {each.says: code in each.confirms for each in said if code in _codes(each)}
    if not spoke:
        return finding
    odds = finding.confidence / max(1.0 - finding.confidence, 1e-3)
    odds *= math.prod(ODDS if is_for else 1 / ODDS for is_for in spoke.values())
    sure = round(odds / (1 + odds), 2)
    return replace(
        finding,
        confidence=sure,
        severity="warn" if sure < DOUBTED else finding.severity,
        evidence={
            **finding.evidence,
            "confidence_before": finding.confidence,
            "confirmed_by": [says for says, is_for in spoke.items() if is_for],
            "refuted_by": [says for says, is_for in spoke.items() if not is_for],
        },
    )


def unweighed(finding: Finding) -> Finding:
    """A finding as it was before trials; those that are made anew must not count twice."""
    evidence = dict(finding.evidence)
    if "confidence_before" not in evidence:
        return finding
    sure = evidence.pop("confidence_before")
    del evidence["confirmed_by"], evidence["refuted_by"]
    is_doubted = finding.confidence < DOUBTED <= sure
    severity = CODES[finding.code].severity if is_doubted else finding.severity
    return replace(finding, confidence=sure, severity=severity, evidence=evidence)


def _codes(said: Said) -> tuple[str, ...]:
    return (*said.confirms, *said.refutes)


def tried_object(tried: Tried) -> dict[str, Any]:
    """Trials as they stand in JSON."""
    said = tried.said
    rows = [
        {
            "name": each.name,
            "steps": each.steps,
            "numbers": dict(each.numbers),
            "says": said[each.name].says,
            "confirms": _named(said[each.name].confirms),
            "refutes": _named(said[each.name].refutes),
        }
        for each in tried.results
    ]
    return {"budget": tried.budget, "steps": tried.steps, "results": rows}


def _named(codes: Iterable[str]) -> list[dict[str, str]]:
    return [{"code": code, "name": CODES[code].name} for code in codes]


# ------------------------------------------------------------ what each says

Numbers = Mapping[str, Mapping[str, float]]
"""By trial, what was measured: a trial may need to know what another one has shown."""


def _overfit(numbers: Numbers) -> Said:
    row = numbers["overfit"]
    blank = f", and with inputs all zero to {row['blank']:.4g}" if row["blank"] else ""
    fall = f"the loss of 16 samples went from {row['begin']:.4g} to {row['best']:.4g}"
    text = f"{fall} at {_times(row['factor'])}{blank}"
    if 0 < row["blank"] < FITTED * row["begin"]:
        return Said(f"{text}: fitted without inputs as well, they say nothing of the model")
    if is_fitted(row):
        confirms = ("TW102",) * (row["factor"] > FAR_UP) + ("TW101",) * (row["factor"] < FAR_DOWN)
        return Said(f"{text}: model, loss and gradients work", confirms, BROKEN)
    if row["best"] > NOT_FITTED * _level(row) and row["rates"] >= SEARCHED:
        text = (
            f"{fall} at best, of {row['rates']:.0f} rates for {row['length']:.0f} steps each"
            f"{blank}: the fault lies in the model as it stands, the loss or the gradients, not in "
            "the data"
        )
        return Said(text, (*BROKEN, *DEAD, "TW202"), ("TW203",))
    return Said(f"{text}: too little to call them fitted, too much to call it a fault")


def is_fitted(row: Mapping[str, float]) -> bool:
    """Did the trial `overfit` fit its samples?"""
    return row["best"] < FITTED * _level(row)


def _level(row: Mapping[str, float]) -> float:
    """What the samples cost one who does not know them."""
    return max(row["begin"], row["blank"])


def _permuted(numbers: Numbers) -> Said:
    row = numbers["permuted"]
    worth, text = _worth(row, "permuted labels")
    if worth > WORTH_MUCH:
        return Said(f"{text}: the labels belong to their inputs", (), ("TW203",))
    if not _is_worthless(row, worth):
        return Said(text)
    if not _had_time(row):
        return Said(f"{text}; in {_seen(row):,} steps it need not have learned yet")
    if "overfit" in numbers and not is_fitted(numbers["overfit"]):
        return Said(f"{text}; but the model does not fit 16 samples either")
    return Said(f"{text}: the labels say nothing that holds for other samples", ("TW203",))


def _zeroed(numbers: Numbers) -> Said:
    row = numbers["zeroed"]
    worth, text = _worth(row, "inputs that are all zero")
    if worth > WORTH_MUCH:
        return Said(f"{text}: the model uses its inputs", (), ("TW104",))
    if not _is_worthless(row, worth):
        return Said(text)
    if not _had_time(row):
        return Said(f"{text}; in {_seen(row):,} steps it need not have learned yet")
    if worth < -WORTHLESS:
        return Said(f"{text}: what it has learned does not hold for other samples")
    return Said(f"{text}: the model knows no more than the frequency of answers", ("TW104",))


def _worth(row: Mapping[str, float], other: str) -> tuple[float, str]:
    """What it is worth to have the right ones, as a share of the loss without; and in words."""
    text = (
        f"after {row['steps']:.0f} steps more the loss of samples apart was {row['right']:.4g}, "
        f"with {other} {row['other']:.4g} (give or take {row['error']:.2g})"
    )
    if not (math.isfinite(row["other"]) and math.isfinite(row["right"])):
        return math.nan, text
    return (row["other"] - row["right"]) / max(abs(row["other"]), 1e-12), text


def _is_worthless(row: Mapping[str, float], worth: float) -> bool:
    """Even where chance had hidden some of it. Not where it is not known."""
    return worth + 2 * row["error"] / max(abs(row["other"]), 1e-12) < WORTHLESS


def _had_time(row: Mapping[str, float]) -> bool:
    return _seen(row) >= TIME


def _seen(row: Mapping[str, float]) -> int:
    return round(row["number"] + row["steps"])


def _rates(numbers: Numbers) -> Said:
    row = numbers["rates"]
    third, one, three, ten = (row[name] for name in ("third", "one", "three", "ten"))
    text = (
        f"in {row['steps']:.0f} steps the loss of samples apart went from {row['begin']:.4g} to "
        f"{third:.4g} at a third of the rate, {one:.4g} at the run's, {three:.4g} at 3 times and "
        f"{ten:.4g} at 10 times it"
    )
    scale = abs(row["begin"])
    knows = row["begin"] < LOST * numbers.get("zeroed", {}).get("other", math.inf)
    confirms, refutes = [], []
    if third < row["begin"] and one - third > max(BETTER_BELOW * scale, 2 * row["error_lower"]):
        confirms.append("TW101")
    elif knows and third - one > WORSE * scale:
        refutes.append("TW101")
    gain = max(BETTER_ABOVE * scale, 2 * row["error_higher"])
    is_faster = row["begin"] - ten > FASTER * max(row["begin"] - one, 0.0)
    if knows and third >= one > three > ten and is_faster and one - ten > gain and _had_time(row):
        confirms.append("TW102")
    elif ten - one > WORSE * scale:
        refutes.append("TW102")
    return Said(text, tuple(confirms), tuple(refutes))


def _replay(numbers: Numbers) -> Said:
    row = numbers["replay"]
    text = (
        f"the gradient's norm was {row['run']:.4g} in the run and {row['replay']:.4g} for the same "
        f"batch after zeroing; they differ by {100 * row['difference']:.3g}%"
    )
    if row["difference"] > max(DIFFERENT, 3 * row["chance"]):
        return Said(f"{text}: the run adds gradients up", ("TW308",))
    return Said(f"{text}: the run's gradient is that of its batch alone", (), ("TW308",))


def _times(factor: float) -> str:
    return "the run's rate" if factor == 1 else f"{factor:.3g} times the run's rate"


_JUDGES: dict[str, Callable[[Numbers], Said]] = {
    "overfit": _overfit,
    "permuted": _permuted,
    "zeroed": _zeroed,
    "rates": _rates,
    "replay": _replay,
}
