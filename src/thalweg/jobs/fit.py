"""fit: from data to a trained model, a result with its baselines, a verdict and a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import Parameter, Signature, signature
from typing import Any

from thalweg.draw.progress import Plan, Progress, Silent, open_progress
from thalweg.errors import Preempted
from thalweg.health.tried import Tried
from thalweg.jobs.causes import trials_of
from thalweg.jobs.clock import Clock
from thalweg.jobs.data import stem_of
from thalweg.jobs.environment import environment_of
from thalweg.jobs.finetuning import begun_settings, path_of
from thalweg.jobs.folded import Folds
from thalweg.jobs.folds import begin_folds
from thalweg.jobs.interrupt import stop_on_signals
from thalweg.jobs.live import Live
from thalweg.jobs.opening import opening_lines
from thalweg.jobs.place import Place, opened
from thalweg.jobs.plan import FitPlan, plan_of
from thalweg.jobs.run import Run
from thalweg.jobs.settings import Settings
from thalweg.jobs.splits import held_data
from thalweg.jobs.study import study_of
from thalweg.jobs.write import score, write, write_schema, write_settings
from thalweg.loop.alerts import alerting, checked
from thalweg.loop.descent import Descent
from thalweg.scale.device import choose
from thalweg.scale.exact import deterministic
from thalweg.tasks.study import Study
from thalweg.tasks.table.source import is_stored, name_of
from thalweg.trials.trial import budget_of
from thalweg.types import Event, Finding


def fit(data: Any, *, quiet: bool = False, alert: str | None = None, **settings: Any) -> Any:
    """Train a model on `data`: the finished `Run`, which stands in the run's folder as well; with
    `folds` a `Folds`, which holds a run for each.

    data: a path to a table (CSV, JSON lines, Parquet, Arrow, or a folder of such), "-" for standard
    input, a folder that holds a folder of pictures for each class, a frame, a pair (inputs,
    targets), a Dataset of such pairs; or a `thalweg.Task`, or "module:function" that returns one
    quiet: no progress on standard error
    alert: a URL or a command of the shell, which gets each finding that needs an act once, as JSON,
    as soon as it turns up; see `thalweg.loop.alerts.Alert`
    settings: see `thalweg.jobs.settings.Settings`; `target` names the column to predict; with
    arrays, bring `model` (an nn.Module, trained in place) and `loss` ("cross_entropy", "mse" or a
    function)
    Raises UsageError for a wrong setting, DataError for data that cannot be learnt from: before
    anything is written.

    >>> import thalweg
    >>> from sklearn.datasets import load_iris
    >>> run = thalweg.fit(load_iris(return_X_y=True), epochs=20, out=None, quiet=True)
    >>> run.result["test"]["accuracy"] > 0.8
    True
    """
    return run_fit(data, Settings.of(settings), quiet=quiet, alert=alert)


def _signature() -> Signature:
    """That of `fit` with every setting in the place of its **settings."""
    own = signature(fit)
    first = [row for row in own.parameters.values() if row.kind is not row.VAR_KEYWORD]
    settings = [
        Parameter(row.name, Parameter.KEYWORD_ONLY, default=row.default, annotation=row.type)
        for row in fields(Settings)
    ]
    return own.replace(parameters=[*first, *settings])


fit.__signature__ = _signature()  # what help() and notebooks show


def run_fit(
    data: Any,
    settings: Settings,
    *,
    quiet: bool,
    alert: str | None = None,
    stem: str | None = None,
    owns_process: bool = False,
) -> Run | Folds:
    """`fit` with its settings in hand.

    alert: see `fit`; of folds each one's findings are sent
    stem: of the run's name, by default the data's
    owns_process: a command of ours runs alone, so what lasts as long as the process may be set
    """
    if alert is not None:
        checked(alert)  # before the data is read

    def train(one: Settings, stem: str | None = None) -> Run:
        return fit_one(data, one, quiet=quiet, alert=alert, stem=stem, owns_process=owns_process)

    if settings.folds is None or settings.fold is not None:
        return train(settings, stem)
    return begin_folds(data, settings, train, stem=stem or stem_of(data), quiet=quiet)


def fit_one(
    data: Any,
    settings: Settings,
    *,
    quiet: bool,
    alert: str | None = None,
    stem: str | None = None,
    owns_process: bool = False,
) -> Run:
    """One model, on all rows or for one of several folds."""
    clock = Clock(owns_process=owns_process)
    settings = begun_settings(settings)
    choose(settings.device)  # is it there? before the data is read
    progress = open_progress(quiet=quiet)
    try:
        study = _study(data, settings, progress)
        plan = plan_of(study, settings, owns_process=owns_process)
        new = opened(settings.out, settings.name, stem or stem_of(data))
        with plan.machine.applied(), new as place:
            descent = plan.descend(place)
            return carry_out(
                study, plan, place, descent, data=data, progress=progress, clock=clock, alert=alert
            )
    finally:
        progress.close()


def _study(data: Any, settings: Settings, progress: Progress | Silent) -> Study:
    progress.say(f"reading {name_of(data)}" if is_stored(data) else "preparing the data")
    return study_of(data, settings, progress.say)


def carry_out(
    study: Study,
    plan: FitPlan,
    place: Place,
    descent: Descent,
    *,
    data: Any,
    progress: Progress | Silent,
    clock: Clock,
    alert: str | None,
) -> Run:
    """Take the steps of a descent that is ready, score what came out, and write it.

    Raises Preempted where it was asked to stop, with its state saved.
    """
    _begin(data, study, plan, place, descent)
    for line in opening_lines(study, plan, descent):
        progress.say(line)
    name = str(place.folder.path) if place.folder else stem_of(data)
    with stop_on_signals(descent), alerting(alert, name, progress.say) as sent:
        with descent:
            live = Live(place.written, progress.say, _trials(plan, descent), sent)
            waited = _train(study, plan, place, descent, progress=progress, clock=clock, live=live)
            _check_preempted(place, descent)
            progress.say("scoring")
            run = score(study, plan, descent, place, waited=waited)
        if place.folder is not None:
            write(place.folder, run, study)
        if sent is not None:
            sent.send_all(run.verdict.findings)
    return run


def _begin(data: Any, study: Study, plan: FitPlan, place: Place, descent: Descent) -> None:
    """From the start on record: what was asked, and where it runs."""
    chosen = plan.chosen(descent)
    environment = environment_of(data, plan.machine, _held(plan.settings))
    if parent := place.origin.get("parent"):
        environment["parent"] = f"{parent['run']}, step {parent['step']:,}"
    if study.classes:
        environment["classes"] = str(len(study.classes))
    place.written.facts(settings=chosen, environment=environment)
    if place.folder is not None:
        write_settings(place.folder, plan, chosen, data, place.origin)
        write_schema(place.folder, study, study.reading)


def _held(settings: Settings) -> dict[str, Any]:
    """What a fit reads besides its data, by the setting's name."""
    init = {} if settings.init is None else {"init": path_of(settings.init)}
    return {**held_data(settings), **init}


def _train(
    study: Study,
    plan: FitPlan,
    place: Place,
    descent: Descent,
    *,
    progress: Progress | Silent,
    clock: Clock,
    live: Live,
) -> float | None:
    """Take every step, exactly; returns the seconds until the first, None where there was none."""
    waited = None
    if place.is_new or descent.progress.steps == 0:
        for notice in study.notices:
            descent.tell(Event(descent.progress.steps, "notice", notice))

    def tell(name: str) -> None:
        descent.tell(Event(descent.progress.steps, "notice", f"not exact: {name}"))

    with deterministic(tell):
        progress.start(
            Plan(
                descent.horizon,
                descent.feed.per_epoch or 1,
                plan.settings.seconds,
                descent.progress.steps,
            )
        )
        for step in descent:
            live.see(step)
            if waited is None:
                waited = clock.seconds
                progress.say(f"first step {waited:.1f} s after the start")
            progress.step(step)
    return waited


def _trials(plan: FitPlan, descent: Descent) -> Callable[[Sequence[Finding], int], Tried] | None:
    """What makes trials from where the descent stands; None where they were not asked for."""
    if not plan.settings.trials:
        return None
    budget = budget_of(descent.horizon or 0)
    return lambda findings, number: trials_of(descent, findings, budget=budget, number=number)


def _check_preempted(place: Place, descent: Descent) -> None:
    ending, number = descent.ending, descent.progress.steps
    assert ending is not None
    if ending.status != "preempted":
        return
    if place.folder is None:
        raise Preempted(f"{ending.reason} after step {number:,}; nothing was saved (out=None)")
    raise Preempted(
        f"{ending.reason}: step {number:,} is saved, go on with thalweg resume {place.folder.path}"
    )
