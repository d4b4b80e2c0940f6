"""The verdict of a run that has ended, from its status, its evaluations and its events."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.health.codes import DIVERGENCE, NON_FINITE, NON_FINITE_AT_ONCE
from thalweg.health.improvement import improvements, lowest
from thalweg.types import Evaluation, Event, Finding, Status, Verdict

LEAST = 4
"""Evaluations that it takes to call a run stalled."""

STILL = 0.25
"""A run whose last improvement lies within this share of its evaluations, counted from the end, was
improving.
"""


def judge(
    status: Status,
    reason: str,
    evaluations: Sequence[Evaluation],
    events: Sequence[Event],
    *,
    lr: float,
) -> Verdict:
    """What can be said of a run that ended with `status` for `reason`; lr: the rate asked for."""
    for event in events:
        if event.kind == "diverged":
            return _diverging(_cause(event, events), evaluations, lr)
    if status in ("converged", "reached"):
        return Verdict("finished", f"{reason}, so training stopped{_kept(evaluations)}")
    if status == "budget" and len(evaluations) > 1:
        return _out_of_budget(reason, evaluations)
    count = "1 evaluation" if len(evaluations) == 1 else f"{len(evaluations)} evaluations"
    return Verdict("unknown", f"{reason}, after {count}{_kept(evaluations)}")


def _cause(end: Event, events: Sequence[Event]) -> Event:
    """The event that ended a run, with the step at which it began to go wrong."""
    marks = ("nonfinite", "rollback", "backoff", "diverged")
    first = next(event for event in events if event.kind in marks)
    is_bad = first.kind == "nonfinite"
    text = f"{first.text}; {end.text}" if is_bad and first.text not in end.text else end.text
    return Event(first.number, first.kind if is_bad else end.kind, text, end.data)


def _diverging(event: Event, evaluations: Sequence[Evaluation], lr: float) -> Verdict:
    row = NON_FINITE if event.kind == "nonfinite" else DIVERGENCE
    advice = NON_FINITE_AT_ONCE if row is NON_FINITE and event.number <= 1 else row.advice
    finding = Finding(
        code=row.code,
        name=row.name,
        severity=row.severity,
        since_step=event.number,
        confidence=1.0,
        evidence=dict(event.data),
        advice=advice.format(lr=lr, lower=lr / 10),
    )
    return Verdict("diverging", f"{event.text}{_kept(evaluations)}", (finding,))


def _out_of_budget(reason: str, evaluations: Sequence[Evaluation]) -> Verdict:
    """Improving or stalled, by where the last improvement lies."""
    marks = improvements(evaluations)
    late = max(1, round(STILL * len(marks)))
    if not any(marks[-late:]) and len(marks) < LEAST:
        text = f"{reason} after {len(marks)} evaluations, too few to tell whether it levelled off"
        return Verdict("unknown", f"{text}{_kept(evaluations)}")
    if any(marks[-late:]):
        text = f"{reason} while validation loss was still falling{_kept(evaluations)}"
        return Verdict("improving", text)
    text = f"{reason}; validation loss had not improved beyond its own noise lately"
    return Verdict("stalled", f"{text}{_kept(evaluations)}")


def _kept(evaluations: Sequence[Evaluation]) -> str:
    best = lowest(evaluations)
    if best is None:
        return ""
    loss = f"{best.values['loss']:.4g}"
    return f"; the best weights, of step {best.number:,} (validation loss {loss}), were kept"
