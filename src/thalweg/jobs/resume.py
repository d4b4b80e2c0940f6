"""resume: a run that was stopped goes on as if it had never been; or longer; or as a child."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from thalweg.draw.progress import open_progress
from thalweg.errors import RunError, UsageError
from thalweg.jobs.clock import Clock
from thalweg.jobs.fit import carry_out, fit_one
from thalweg.jobs.folded import Folds
from thalweg.jobs.folds import go_on_with_folds, has_state, known_folds
from thalweg.jobs.longer import (
    Size,
    at_an_epoch,
    begins_afresh,
    changed,
    grown,
    in_words,
    planned_from,
)
from thalweg.jobs.old import Old, old_of
from thalweg.jobs.place import Place, gone_on_with, opened
from thalweg.jobs.plan import plan_of
from thalweg.jobs.run import Run
from thalweg.jobs.settings import Settings
from thalweg.jobs.study import study_of
from thalweg.jobs.wish import Wish
from thalweg.loop.alerts import checked
from thalweg.loop.found import Found, found_in
from thalweg.loop.going import Change
from thalweg.state.folder import SCHEMA, Folder, find
from thalweg.state.state import State
from thalweg.tasks.table.source import is_stored, name_of

PLANNED = frozenset({"schedule's factors", "horizon"})
"""What a longer budget changes."""


def resume(
    run: str | os.PathLike[str],
    data: Any = None,
    *,
    epochs: str | None = None,
    steps: str | None = None,
    from_step: int | None = None,
    set: Mapping[str, Any] | None = None,
    name: str | None = None,
    model: Any = None,
    loss: Any = None,
    metric: Any = None,
    validation: Any = None,
    test: Any = None,
    exact: bool = False,
    out: str = "runs",
    quiet: bool = False,
    alert: str | None = None,
) -> Any:
    """Go on with a run that was stopped or killed, in its own folder, to the bit.

    run: a path, a name below `out`, or "last"
    data: of a run whose data was given as an object; else the file that it names is read again
    epochs, steps: train it longer by so many, "+20", be it finished or not; its schedule is planned
    anew over the longer budget, and patience begins anew
    from_step, set: begin a child in a new folder instead, from the checkpoint of this step (by
    default the newest), with these settings changed: {"lr": 1e-4}; name: of that folder
    model, loss, metric, validation, test: where these were given as objects, the same once more
    exact: refuse a machine on which the last bits would be others; without it that is only said
    alert: as for `fit`; it is not kept with the run
    Raises UsageError for a wrong wish, RunError for a run that is finished, still runs, is damaged,
    or had other data or settings; nothing was changed then.
    """
    return run_resume(
        run,
        data,
        Wish.of(epochs=epochs, steps=steps, from_step=from_step, set=set, name=name),
        model=model,
        loss=loss,
        metric=metric,
        validation=validation,
        test=test,
        exact=exact,
        out=out,
        quiet=quiet,
        alert=alert,
        owns_process=False,
    )


def run_resume(
    run: str | os.PathLike[str],
    data: Any,
    wish: Wish,
    *,
    model: Any,
    loss: Any,
    metric: Any = None,
    validation: Any = None,
    test: Any = None,
    exact: bool,
    out: str,
    quiet: bool,
    alert: str | None = None,
    owns_process: bool,
) -> Run | Folds:
    """`resume`; owns_process: a command of ours runs alone."""
    if alert is not None:
        checked(alert)  # before anything is read
    objects = {
        "model": model,
        "loss": loss,
        "metric": metric,
        "validation": validation,
        "test": test,
    }
    folder = find(run, out)
    if folder.is_folds:
        return _folds(
            folder, data, wish, objects, quiet=quiet, alert=alert, owns_process=owns_process
        )
    old = old_of(folder, objects)
    if wish.is_plain and old.folder.is_finished and old.status != "interrupted":
        raise RunError(
            f"{old.folder.path} is finished: nothing is left to do; --epochs +20 trains it longer"
        )
    data = old.check_data(data)
    old.check_held()
    known = with_own_schema(old, Settings.of({**old.chosen, **old.objects}))
    asked = changed(old.chosen, wish.settings)  # what cannot be set is refused before data is read
    settings = replace(Settings.of({**asked, **old.objects}), out=out, name=wish.name)
    progress, clock = open_progress(quiet=quiet), Clock(owns_process=owns_process)
    try:
        progress.say(f"reading {name_of(data)}" if is_stored(data) else "preparing the data")
        study = study_of(data, replace(known, by=settings.by), progress.say)
        settings, change = change_of(old, wish, settings, len(study.train))
        plan = plan_of(study, settings, owns_process=owns_process)
        with plan.machine.applied(), _place(old, wish, change, out) as place:
            descent = plan.descend(place, exact=exact, change=change)
            for event in [event for event in descent.events if event.kind in ("resume", "change")]:
                progress.say(event.text)
            return carry_out(
                study, plan, place, descent, data=data, progress=progress, clock=clock, alert=alert
            )
    finally:
        progress.close()


def _folds(
    folder: Folder,
    data: Any,
    wish: Wish,
    objects: Mapping[str, Any],
    *,
    quiet: bool,
    alert: str | None,
    owns_process: bool,
) -> Folds:
    """Folds that were stopped go on: with the one that was not finished, then with the others."""
    if not wish.is_plain:
        raise UsageError(
            f"{folder.path} holds several folds, which go on as they are: ask it of one of them, "
            f"such as {folder.path}/fold-1"
        )
    data, settings = known_folds(folder, data, objects)

    def train(one: Settings) -> Run:
        path = Path(str(one.out)) / str(one.name)
        if not has_state(path):
            return fit_one(data, one, quiet=quiet, alert=alert, owns_process=owns_process)
        model = None if isinstance(one.model, str) else one.model
        found = run_resume(
            path,
            data,
            wish,
            model=model,
            loss=objects["loss"],
            metric=objects["metric"],
            exact=False,
            out=str(one.out),
            quiet=quiet,
            alert=alert,
            owns_process=owns_process,
        )
        assert isinstance(found, Run)
        return found

    return go_on_with_folds(folder, settings, train, quiet=quiet)


def with_own_schema(old: Old, settings: Settings) -> Settings:
    """The settings of the data; a schema that was given is by now the run's own."""
    own = old.folder.path / SCHEMA
    is_given = settings.schema is not None or settings.init is not None
    return replace(settings, schema=str(own)) if is_given and own.is_file() else settings


def change_of(
    old: Old, wish: Wish, settings: Settings, rows: int
) -> tuple[Settings, Change | None]:
    """The settings to go on with, and what they change; None where nothing is."""
    if wish.is_plain:
        return settings, _begun_before(old)
    size = Size(rows, settings.batch_size)
    found = _found(old, wish)
    texts = [in_words(old.chosen, wish.settings)] if wish.settings else []
    if wish.longer is not None:
        settings = grown(settings, wish.longer, size, taken=old.num_steps)
        count = wish.longer.epochs or wish.longer.steps or 0
        unit = "steps" if wish.longer.epochs is None else "epochs"
        texts.append(f"trained longer, by {count:,g} {unit}")
        if old.status == "reached" and "until" not in wish.settings and settings.until:
            texts.append(f"its goal, {settings.until}, was reached and ends it no more")
            settings = replace(settings, until=None)
    if "batch_size" in wish.settings and found.saved is not None:
        state = at_an_epoch(State.from_tree(found.saved.tree), size)
        settings = replace(
            settings, horizon=planned_from(state, settings, size) or settings.horizon
        )
    return settings, Change(
        may_differ=PLANNED | wish.settings.keys() | _implied(wish.settings),
        parent=old.folder.path if wish.is_child else None,
        step=found.saved.number if wish.is_child and found.saved else None,
        has_new_rates=wish.is_child,
        has_new_optimizer=begins_afresh(old.chosen, wish.settings),
        adapt=lambda state: at_an_epoch(state, size),
        made_at=None if wish.is_child or found.saved is None else found.saved.number,
        text="; ".join(texts),
    )


def _implied(settings: Mapping[str, Any]) -> set[str]:
    """Facts that settings change along with their own: how steps are compiled, by recomputing."""
    return {"compile"} if "recompute" in settings else set()


def _found(old: Old, wish: Wish) -> Found:
    """The state to go on from."""
    found = found_in(old.folder.path, wish.from_step)
    if found.saved is None:
        raise RunError(
            f"{old.folder.path} holds no checkpoint to go on from (older versions kept none): "
            "begin again with thalweg fit"
        )
    return found


def _begun_before(old: Old) -> Change | None:
    """That the run was trained longer, which its newest checkpoint may not know yet."""
    longer = old.origin.get("longer")
    if longer is None:
        return None
    return Change(may_differ=PLANNED, made_at=longer["step"], text=longer["text"])


def _place(old: Old, wish: Wish, change: Change | None, out: str) -> AbstractContextManager[Place]:
    """The run's own, or a child's."""
    if wish.is_plain or change is None:
        return gone_on_with(old.folder, old.origin)
    if wish.is_child:
        parent = {"run": str(old.folder.path), "step": change.step}
        return opened(out, wish.name, old.folder.name, {"parent": parent})
    longer = {"step": change.made_at, "text": change.text}
    return gone_on_with(old.folder, {**old.origin, "longer": longer})
