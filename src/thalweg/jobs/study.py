"""From data and settings to a study: which task the data is for, and what is asked of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from thalweg.errors import DataError, UsageError
from thalweg.jobs.ahead import taken
from thalweg.jobs.asked import asked_of, table_model
from thalweg.jobs.check import no_target
from thalweg.jobs.finetuning import columns_of
from thalweg.jobs.judging import class_weights_of, levels_of
from thalweg.jobs.pictures import Tell, check_pictures_only, of_folder, of_table_of_pictures
from thalweg.jobs.schema_file import given_schema
from thalweg.jobs.settings import Settings
from thalweg.jobs.splits import parting_of
from thalweg.jobs.text import is_language
from thalweg.tasks.arrays import of_arrays
from thalweg.tasks.by_name import are_samples, of_samples
from thalweg.tasks.images.folders import are_folders
from thalweg.tasks.own import is_task_name, of_task, task_made
from thalweg.tasks.study import Study
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.frames import TARGET, TEXT, WEIGHT, frame_of_arrays
from thalweg.tasks.table.names import names_of
from thalweg.tasks.table.read import read_table
from thalweg.tasks.table.source import is_stored
from thalweg.tasks.table.study import of_table
from thalweg.tasks.table.values import check_there
from thalweg.tasks.task import Task
from thalweg.tasks.terms import Terms, check_terms, with_terms
from thalweg.tasks.text.language import Asked as AskedText
from thalweg.tasks.text.language import of_language
from thalweg.tasks.text.study import Reads, of_texts
from thalweg.tasks.text.words import are_texts

NOT_OF_TASKS = (
    *("target", "task", "separator", "columns", "drop", "types", "schema", "validation", "test"),
    *("model", "dropout", "loss", "metric", "label_smoothing", "quantiles"),
    *("weights", "class_weights", "by", "text", "context", "image_size", "augment"),
)
"""Settings that a task of the user's own leaves nothing to."""


def study_of(data: Any, settings: Settings, tell: Tell = lambda text: None) -> Study:
    """The data made ready: pictures, a table, or for a model of the user's own arrays as they are.

    tell: hears of progress, where reading takes long
    """
    if isinstance(data, Task) or is_task_name(data):
        return _of_task(data, settings)
    terms = _terms(settings)
    check_terms(terms)
    return with_terms(_study_of(data, settings, tell), terms)


def _of_task(data: Any, settings: Settings) -> Study:
    """The study of a task of the user's own, which says itself what is minimised and measured."""
    usual = Settings()
    for name in NOT_OF_TASKS:
        if getattr(settings, name) != getattr(usual, name):
            raise UsageError(
                f"{name.replace('_', '-')} has no effect: the data is a task of your own, which "
                "brings its model, its loss and its data"
            )
    task = data if isinstance(data, Task) else task_made(data, seed=settings.seed)
    return of_task(task, parting=parting_of(settings))


def _study_of(data: Any, settings: Settings, tell: Tell) -> Study:
    """The study by the data's own lights."""
    if is_language(settings):
        return of_language(data, _plain_text(settings))
    if are_folders(data):
        return of_folder(data, settings, _asked(settings, ""), tell)
    if is_stored(data) or hasattr(data, "columns"):
        return _of_table(data, settings, tell)
    check_pictures_only(settings)
    if settings.weights is not None:
        raise UsageError(
            f"weights={settings.weights!r} names a column, and the data is no table: give the "
            "weights with the arrays, fit((inputs, targets, weights), ...)"
        )
    model = table_model(settings)
    is_table = isinstance(model, str) and not are_samples(data, model)
    if settings.by is not None and not is_table:
        raise UsageError(f"by={settings.by!r} names a column, and the data is no table")
    held = {
        "parting": parting_of(settings),
        "validation": settings.validation,
        "test": settings.test,
    }
    if not isinstance(model, str):
        loss = settings.loss or ("quantile" if settings.quantiles else "cross_entropy")
        return of_arrays(data, loss=loss, **held)
    if are_samples(data, model):
        return of_samples(data, loss=settings.loss, **held)
    return _of_pair(data, settings)


def _of_pair(data: Any, settings: Settings) -> Study:
    """Arrays as a table, or a list of texts, with their targets."""
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        raise DataError(
            f"data is a {type(data).__name__}: give a path, a frame or (inputs, targets); "
            "for a Dataset bring a model of your own, fit(dataset, model=net, loss=...)"
        )
    weights = WEIGHT if len(data) == 3 else None
    asked = replace(_asked(settings, TARGET), weights=weights)
    frame = frame_of_arrays(*data)
    if are_texts(data[0]):
        return of_texts(frame, asked, _reads(settings, (TEXT,)), source="data")
    return of_table(frame, asked, source="data")


def _of_table(data: Any, settings: Settings, tell: Tell) -> Study:
    if settings.target is None:
        raise UsageError(no_target(data))
    asked = _asked(settings, settings.target)
    columns = names_of(settings.text or "")
    ahead = taken(data, asked)
    table = ahead.table if ahead else None
    table = table or read_table(data, texts=[*asked.texts, *columns], numbers=asked.numbers)
    if settings.schema is None:  # of the run that it begins with
        begun = [row["name"] for row in columns_of(settings).get("columns", ())]
        check_there(begun, table.frame, table.name, f"which {settings.init} was trained on")
    pictures = of_table_of_pictures(table, data, settings, asked, tell)
    if pictures is not None:
        return pictures
    check_pictures_only(settings)
    if settings.text is None:
        ready = ahead.ready if ahead else None
        study = of_table(table.frame, asked, source=table.name, ready=ready)
    else:
        study = of_texts(table.frame, asked, _reads(settings, columns), source=table.name)
    return replace(study, notices=(*table.notices, *study.notices))


def _asked(settings: Settings, target: str) -> Asked:
    given = given_schema(settings.schema) if settings.schema else columns_of(settings)
    return asked_of(settings, target, given)


def _reads(settings: Settings, columns: tuple[str, ...]) -> Reads:
    """How the texts of these columns are read."""
    return Reads(columns, reads_bags(settings.model), settings.context)


def reads_bags(model: Any) -> bool:
    """Does the model count features, rather than read pieces in order? The default one does."""
    return model is None or (isinstance(model, str) and model.partition(":")[0] == "bag")


def _plain_text(settings: Settings) -> AskedText:
    return AskedText(
        parting=parting_of(settings),
        validation=settings.validation,
        test=settings.test,
        context=settings.context,
    )


def _terms(settings: Settings) -> Terms:
    return Terms(
        loss=settings.loss,
        metric=settings.metric,
        goals=tuple(settings.goal),
        label_smoothing=settings.label_smoothing,
        quantiles=levels_of(settings.quantiles),
        weights=settings.weights,
        class_weights=class_weights_of(settings.class_weights),
    )
