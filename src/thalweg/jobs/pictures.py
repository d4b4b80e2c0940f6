"""Whether data are pictures, and their study; which settings have no effect on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from thalweg.errors import UsageError
from thalweg.jobs.settings import Settings
from thalweg.tasks.images.album import CLASS, album_of_folder, album_of_table
from thalweg.tasks.images.column import base_of, picture_column
from thalweg.tasks.images.study import of_pictures
from thalweg.tasks.images.wish import Wish
from thalweg.tasks.study import Study
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.read import Table
from thalweg.tasks.table.values import listed

IDLE = {
    "separator": "the classes are the folders",
    "columns": "there are no columns",
    "drop": "there are no columns",
    "types": "there are no columns",
    "schema": "there are no columns",
    "weights": "there are no columns",
}
"""Settings that have no effect on pictures in folders, and why."""

IDLE_IN_TABLES = {
    "schema": "a model of pictures reads no columns",
    "weights": "pictures are not weighted; class-weights are taken",
}

ONLY_PICTURES = ("image_size", "augment")
"""Settings that have an effect on pictures in files alone."""

Tell = Callable[[str], None]


def of_folder(data: Any, settings: Settings, asked: Asked, tell: Tell) -> Study:
    """Of a folder with a folder for each class. Raises UsageError for a setting without effect."""
    if settings.target is not None:
        raise UsageError(
            f"target is {settings.target!r}, and {data} holds folders, which are the classes: "
            "leave --target out, or give a table with a column of paths"
        )
    _check_idle(settings, IDLE, data)
    if settings.task == "regression":
        raise UsageError(f"task is regression, and {data} holds folders, which are classes")
    album = album_of_folder(data, replace(asked, target=CLASS))
    asked = replace(asked, target=CLASS, task="classification")
    return of_pictures(album, asked, _wish(settings, tell), source=str(data))


def of_table_of_pictures(
    table: Table, data: Any, settings: Settings, asked: Asked, tell: Tell
) -> Study | None:
    """Of a table with a column of paths; None where it has none."""
    column = picture_column(table.frame, asked, base_of(data))
    if column is None:
        return None
    _check_idle(settings, IDLE_IN_TABLES, data)
    album = album_of_table(table.frame, column, data, asked)
    study = of_pictures(album, asked, _wish(settings, tell), source=table.name)
    words = f"column {column!r} names pictures, which are learnt from (--drop {column} otherwise)"
    target = study.schema.target.names if study.schema else (asked.target,)
    others = [name for name in table.frame.columns if name not in (column, *target)]
    left = [f"not learnt from beside the pictures: {listed(others)}"] if others else []
    return replace(study, notices=(*table.notices, words, *left, *study.notices))


def check_pictures_only(settings: Settings) -> None:
    """Raise UsageError for settings of pictures, where there are none."""
    for name in ONLY_PICTURES:
        value = getattr(settings, name)
        if value is not None:
            raise UsageError(
                f"{name.replace('_', '-')} is {value!r}, and the data holds no picture files: "
                "leave it out"
            )


def _check_idle(settings: Settings, idle: dict[str, str], data: Any) -> None:
    for name, why in idle.items():
        if getattr(settings, name) is not None:
            raise UsageError(f"{name} has no effect on the pictures of {data}: {why}")


def _wish(settings: Settings, tell: Tell) -> Wish:
    return Wish(
        size=None if settings.image_size is None else str(settings.image_size),
        augment=settings.augment,
        threads=settings.workers,
        tell=tell,
    )
