"""The verdict of a run that has ended, from its status, its evaluations and its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from thalweg.health.codes import DIVERGENCE, NON_FINITE, NON_FINITE_AT_ONCE
from thalweg.health.improvement import best_of, improvements
from thalweg.health.words import Run, advice
from thalweg.types import LOSS, Evaluation, Event, Finding, Status, Verdict, Watched

LEAST = 4
"""Evaluations that it takes to call a run stalled."""

STILL = 0.25
"""A run whose last improvement lies within this share of its evaluations, counted from the end, was
improving.
"""


HARMLESS = {"TW201"}
SAID_BY_THE_END = {"TW001", "TW002", "TW004"}


def judge(
    status: Status,
    reason: str,
    evaluations: Sequence[Evaluation],
    events: Sequence[Event],
    *,
    lr: float,
    watched: Watched = LOSS,
    phases: Sequence[str] = (),
) -> Verdict:
    """What can be said of a run that ended with `status` for `reason`; lr: the rate asked for;
    watched: what decided which weights are best; phases: networks that were trained in turns
    """
    kept = _kept(evaluations, watched)
    for event in events:
        if event.kind == "diverged":
            return _diverging(_cause(event, events), kept, lr)
    if phases:
        text = (
            f"{reason}; {' and '.join(phases)} were trained in turns, and their losses do not say"
        )
        return Verdict("unknown", f"{text} how good they are: look at what they make")
    if status in ("converged", "reached"):
        return Verdict("finished", f"{reason}, so training stopped{kept}")
    if status == "budget" and len(evaluations) > 1:
        return _out_of_budget(reason, evaluations, watched, kept)
    count = "1 evaluation" if len(evaluations) == 1 else f"{len(evaluations)} evaluations"
    return Verdict("unknown", f"{reason}, after {count}{kept}")


def with_findings(verdict: Verdict, seen: Verdict) -> Verdict:
    """The verdict on a run of ours with what the detectors saw in its curves.

    What the guard ended is said already. A rise of the validation loss costs nothing where the best
    weights were kept: it is told as a warning. A run whose loss broke is not finished, whatever
    ended it.
    """
    known = {each.code for each in verdict.findings}
    more = [
        replace(each, severity="warn") if each.code in HARMLESS else each
        for each in seen.findings
        if each.code not in known and not (known and each.code in SAID_BY_THE_END)
    ]
    state = seen.state if seen.state == "diverging" else verdict.state
    return replace(verdict, state=state, findings=(*verdict.findings, *more))


def _cause(end: Event, events: Sequence[Event]) -> Event:
    """The event that ended a run, with the step at which it began to go wrong."""
    marks = ("nonfinite", "rollback", "backoff", "diverged")
    first = next(event for event in events if event.kind in marks)
    is_bad = first.kind == "nonfinite"
    text = f"{first.text}; {end.text}" if is_bad and first.text not in end.text else end.text
    return Event(first.number, first.kind if is_bad else end.kind, text, end.data)


def _diverging(event: Event, kept: str, lr: float) -> Verdict:
    row = NON_FINITE if event.kind == "nonfinite" else DIVERGENCE
    at_once = row is NON_FINITE and event.number <= 1
    finding = Finding(
        code=row.code,
        name=row.name,
        severity=row.severity,
        since_step=event.number,
        confidence=1.0,
        evidence=dict(event.data),
        advice=NON_FINITE_AT_ONCE if at_once else advice(row, Run("thalweg", {"lr": lr})),
    )
    return Verdict("diverging", f"{event.text}{kept}", (finding,))


def _out_of_budget(
    reason: str, evaluations: Sequence[Evaluation], watched: Watched, kept: str
) -> Verdict:
    """Improving or stalled, by where the last improvement lies."""
    marks = improvements(evaluations, watched)
    late = max(1, round(STILL * len(marks)))
    if not any(marks[-late:]) and len(marks) < LEAST:
        text = f"{reason} after {len(marks)} evaluations, too few to tell whether it levelled off"
        return Verdict("unknown", f"{text}{kept}")
    if any(marks[-late:]):
        moved = "rising" if watched.rises else "falling"
        text = f"{reason} while validation {watched.name} was still {moved}{kept}"
        return Verdict("improving", text)
    text = f"{reason}; validation {watched.name} had not improved beyond its own noise lately"
    return Verdict("stalled", f"{text}{kept}")


def _kept(evaluations: Sequence[Evaluation], watched: Watched) -> str:
    best = best_of(evaluations, watched)
    if best is None:
        return ""
    value = f"{watched.name} {best.values[watched.name]:.4g}"
    return f"; the best weights, of step {best.number:,} (validation {value}), were kept"


def verdict_object(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it stands in JSON."""
    return {
        "state": verdict.state,
        "healthy": verdict.healthy,
        "sentence": verdict.sentence,
        "findings": [asdict(finding) for finding in verdict.findings],
        "not_checkable": list(verdict.not_checkable),
    }
