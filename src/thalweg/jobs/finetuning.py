"""Fine-tuning: what --init, --freeze, --layer-decay and --forgetting ask, and what came of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thalweg.errors import UsageError
from thalweg.jobs import defaults
from thalweg.jobs.load import load
from thalweg.jobs.schema_file import given_schema
from thalweg.jobs.settings import Settings
from thalweg.state import folder as files
from thalweg.state.folder import Folder, is_run
from thalweg.state.weights import weights_in
from thalweg.tasks.predictor import Predictor
from thalweg.tasks.pretrained import (
    Begun,
    Shares,
    begin_with,
    copy_over,
    freeze,
    layers_of,
    moved,
)
from thalweg.tasks.study import Study
from thalweg.tasks.table.names import names_of

FEW = 3
"""Layers that moved most, in the summary."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A model that did not begin at random: the file, what it took of it, what is kept as it is."""

    path: Path | None
    begun: Begun | None
    frozen: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """What is to be said of it before the first step."""
        said = [] if self.begun is None else [f"begun with {self.path}: {self.begun.sentence}"]
        if self.frozen:
            said.append(f"{len(self.frozen):,} tensors are kept as they are (--freeze)")
        return said


def begun_settings(settings: Settings) -> Settings:
    """The settings, with the model of the run that it begins with, where none was asked for."""
    run = _run_of(settings.init)
    if run is None or settings.model is not None:
        return settings
    name = run.read_toml(files.SETTINGS).get("settings", {}).get("model")
    return settings if name is None else replace(settings, model=name)


def columns_of(settings: Settings) -> dict[str, Any]:
    """The columns of the run whose weights it begins with, as a schema file has them."""
    run = _run_of(settings.init)
    if run is None or settings.schema is not None:
        return {}
    rows = given_schema(str(run.path / files.SCHEMA)).get("columns")
    return {} if rows is None else {"columns": rows}


def tuned(model: Any, study: Study, settings: Settings) -> Tuned | None:
    """Give the model the weights to begin with, and freeze what is to be; None: nothing is asked.

    Raises DataError for a file that does not fit, UsageError for wishes that have no effect.
    """
    if settings.forgetting is not None and settings.init is None:
        raise UsageError("forgetting has no effect without --init: nothing was learnt before")
    if settings.init is None and settings.freeze is None:
        return None
    path, begun = None, None
    if settings.init is not None:
        path = path_of(settings.init)
        weights, other = weights_in(path), []
        if not _is_same_task(settings.init, study):
            other = list(layers_of(model).values())[-1]
        begun = begin_with(model, weights, str(path), other)
    _check_forgetting(study, settings, model)
    frozen = freeze(model, names_of(settings.freeze)) if settings.freeze else []
    return Tuned(path, begun, tuple(frozen))


def _check_forgetting(study: Study, settings: Settings, model: Any) -> None:
    """Raise DataError where the old task's data cannot be scored: now, and not after training."""
    run = _run_of(settings.init)
    if settings.forgetting is None:
        return
    if run is not None:
        load(run.path).evaluate(settings.forgetting)
    else:
        _scores(model, study, settings.forgetting)


def shares_of(settings: Settings, tuned: Tuned | None) -> Shares | None:
    """The shares of the rate; None: all parameters have it whole."""
    decay = settings.layer_decay or 1.0
    is_gentle = settings.lr is None and settings.freeze is None
    if tuned is not None and tuned.begun is not None and is_gentle:
        return Shares(decay, 1 / defaults.FINE_TUNING, frozenset(tuned.begun.anew))
    return None if settings.layer_decay is None else Shares(decay)


def _is_same_task(init: str | None, study: Study) -> bool:
    """Does a head of the run `init` answer what is asked now? Of a file nothing else is known."""
    run = _run_of(init)
    if run is None:
        return True
    target = run.read_toml(files.SCHEMA).get("target")
    if target is None or study.schema is None:
        return target is None and study.schema is None
    own = study.schema.target
    return (target["task"], tuple(target.get("classes", ()))) == (own.task, own.classes)


def path_of(init: str) -> Path:
    """The file of weights that `init` names: itself, or that of a run."""
    run = _run_of(init)
    return Path(init) if run is None else run.path / files.WEIGHTS


def _run_of(init: str | None) -> Folder | None:
    return Folder(Path(init)) if init is not None and is_run(Path(init)) else None


def fine_tuning_of(
    study: Study, settings: Settings, tuned: Tuned | None, model: Any
) -> dict[str, Any]:
    """What the result says of it: how far each layer moved, and what was forgotten."""
    if tuned is None or tuned.path is None or tuned.begun is None:
        return {}
    start = weights_in(tuned.path)
    found = {
        "init": str(settings.init),
        "taken": len(tuned.begun.taken),
        "begun_anew": list(tuned.begun.anew),
        "frozen": len(tuned.frozen),
        "layers": moved(model, {name: start[name] for name in tuned.begun.taken}),
        "forgotten": _forgotten(study, settings, tuned.begun, model, start),
    }
    return {"fine_tuning": {**found, "sentence": _sentence(found)}}


def _forgotten(
    study: Study,
    settings: Settings,
    begun: Begun,
    model: Any,
    start: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Scores on the old task's data: of the weights it began with, and of those that came out."""
    if settings.forgetting is None:
        return None
    run = _run_of(settings.init)
    if run is not None:  # its own head, and its own classes
        old = load(run.path)
        before = old.evaluate(settings.forgetting)
        copy_over(old.model, model, begun.taken)
        return {"before": before, "after": old.evaluate(settings.forgetting)}
    first = copy.deepcopy(model)
    begin_with(first, start, str(settings.init))
    scores = [_scores(each, study, settings.forgetting) for each in (first, model)]
    return dict(zip(("before", "after"), scores, strict=True))


def _scores(model: Any, study: Study, data: Any) -> dict[str, float]:
    predictor = Predictor(model, study.schema, study.kind, study.loss, study.reading)
    return predictor.evaluate(data)


def _sentence(found: Mapping[str, Any]) -> str:
    layers = [row for row in found["layers"] if row["moved"] is not None]
    most = sorted(layers, key=lambda row: -row["moved"])[:FEW]
    text = ", ".join(f"{row['layer']} by {row['moved']:.2%}" for row in most)
    said = f"fine-tuned from {found['init']}" + (f": moved most, {text}" if text else "")
    scores = found["forgotten"]
    if scores is None:
        return said
    name, spec = ("accuracy", ".1%") if "accuracy" in scores["before"] else ("loss", ".4g")
    before, after = (format(scores[when][name], spec) for when in ("before", "after"))
    return f"{said}; on the old task {name} {before} before, {after} now"
