"""What the settings ask of a table, as the tables' own words have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.jobs.defaults import MODEL
from thalweg.jobs.settings import Settings
from thalweg.jobs.splits import parting_of
from thalweg.tasks.models.spelling import embeds
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.names import names_of, pairs_of


def asked_of(settings: Settings, target: str, given: Mapping[str, Any]) -> Asked:
    """given: columns as a schema file has them; those of a run that it begins with are the only
    ones to use, where none were asked for.
    """
    is_fixed = settings.init is not None and settings.columns is None
    names = [str(row["name"]) for row in given.get("columns", [])] if is_fixed else []
    return Asked(
        target=target,
        task=settings.task,
        seed=settings.seed,
        parting=parting_of(settings),
        validation=settings.validation,
        test=settings.test,
        weights=settings.weights,
        by=settings.by,
        embeds=embeds(table_model(settings)),
        separator=settings.separator,
        drop=names_of(settings.drop or ""),
        columns=names_of(settings.columns or "") or tuple(names),
        types=pairs_of(settings.types or "", "types"),
        given=given,
    )


def table_model(settings: Settings) -> Any:
    """The model that was asked for, by default that of a table."""
    return MODEL if settings.model is None else settings.model
