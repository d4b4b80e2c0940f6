"""resume: a run that was stopped goes on as if it had never been; or longer; or as a child."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from thalweg.draw.progress import Progress, Silent, open_progress
from thalweg.errors import RunError
from thalweg.jobs.fit import carry_out
from thalweg.jobs.place import gone_on_with
from thalweg.jobs.plan import plan_of, study_of
from thalweg.jobs.run import Run
from thalweg.jobs.settings import Settings
from thalweg.record import read
from thalweg.state import folder as files
from thalweg.state.folder import Folder, find, fingerprint


def resume(
    run: str | os.PathLike[str],
    data: Any = None,
    *,
    model: Any = None,
    loss: Any = None,
    exact: bool = False,
    out: str = "runs",
    quiet: bool = False,
) -> Run:
    """Go on with a run that was stopped or killed, in its own folder, to the bit.

    run: a path, a name below `out`, or "last"
    data: of a run whose data was given as an object; else the file that it names is read again
    model, loss: of a run whose model was given as an object, the same once more
    exact: refuse a machine on which the last bits would be others; without it that is only said
    Raises RunError for a run that is finished, still runs, is damaged, or had other data or
    settings.
    """
    return run_resume(
        run, data, model=model, loss=loss, exact=exact, out=out, quiet=quiet, owns_process=False
    )


def run_resume(
    run: str | os.PathLike[str],
    data: Any,
    *,
    model: Any,
    loss: Any,
    exact: bool,
    out: str,
    quiet: bool,
    owns_process: bool,
) -> Run:
    """`resume`; owns_process: a command of ours runs alone."""
    folder = find(run, out)
    if folder.is_finished:
        raise RunError(
            f"{folder.path} is finished: nothing is left to do; --epochs +20 trains it longer"
        )
    settings, source = _asked(folder, model, loss)
    data = source if data is None else data
    if data is None:
        raise RunError(
            f"the data of {folder.path} was given as an object: bring it again, "
            "thalweg.resume(run, data, ...)"
        )
    _check_file(folder, data)
    progress = open_progress(quiet=quiet)
    try:
        return _go_on(folder, data, settings, progress, exact=exact, owns_process=owns_process)
    finally:
        progress.close()


def _go_on(
    folder: Folder,
    data: Any,
    settings: Settings,
    progress: Progress | Silent,
    *,
    exact: bool,
    owns_process: bool,
) -> Run:
    progress.say(f"reading {data}" if isinstance(data, str | Path) else "preparing the data")
    study = study_of(data, settings)
    plan = plan_of(study, settings, owns_process=owns_process)
    with plan.machine.applied(), gone_on_with(folder) as place:
        descent = plan.descend(place, exact=exact)
        progress.say(f"{folder.path} goes on after step {descent.progress.steps:,}")
        return carry_out(study, plan, place, descent, data=data, progress=progress)


def _asked(folder: Folder, model: Any, loss: Any) -> tuple[Settings, str | None]:
    """The settings in the run's run.toml, and its data where that was a file."""
    values = folder.read_toml(files.SETTINGS)
    chosen, data = values.get("settings"), values.get("data")
    if not isinstance(chosen, dict) or not isinstance(data, str | None):
        raise RunError(f"{folder.path / files.SETTINGS} is damaged: it needs a [settings] table")
    given = {name: value for name, value in (("model", model), ("loss", loss)) if value is not None}
    if model is None and "model" not in chosen:
        raise RunError(
            f"the model of {folder.path} was given as an object: resume(..., model=the same)"
        )
    try:
        return Settings.of({**chosen, **given}), data
    except ValueError as error:
        raise RunError(f"{folder.path / files.SETTINGS} cannot be used: {error}") from None


def _check_file(folder: Folder, data: Any) -> None:
    """Raise RunError where the data's file is not the one that the run began with."""
    if not isinstance(data, str | Path) or not Path(data).is_file():
        return
    known = read(folder.path).environment.get("data_xxh3")
    if known is not None and known != fingerprint(Path(data)):
        raise RunError(
            f"{data} has changed since {folder.path} began (its checksum differs): bring the old "
            "file back, or begin a new run with thalweg fit"
        )
