"""A log in, a verdict out: every detector looks, and what they say is put in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from thalweg.health import (
    breaks,
    descent,
    fitting,
    labels,
    layers,
    rates,
    running,
    slow,
    spikes,
    split,
)
from thalweg.health.codes import BY_KEY, Code
from thalweg.health.state import state_of
from thalweg.health.trialled import after_trials
from thalweg.health.view import Detector, Suspicion, View
from thalweg.health.words import Run, advice
from thalweg.record.foreign.log import LOSS, NORM, VALIDATION, Log
from thalweg.types import Finding, Verdict

DETECTORS: tuple[Detector, ...] = (
    breaks.nonfinite,
    breaks.divergence,
    breaks.bad_initialisation,
    breaks.exploding_gradient,
    spikes.spikes,
    layers.dead_units,
    layers.saturated_units,
    layers.vanishing_gradient,
    layers.empty_inputs,
    descent.stuck_at_chance,
    running.skipped_steps,
    running.schedule_fault,
    descent.weight_decay_too_strong,
    rates.lr_too_high,
    descent.far_above_chance,
    slow.lr_too_low,
    rates.lost_updates,
    layers.left_behind,
    descent.batch_too_small,
    labels.all_masked,
    labels.label_noise,
    split.leakage,
    labels.leakage,
    fitting.unshuffled,
    fitting.repeated_batches,
    fitting.class_imbalance,
    split.rare_class,
    fitting.overfitting,
    fitting.underfitting,
    fitting.forgetting,
    descent.plateau,
    running.truncated,
    running.stalled_throughput,
)
"""In the order in which causes come before effects."""

OF_SILENT_LOSSES: tuple[Detector, ...] = (
    breaks.nonfinite,
    layers.dead_units,
    layers.saturated_units,
    layers.vanishing_gradient,
    running.skipped_steps,
    running.schedule_fault,
    running.truncated,
    running.stalled_throughput,
)
"""Where losses do not say how it goes: that one rises or stands still is no fault there."""

OWN_FAULT = "thalweg's own fault, please report it:"
"""How a check that broke is told of among those that could not be made."""

DOUBTFUL, EVEN = 0.35, 0.5
"""Findings that are no surer are told only where there is no other; what is likelier wrong than
right warns, and asks for nothing.
"""

LESS_SURE = 0.25
"""A finding hides another one that is surer by less than this."""

HIDES = {
    "nonfinite": {"divergence", "plateau", "truncated", "lr_too_high", "dead_units"},
    "divergence": {"plateau", "lr_too_high", "overfitting", "lr_too_low"},
    "dead_units": {"stuck_at_chance", "label_noise", "divergence"},
    "saturated_units": {"label_noise"},
    "exploding_gradient": {"dead_units"},
    "vanishing_gradient": {"dead_units", "lr_too_low"},
    "forgetting": {"bad_initialisation"},
    "skipped_steps": {"nonfinite"},
    "all_masked": {"spikes", "repeated_batches"},
    "unshuffled": {"spikes", "lr_too_high", "divergence", "repeated_batches"},
    "lost_updates": {"lr_too_low", "plateau", "stuck_at_chance"},
    "bad_initialisation": {"lr_too_low", "plateau", "stuck_at_chance"},
    "not_trained": {"lr_too_low", "stuck_at_chance", "label_noise", "underfitting", "plateau"},
    "batch_too_small": {"spikes"},
    "schedule_fault": {"plateau", "underfitting"},
    "weight_decay_too_strong": {
        *("underfitting", "label_noise", "divergence", "stuck_at_chance", "plateau"),
    },
    "underfitting": {"plateau"},
    "label_noise": {"divergence", "plateau", "underfitting", "unshuffled"},
    "stuck_at_chance": {
        "plateau",
        "lr_too_low",
        "underfitting",
        "label_noise",
        "overfitting",
        "divergence",
    },
    "overfitting": {"plateau", "lr_too_high"},
    "lr_too_high": {"plateau", "spikes", "dead_units", "stuck_at_chance", "lr_too_low"},
    "lr_too_low": {"plateau", "underfitting"},
}
"""What is not said beside a finding that is surer: it would be the same thing once more."""


def diagnose(log: Log) -> Verdict:
    """What is wrong with the run of this log, and what could not be checked.

    >>> from thalweg.record.foreign.log import Log, Series
    >>> rows = [(step, 2.0 if step < 60 else float("nan")) for step in range(100)]
    >>> log = Log("mine", "csv", series={"loss": Series.of("loss", rows)})
    >>> diagnose(log).findings[0].code
    'TW001'
    """
    return _of(View(log))


def so_far(log: Log) -> Verdict:
    """`diagnose` of a run that goes on: without what only the whole of one can bear."""
    return _of(View(log, is_over=False))


def _of(view: View) -> Verdict:
    said: list[Suspicion] = []
    broken: list[str] = []
    for detector in OF_SILENT_LOSSES if view.silent_losses else DETECTORS:
        try:
            found = detector(view)
        except Exception as error:  # the others may still be right
            broken.append(f"{OWN_FAULT} {detector.__name__}: {type(error).__name__}: {error}")
        else:
            said += [found] if found is not None else []
    kept = _kept(after_trials(view, said))
    findings = tuple(finding_of(view, each) for each in kept)
    state, sentence = state_of(view, kept)
    return Verdict(
        state, sentence, findings, (*broken, *not_checkable(view, {each.key for each in kept}))
    )


def _kept(said: Sequence[Suspicion]) -> list[Suspicion]:
    """The surest first, each key once; what one that is kept hides left out."""
    kept: list[Suspicion] = []
    for each in sorted(said, key=lambda each: -each.confidence):
        if not any(_hides(other, each) for other in kept):
            kept.append(each)
    kept = [each for each in kept if not any(_hides(other, each) for other in kept)]
    sure = [each for each in kept if each.confidence > DOUBTFUL]
    return sorted(sure or kept[:1], key=_weight)


def _hides(other: Suspicion, each: Suspicion) -> bool:
    if other is each:
        return False
    is_as_sure = other.confidence > each.confidence - LESS_SURE
    return other.key == each.key or (each.key in HIDES.get(other.key, ()) and is_as_sure)


def _weight(each: Suspicion) -> tuple[bool, bool, float]:
    """Acts first, the surest first; slow steps last, for no loss is as it is because of them."""
    return _severity(each) == "warn", each.key == "stalled_throughput", -each.confidence


def _severity(each: Suspicion) -> Literal["warn", "act"]:
    if each.confidence < EVEN:
        return "warn"
    return each.severity or BY_KEY[each.key].severity


def finding_of(view: View, each: Suspicion) -> Finding:
    """A suspicion with its row of the table, in the words of the log's tool."""
    row = BY_KEY[each.key]
    return Finding(
        code=row.code,
        name=row.name,
        severity=_severity(each),
        since_step=round(each.since),
        confidence=round(each.confidence, 2),
        evidence={"says": each.says, **each.evidence},
        advice=advice(row, _run(view, each), **each.gaps),
    )


def _run(view: View, each: Suspicion) -> Run:
    """What advice hangs on."""
    best = "the best evaluation"
    curve = view.validation or view.loss
    if curve is not None and len(curve) > 1:
        best = view.name(curve.t[curve.best_at])
    settings = dict(view.log.settings)
    if "lr" not in settings and view.lr is not None:
        settings["lr"] = float(view.lr.values.max())
    settings["update_ratio"] = each.evidence.get("update_ratio")
    return Run(view.log.tool, settings, best, _checkpoint(view))


def _checkpoint(view: View) -> str:
    """The last checkpoint that lies beside the log from before things went wrong, in words."""
    curve = view.validation or view.loss
    if curve is None or not view.log.checkpoints:
        return ""
    best = float(curve.t[curve.best_at])
    good = [step for step in view.log.checkpoints if step <= best]
    return f"{view.log.checkpoints[max(good)]}" if good else ""


def not_checkable(view: View, told: Collection[str] = ()) -> list[str]:
    """Which checks this log says too little for, and what it lacks: a line each. told: keys of what
    was found all the same, as by the layers' norms
    """
    if view.silent_losses:
        return [f"what the losses do: {view.silent_losses}"]
    lacks: dict[str, list[Code]] = {}
    for row in BY_KEY.values():
        lack = "" if row.key in told else missing(view, row)
        if lack:
            lacks.setdefault(lack, []).append(row)
    return [f"{lack}: {', '.join(row.name for row in rows)}" for lack, rows in lacks.items()]


def missing(view: View, row: Code) -> str:
    """What the log lacks for this check, in words; empty where it has it."""
    if not row.needs:
        was_watched = view.log.facts or view.log.format == "monitor"
        return "" if was_watched else "only with the model at hand, by thalweg.monitor"
    return "" if _HAS[row.needs](view) else f"no {row.needs} in the log"


def _any(prefix: str) -> Callable[[View], bool]:
    return lambda view: any(name.startswith(prefix) for name in view.log.series)


_HAS: dict[str, Callable[[View], bool]] = {
    "training loss": lambda view: view.main is not None,
    "validation loss beside a training loss": lambda view: (
        {LOSS, VALIDATION} <= set(view.log.series)
    ),
    "training loss of every step": lambda view: fitting.residuals(view) is not None,
    "gradient norms": _any(NORM),
    "learning rates": lambda view: view.lr is not None,
    "balanced accuracy beside an accuracy": _any("validation_balanced_accuracy"),
    "score on the earlier task": lambda view: any(map(fitting.is_of_other_part, view.log.series)),
    "number of classes": lambda view: view.chance is not None,
    "batch size": lambda view: view.number("batch_size") is not None,
    "number of planned steps": lambda view: view.number("steps") is not None,
    "gradient norms of the layers": _any("gradient_norm:"),
    "norms of the parameters": _any("parameter_norm"),
    "share of dead units": _any("dead:"),
    "share of saturated units": _any("saturated:"),
    "times of the steps": _any("seconds"),
    "loss scale or count of skipped steps": _any("loss_scale"),
}
"""By what a row of the table needs: does the log have it?"""
