"""The end of a fit: judge it, and write what the run's folder keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thalweg.draw.report import render
from thalweg.health.diagnosis import diagnose, so_far
from thalweg.health.verdict import judge, with_findings
from thalweg.jobs.diagnose import trials_object
from thalweg.jobs.finetuning import fine_tuning_of
from thalweg.jobs.mattered import mattered
from thalweg.jobs.place import Place
from thalweg.jobs.plan import FitPlan
from thalweg.jobs.results import (
    best_values,
    choose_temperature,
    choose_threshold,
    pictures_of,
    result_of,
)
from thalweg.jobs.run import Run
from thalweg.jobs.schema_file import schema_text
from thalweg.loop.descent import Descent
from thalweg.record.as_log import as_log
from thalweg.state import folder as files
from thalweg.state.folder import Folder
from thalweg.state.weights import save_weights
from thalweg.strict import strict
from thalweg.tasks.held import out_of_fold
from thalweg.tasks.images.gallery import worst_of
from thalweg.tasks.images.predictor import for_images
from thalweg.tasks.measure import Sights
from thalweg.tasks.models.inputs import Tokens, to_dict
from thalweg.tasks.predictor import Predictor
from thalweg.tasks.reading import Reading, reading_of_kind
from thalweg.tasks.study import Study


def write_settings(
    folder: Folder, plan: FitPlan, chosen: dict[str, Any], data: Any, origin: Mapping[str, Any]
) -> None:
    """run.toml: the data, where it has a name, every setting with its value, and their origin."""
    source: dict[str, Any] = {"data": str(data)} if isinstance(data, str | Path) else {}
    if plan.is_own_task:
        source["is_task"] = True
    folder.write_toml(files.SETTINGS, {"schema": 1, **source, "settings": chosen, **origin})


def write_schema(folder: Folder, study: Study, reading: Reading | None) -> None:
    """schema.toml: what predictions need of the data, there from the first step on."""
    special = {} if reading in (None, reading_of_kind(study.kind)) else reading.to_dict()
    if study.schema is not None:
        folder.write(files.SCHEMA, schema_text(study.schema, special, study.images))
        return
    values: dict[str, Any] = {"classes": list(study.classes or ())}
    if study.inputs is not None:
        values["inputs"] = to_dict(study.inputs)
    folder.write_toml(files.SCHEMA, values | ({"reading": special} if special else {}))


def score(
    study: Study, plan: FitPlan, descent: Descent, place: Place, *, waited: float | None
) -> Run:
    """Score what was kept, judge the run, and put both into its record.

    waited: seconds until the first step was taken
    """
    assert descent.ending is not None
    status, reason = descent.ending.status, descent.ending.reason
    task = descent.task
    verdict = judge(
        status,
        reason,
        descent.evaluations,
        descent.events,
        lr=plan.settings.rate,
        watched=task.watched,
        phases=tuple(task.phases),
    )
    log = as_log(place.written.history(), "this run")
    if not task.phases:
        look = so_far if status == "interrupted" else diagnose
        log.split = study.found.to_dict() if study.found else {}
        verdict = with_findings(verdict, look(log))
    sets = {"validation": task.validation, "test": study.test}
    sights = Sights(task, sets, {"validation": best_values(descent)})
    choose_temperature(task, sights)
    choose_threshold(study, task, sights, is_asked=plan.settings.metric is not None)
    result = result_of(
        study,
        descent,
        chosen=plan.chosen(descent),
        sights=sights,
        machine=plan.machine,
        verdict=verdict,
        folder=place.folder.path if place.folder else None,
    )
    result["seconds_to_first_step"] = None if waited is None else round(waited, 3)
    result |= fine_tuning_of(study, plan.settings, plan.tuned, task.model)
    is_whole = plan.settings.validation is not None
    result |= trials_object(log)
    result |= mattered(study, descent, sights, seed=plan.settings.seed, is_whole=is_whole)
    pictures = pictures_of(study, descent, sights, seed=plan.settings.seed)
    if pictures.get("gallery"):
        result["worst_pictures"] = worst_of(pictures["gallery"])
    place.written.facts(results={"summary": result, **pictures})
    context = study.inputs.length if isinstance(study.inputs, Tokens) else 0
    predictor = Predictor(
        task.model, study.schema, study.kind, study.loss, task.reading, context=context
    )
    return Run(
        predictor=for_images(predictor, study.images),
        folder=place.folder.path if place.folder else None,
        result=result,
        verdict=verdict,
        history=place.written.history,
        out_of_fold=None if plan.settings.fold is None else out_of_fold(study, descent.task),
    )


def write(folder: Folder, run: Run, study: Study) -> None:
    """Weights, schema, verdict, report, and last the manifest that says the run is whole."""
    save_weights(run.model, folder.path / files.WEIGHTS)
    write_schema(folder, study, run.reading)
    if run.out_of_fold is not None:
        folder.write(files.OUT_OF_FOLD, run.out_of_fold.write_csv())
    folder.write(files.VERDICT, json.dumps(strict(run.result["verdict"]), indent=1) + "\n")
    folder.write(files.REPORT, render(run.record, title=folder.name))
    folder.seal()
