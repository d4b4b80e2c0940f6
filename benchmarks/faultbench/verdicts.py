"""What became of a run with a fault, beside the run of the same contender and seed without it."""

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from benchmarks.faultbench.attempts import Outcome
from benchmarks.faultbench.faults import Fault

EQUAL = "bit-equal"
RECOVERED = "recovered"
DIFFERENT = "not equal"
WORSE = "worse"
NAN = "NaN"
STOPPED = "stopped"
CRASHED = "crashed"
ABSENT = "not offered"
KINDS = (EQUAL, RECOVERED, DIFFERENT, WORSE, NAN, STOPPED, CRASHED, ABSENT)
"""From good to bad; only the first two are what is asked for."""


class Where(NamedTuple):
    """Which run."""

    task: str
    contender: str
    seed: int


@dataclass(frozen=True)
class Verdict:
    """One run with a fault.

    excess: how much larger its final validation loss is than without the fault, as a share
    tolerance: what it may be; detail: the error, or why it was stopped
    said: what was said that the run without the fault did not say
    num_attempts: 2 where it had to be started again
    """

    where: Where
    fault: str
    kind: str
    excess: float | None
    tolerance: float
    detail: str
    said: tuple[str, ...]
    num_attempts: int
    seconds: float

    @property
    def is_good(self) -> bool:
        return self.kind in (EQUAL, RECOVERED)

    @property
    def is_silent(self) -> bool:
        """Did it go wrong and nobody said a word?"""
        return not self.is_good and self.kind not in (CRASHED, STOPPED, ABSENT) and not self.said


def judged(
    where: Where, fault: Fault, outcomes: Sequence[Outcome], *, clean: Outcome, spread: float
) -> Verdict:
    """The verdict on a run's attempts.

    clean: its twin without the fault; spread: how far the twins of all seeds lie apart
    """
    tolerance = tolerance_of(fault, spread)
    kind, excess, detail = _kind(outcomes[-1], clean, fault, tolerance)
    said = [line for outcome in outcomes for line in outcome.said]
    said += [outcome.error for outcome in outcomes if outcome.error and not outcome.was_killed]
    return Verdict(
        where,
        fault.name,
        kind=kind,
        excess=excess,
        tolerance=tolerance,
        detail=detail,
        said=news(said, clean.said),
        num_attempts=len(outcomes),
        seconds=round(sum(outcome.seconds for outcome in outcomes), 2),
    )


def tolerance_of(fault: Fault, spread: float) -> float:
    """How much worse a run may end, as a share of the loss without the fault."""
    return 0.0 if fault.is_exact else round(max(fault.tolerance, spread), 4)


def weighed(verdict: Verdict, fault: Fault, spread: float) -> Verdict:
    """The verdict where the fault-free seeds are known to lie `spread` apart."""
    tolerance = tolerance_of(fault, spread)
    kind = verdict.kind
    if kind in (RECOVERED, WORSE) and verdict.excess is not None:
        kind = RECOVERED if verdict.excess <= tolerance else WORSE
    return replace(verdict, kind=kind, tolerance=tolerance)


def _kind(
    last: Outcome, clean: Outcome, fault: Fault, tolerance: float
) -> tuple[str, float | None, str]:
    if clean.error:  # what one cannot do at all, such as fp16 on a CPU, is no crash by the fault
        return (CRASHED if fault.precision == "float32" else ABSENT), None, clean.error
    if last.error:
        return CRASHED, None, last.error
    assert last.loss is not None
    assert clean.loss is not None
    if not math.isfinite(last.loss):
        return NAN, None, last.stopped or ""
    excess = round(last.loss / clean.loss - 1.0, 5)
    if last.stopped is not None:
        return STOPPED, excess, last.stopped
    if last.digest == clean.digest:
        return EQUAL, 0.0, ""
    if fault.is_exact:
        return DIFFERENT, excess, ""
    return (RECOVERED if excess <= tolerance else WORSE), excess, ""


def spread_of(losses: Iterable[float | None]) -> float:
    """How far the fault-free seeds lie apart: largest less smallest loss, by the median."""
    found = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    return (max(found) - min(found)) / statistics.median(found) if found else 0.0


def news(said: Iterable[str], usual: Iterable[str]) -> tuple[str, ...]:
    """Lines that are not usual, once each; numbers do not make a line a new one."""
    known = {_without_numbers(line) for line in usual}
    fresh: dict[str, str] = {}
    for line in said:
        key = _without_numbers(line)
        if key not in known:
            fresh.setdefault(key, line)
    return tuple(fresh.values())


def _without_numbers(line: str) -> str:
    return re.sub(r"[\d.,:e+-]*\d", "#", line)


def cell(verdicts: Sequence[Verdict]) -> str:
    """The verdicts on one fault and contender in a few words, such as `NaN 5 (silent 5)`."""
    counts = Counter(verdict.kind for verdict in verdicts)
    return ", ".join(_counted(kind, verdicts) for kind in KINDS if counts[kind]) or "-"


def _counted(kind: str, verdicts: Sequence[Verdict]) -> str:
    those = [verdict for verdict in verdicts if verdict.kind == kind]
    notes = []
    excesses = [verdict.excess for verdict in those if verdict.excess is not None]
    if kind in (WORSE, DIFFERENT, STOPPED) and excesses:
        notes.append(f"{statistics.median(excesses):+.0%}")
    num_restarted = sum(verdict.num_attempts > 1 for verdict in those)
    if kind == EQUAL and num_restarted:
        notes.append(f"restarted {num_restarted}")
    num_silent = sum(verdict.is_silent for verdict in those)
    if num_silent:
        notes.append(f"silent {num_silent}")
    text = f"{kind} {len(those)}"
    return f"{text} ({', '.join(notes)})" if notes else text


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as a row of the report."""
    fields = {name: value for name, value in vars(verdict).items() if name != "where"}
    fields |= {"detail": placeless(verdict.detail), "said": shortened(verdict.said)}
    return {**verdict.where._asdict(), **fields}


def shortened(said: Iterable[str]) -> list[str]:
    """The first lines, as far as a reader will go."""
    return [placeless(line)[:200] for line in islice(said, 5)]


def placeless(line: str) -> str:
    """Without where the run's folder was, which differs each time.

    >>> placeless("no checkpoint at /somewhere/thalweg-faults-a1b2/run/checkpoint-248")
    'no checkpoint at RUN/run/checkpoint-248'
    """
    return re.sub(r"\S*thalweg-faults-[^/\s]+", "RUN", line)
