"""The verdict of a run that has ended, from its status, its evaluations and its events."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.health.codes import NON_FINITE
from thalweg.health.improvement import improvements, lowest
from thalweg.types import Evaluation, Event, Finding, Status, Verdict

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
        if event.kind == "nonfinite":
            return _diverging(event, evaluations, lr)
    if status in ("converged", "reached"):
        return Verdict("finished", f"{reason}, so training stopped{_kept(evaluations)}")
    if status == "budget" and len(evaluations) > 1:
        return _out_of_budget(reason, evaluations)
    return Verdict("unknown", f"{reason}, too early to judge the curve{_kept(evaluations)}")


def _diverging(event: Event, evaluations: Sequence[Evaluation], lr: float) -> Verdict:
    finding = Finding(
        code=NON_FINITE.code,
        name=NON_FINITE.name,
        severity=NON_FINITE.severity,
        since_step=event.number,
        confidence=1.0,
        evidence=dict(event.data),
        advice=NON_FINITE.advice.format(lr=lr, lower=lr / 10),
    )
    return Verdict("diverging", f"{event.text}{_kept(evaluations)}", (finding,))


def _out_of_budget(reason: str, evaluations: Sequence[Evaluation]) -> Verdict:
    """Improving or stalled, by where the last improvement lies."""
    marks = improvements(evaluations)
    late = max(1, round(STILL * len(marks)))
    if any(marks[-late:]):
        text = f"{reason} while validation loss was still falling{_kept(evaluations)}"
        return Verdict("improving", text)
    text = f"{reason}; validation loss had not improved in the last {late} evaluations"
    return Verdict("stalled", f"{text}{_kept(evaluations)}")


def _kept(evaluations: Sequence[Evaluation]) -> str:
    best = lowest(evaluations)
    if best is None:
        return ""
    loss = f"{best.values['loss']:.4g}"
    return f"; the best weights, of step {best.number:,} (validation loss {loss}), were kept"
