"""What a fit says before its first step: what it found in the data, and what it is going to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.draw.sentences import several
from thalweg.jobs.plan import FitPlan
from thalweg.loop.descent import Descent
from thalweg.optim.updater import backend_of
from thalweg.rules.clips import clip_text
from thalweg.schedules.plateau import can_fall, patience_of
from thalweg.tasks.study import Study
from thalweg.tasks.table.kinds import KINDS, Column
from thalweg.tasks.table.schema import Schema

MOST_NAMES = 8


def opening_lines(study: Study, plan: FitPlan, descent: Descent) -> list[str]:
    """A few lines; every choice that was made for the user stands in them."""
    lines = [_data(study)]
    if study.schema is not None:
        lines += _columns(study.schema)
    lines += [f"{notice}" for notice in study.notices]
    lines += plan.tuned.lines if plan.tuned else []
    return [
        *lines,
        *_judging(study, plan),
        _model(plan),
        _machine(plan),
        *([f"steps {descent.compiling}"] if descent.compiling.why else []),
        _descent(plan, descent),
        *_idle_plateau(plan, descent),
    ]


def _data(study: Study) -> str:
    target = f"target {study.schema.target.name!r}, " if study.schema else ""
    kind = study.kind or "a loss of your own"
    words = "labels" if kind == "multilabel" else "classes"
    classes = f" with {len(study.classes)} {words}" if study.classes else ""
    rows = "windows" if kind == "language" else "rows"
    return (
        f"{study.rows:,} {rows} ({len(study.train):,} train, {len(study.validation):,} validation, "
        f"{len(study.test):,} test); {target}{kind}{classes}"
    )


def _columns(schema: Schema) -> list[str]:
    lines = []
    for kind in KINDS.values():
        for is_learnt in (False, True):
            own = [
                row
                for row in schema.columns
                if (row.kind, row.vector > 0) == (kind.name, is_learnt)
            ]
            if own:
                many = kind.one if len(own) == 1 else kind.many
                use = "a learnt vector for each value" if is_learnt else kind.treated
                lines.append(f"{len(own):,} {many}, {use}: {_listed([_named(row) for row in own])}")
    return lines


def _named(column: Column) -> str:
    """A column with the count of its levels, and the width of their vectors."""
    if "unseen" not in KINDS[column.kind].statistics:
        return column.name
    wide = f", of {column.vector}" if column.vector else ""
    return f"{column.name} ({len(column.levels):,}{wide})"


def _judging(study: Study, plan: FitPlan) -> list[str]:
    """What is minimised and watched, where that was asked for; what a class counts."""
    task, reading = plan.task, study.reading
    settings = plan.settings
    parts = []
    if settings.loss is not None or settings.quantiles is not None:
        parts.append(f"loss {task.objective.name}: {task.objective.words}")
    if settings.label_smoothing:
        share = f"{settings.label_smoothing:.3g}"
        parts.append(f"labels are smoothed: {share} of each is spread over all classes")
    if reading is not None and reading.quantiles:
        levels = ", ".join(f"{level:g}" for level in reading.quantiles)
        parts.append(f"the quantiles {levels}, put in order where they cross")
    if reading is not None and reading.class_weights:
        rows = zip(study.classes or (), reading.class_weights, strict=False)
        parts.append(
            f"a row counts by its class: {_listed([f'{name} {value:.3g}' for name, value in rows])}"
        )
    if not task.watched.is_loss:
        words = next(row.words for row in task.metrics if row.name == task.watched.name)
        side = "larger" if task.watched.rises else "smaller"
        parts.append(f"watched {task.watched.name}, {side} is better: {words}")
    return ["; ".join(parts)] if parts else []


def _model(plan: FitPlan) -> str:
    model = plan.task.model
    count = sum(p.numel() for p in model.parameters())
    name = plan.settings.model if plan.is_named else type(model).__name__
    return f"model {name}, {count:,} parameters, on {plan.task.device}"


def _machine(plan: FitPlan) -> str:
    return "; ".join(f"{name} {words}" for name, words in plan.machine.sentences.items())


def _descent(plan: FitPlan, descent: Descent) -> str:
    chosen = plan.chosen(descent)
    backend = ": ".join(backend_of(plan.optimizer))
    size = "full batch" if chosen["batch_size"] == "full" else f"batch size {chosen['batch_size']}"
    horizon = descent.horizon or 0
    passes = horizon / (descent.feed.per_epoch or 1)
    over = f"{passes:.3g} {'pass' if passes == 1 else 'passes'}"
    schedule = plan.settings.schedule_text
    optimizer = plan.optimizer
    finds_rate = optimizer.rule_of(optimizer.param_groups[0]).couples_tensors
    times = " times the rate that it finds" if finds_rate else ""
    rises = f"rises over {chosen['warmup']} of them, then " if "warmup" in chosen else ""
    stays = "stays" if schedule == "constant" else f"follows {schedule}"
    ema, clip = plan.settings.ema, plan.settings.parsed_clip
    clipped = [f"gradients are clipped, {clip_text(clip)}"] if clip is not None else []
    mean = [f"the mean of the weights over about {1 / (1 - ema):.0f} steps is kept"] if ema else []
    return "; ".join(
        (
            f"{chosen['optimizer']} ({backend}), lr {chosen['lr']:g}{times}, {size}",
            f"at most {several(horizon, 'step')} ({over} over the training rows): "
            f"lr {rises}{stays}",
            *clipped,
            *mean,
            _early(plan, chosen),
        )
    )


def _early(plan: FitPlan, chosen: Mapping[str, Any]) -> str:
    """What may end it before its budget is used up."""
    if plan.task.phases:
        names = " and ".join(plan.task.phases)
        return f"{names} are trained in turns, each by its own loss, and the last weights are kept"
    return (
        f"stops early when {chosen['patience']} looks at the validation rows, one every "
        f"{chosen['evaluate_every']} steps, bring no improvement"
    )


def _idle_plateau(plan: FitPlan, descent: Descent) -> list[str]:
    """A line where the run ends before its plateau can act, by its budget or by its patience."""
    if descent.horizon is None or not plan.schedule.needs_evaluations:
        return []
    every = descent.evaluate_every
    last = min(descent.horizon, (1 + plan.chosen(descent)["patience"]) * every)
    if can_fall(plan.schedule, horizon=descent.horizon, last=last, every=every):
        return []
    wait = patience_of(plan.schedule) + 1
    return [
        f"the plateau cannot act: it lowers lr after {wait} looks in a row without improvement, "
        f"and where the first brings the last one the run ends by step {last:,}: give it a smaller "
        "patience, or look more often, --evaluate-every"
    ]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown}, ... ({len(names) - MOST_NAMES} more)"
