"""folds: one run for each, in a folder of its own below the whole; then what they say together.

Each fold is an ordinary fit, whose settings name it. A whole that was stopped goes on with the fold
that was not finished.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from thalweg.draw.folds import render_folds
from thalweg.draw.progress import open_progress
from thalweg.errors import Preempted, RunError
from thalweg.health.spread import spread_of
from thalweg.health.verdict import verdict_object
from thalweg.jobs.data import checksum_of, data_again
from thalweg.jobs.folded import Folds
from thalweg.jobs.load import load
from thalweg.jobs.run import Run
from thalweg.jobs.settings import Settings
from thalweg.state import folder as files
from thalweg.state.folder import Folder, create, is_run
from thalweg.strict import strict
from thalweg.tasks.held import joined, read_back
from thalweg.tasks.table.source import is_stored
from thalweg.types import Verdict

Train = Callable[[Settings], Run]
"""The run of one fold, begun or gone on with."""

NOT_KEPT = ("out", "name", "fold")
"""Settings that say where the folds stand, not what they are."""


def begin_folds(data: Any, settings: Settings, train: Train, *, stem: str, quiet: bool) -> Folds:
    """Train every fold; where none could even begin, nothing is left behind."""
    if settings.out is None:
        return _all(settings, None, train, quiet=quiet)
    folder = create(settings.out, settings.name, stem)
    try:
        _write_beginning(folder, data, settings)
        return _all(settings, folder, train, quiet=quiet)
    except BaseException:
        if not any(is_run(path) for path in folder.path.iterdir()):
            folder.withdraw()
        raise


def known_folds(folder: Folder, data: Any, objects: Mapping[str, Any]) -> tuple[Any, Settings]:
    """The data and the settings of folds that are to go on.

    Raises RunError where they are finished, or the data is not there or not the same.
    """
    state, values = folder.read_json(files.FOLDS), folder.read_toml(files.SETTINGS)
    if folder.is_finished:
        raise RunError(
            f"{folder.path} is finished: all of its folds are; go on with one of them, such as "
            f"{folder.path}/{_name(1)}"
        )
    data = data_again(folder.path, values.get("data"), data, state.get("data_xxh3"))
    given = {name: value for name, value in objects.items() if value is not None}
    settings = Settings.of({**values["settings"], **given})
    return data, replace(settings, out=str(folder.path.parent), name=folder.name)


def go_on_with_folds(folder: Folder, settings: Settings, train: Train, *, quiet: bool) -> Folds:
    """Train the folds that are not finished."""
    return _all(settings, folder, train, quiet=quiet)


def _all(settings: Settings, folder: Folder | None, train: Train, *, quiet: bool) -> Folds:
    count = settings.folds or 0
    runs: list[Run] = []
    for number in range(1, count + 1):
        _say(f"fold {number} of {count}", quiet=quiet)
        runs.append(_one(_settings_of(settings, number, folder), folder, train))
        if runs[-1].result["status"] == "interrupted":
            break
    return _together(settings, folder, runs)


def _one(settings: Settings, folder: Folder | None, train: Train) -> Run:
    """One fold: as it stands where it is finished, else trained, from its checkpoint if any."""
    try:
        if folder is None:
            return train(settings)
        path = folder.path / str(settings.name)
        if Folder(path).is_finished:
            done = load(path, model=None if isinstance(settings.model, str) else settings.model)
            return train(settings) if done.result["status"] == "interrupted" else done
        if path.exists() and not has_state(path):
            shutil.rmtree(path)
        return train(settings)
    except Preempted:
        where = f", go on with thalweg resume {folder.path}" if folder else "; nothing was saved"
        raise Preempted(
            f"asked to stop in fold {settings.fold} of {settings.folds}{where}"
        ) from None


def has_state(path: Path) -> bool:
    """Is it a run that can be gone on with?"""
    saved = path / files.CHECKPOINTS
    return is_run(path) and saved.is_dir() and any(saved.iterdir())


def _settings_of(settings: Settings, number: int, folder: Folder | None) -> Settings:
    """A model of the user's own is trained anew in each fold, from where it stood."""
    return replace(
        settings,
        fold=number,
        model=copy.deepcopy(settings.model),
        out=None if folder is None else str(folder.path),
        name=None if folder is None else _name(number),
    )


def _name(number: int) -> str:
    return f"fold-{number}"


def _write_beginning(folder: Folder, data: Any, settings: Settings) -> None:
    is_named = is_stored(data)
    kept = {
        row.name: getattr(settings, row.name)
        for row in fields(settings)
        if row.name not in NOT_KEPT
        and isinstance(getattr(settings, row.name), str | int | float | bool)
    }
    source = {"data": str(data)} if is_named else {}
    folder.write_toml(files.SETTINGS, {"schema": 1, **source, "settings": kept})
    known = {"data_xxh3": checksum_of(data)} if is_named else {}
    folder.write(files.FOLDS, json.dumps({"schema": 1, "status": "unfinished", **known}) + "\n")


def _together(settings: Settings, folder: Folder | None, runs: Sequence[Run]) -> Folds:
    """The folds as one result, written where there is a folder."""
    verdict = _verdict(runs)
    result = spread_of([run.result for run in runs], count=settings.folds or 0)
    result |= {"run": str(folder.path) if folder else None, "verdict": verdict_object(verdict)}
    predictions = joined([_predictions(run) for run in runs])
    folds = Folds(
        runs,
        folder=folder.path if folder else None,
        out_of_fold=predictions,
        result=result,
        verdict=verdict,
    )
    if folder is not None and result["status"] != "interrupted":
        _write(folder, folds)
    return folds


def _verdict(runs: Sequence[Run]) -> Verdict:
    """That of the first fold that went wrong, else of the last; which one is said."""
    wrong = [i for i, run in enumerate(runs) if run.verdict.state == "diverging"]
    number = wrong[0] if wrong else len(runs) - 1
    verdict = runs[number].verdict
    return replace(verdict, sentence=f"fold {number + 1}: {verdict.sentence}")


def _predictions(run: Run) -> Any:
    if run.out_of_fold is not None or run.folder is None:
        return run.out_of_fold
    text = (run.folder / files.OUT_OF_FOLD).read_text(encoding="utf-8")
    target = run.schema.target if run.schema else None
    is_text = target is not None and bool(target.classes) and target.class_type == "text"
    return read_back(text, has_texts=is_text)


def _write(folder: Folder, folds: Folds) -> None:
    """Predictions, result, verdict, report, and last the manifest that says all is whole."""
    folder.write(files.OUT_OF_FOLD, folds.out_of_fold.write_csv())
    folder.write(files.FOLDS, json.dumps(strict(folds.result), indent=1) + "\n")
    folder.write(files.VERDICT, json.dumps(strict(folds.result["verdict"]), indent=1) + "\n")
    folder.write(files.REPORT, render_folds(folds.result, title=folder.name))
    folder.seal()


def _say(text: str, *, quiet: bool) -> None:
    progress = open_progress(quiet=quiet)
    progress.say(text)
    progress.close()
