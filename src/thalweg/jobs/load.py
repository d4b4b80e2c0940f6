"""load: a finished run from its folder, ready to predict."""

from __future__ import annotations

import os
from typing import Any

from thalweg.errors import RunError
from thalweg.jobs.run import Run
from thalweg.jobs.trust import check_functions
from thalweg.record import read
from thalweg.scale.precision import FLOAT32, cast, precision_of
from thalweg.state import folder as files
from thalweg.state.folder import Folder, find
from thalweg.state.weights import load_weights
from thalweg.tasks.images.form import Form
from thalweg.tasks.images.predictor import for_images
from thalweg.tasks.models.build import build
from thalweg.tasks.models.inputs import from_dict, next_tokens
from thalweg.tasks.own import is_task_name, task_made
from thalweg.tasks.predictor import Predictor, loss_of_kind
from thalweg.tasks.reading import Reading, reading_of_kind
from thalweg.tasks.table.layout import inputs_of
from thalweg.tasks.table.schema import Schema
from thalweg.types import Finding, Verdict


def load(run: str | os.PathLike[str], *, model: Any = None, out: str = "runs") -> Run:
    """The run in a folder; its `.model` holds the weights that were kept.

    run: a path, a name below `out`, or "last"; model: for a run whose model was given as an object,
    one like it
    Raises RunError where there is no such run, or it is unfinished, changed or damaged.
    """
    folder = find(run, out)
    if folder.is_folds:
        raise RunError(
            f"{folder.path} holds the models of several folds: take one of them, such as "
            f"{folder.path}/fold-1, or train one on all rows, without --folds"
        )
    for name in (files.SETTINGS, files.SCHEMA, files.RECORD, files.WEIGHTS):
        folder.check(name)
    results = read(folder.path).results
    if "summary" not in results:
        raise RunError(f"{folder.path} holds no result: the run was not finished")
    schema = _schema(folder)
    module = model if model is not None else _rebuilt(folder, schema)
    name = folder.read_toml(files.SETTINGS)["settings"].get("precision", FLOAT32.name)
    precision = precision_of(name)
    if precision.weights is not None:
        cast(module, precision.weights)
    load_weights(module, folder.path / files.WEIGHTS)
    result = results["summary"]
    kind = result["task"]["kind"]
    reading = _reading(folder, kind)
    known = loss_of_kind(kind) if kind and reading == reading_of_kind(kind) else None
    return Run(
        predictor=for_images(
            Predictor(module, schema, kind, known, reading, context=_context(folder)),
            _images(folder),
        ),
        folder=folder.path,
        result=result,
        verdict=_verdict(result["verdict"]),
        history=lambda: read(folder.path),
    )


def _schema(folder: Folder) -> Schema | None:
    values = folder.read_toml(files.SCHEMA)
    if "target" not in values:
        return None
    try:
        none = {"columns": []} if "images" in values else {}  # a picture is no column
        return Schema.from_dict({**none, **values})
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{folder.path / files.SCHEMA} is no schema of this version: {error}"
        ) from None


def _images(folder: Folder) -> Form | None:
    """What each picture is made into, of a run on pictures."""
    values = folder.read_toml(files.SCHEMA).get("images")
    try:
        return None if values is None else Form.from_dict(values)
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{folder.path / files.SCHEMA} is no schema of this version: {error}"
        ) from None


def _reading(folder: Folder, kind: str | None) -> Reading:
    """How its outputs are read; as ever for its kind where nothing else was written."""
    values = folder.read_toml(files.SCHEMA).get("reading")
    try:
        return reading_of_kind(kind) if values is None else Reading.from_dict(values)
    except TypeError as error:
        raise RunError(
            f"{folder.path / files.SCHEMA} is no schema of this version: {error}"
        ) from None


def _context(folder: Folder) -> int:
    """Tokens that a language model was trained to see at once; 0: it is none, or not known."""
    return int(folder.read_toml(files.SCHEMA).get("inputs", {}).get("length", 0))


def _rebuilt(folder: Folder, schema: Schema | None) -> Any:
    """The model that fit built, from its name."""
    values, written = folder.read_toml(files.SETTINGS), folder.read_toml(files.SCHEMA)
    settings: dict[str, Any] = values["settings"]
    data, is_task = values.get("data"), bool(values.get("is_task"))
    check_functions(folder.path / files.SETTINGS, settings, data if is_task else None)
    if is_task and isinstance(data, str) and is_task_name(data):
        return task_made(data, seed=settings["seed"]).model
    name = settings.get("model")
    if name is None or (schema is None and "inputs" not in written):
        raise RunError(
            f"the model of {folder.path} was given as an object: load(..., model=one like it)"
        )
    known: Any = written.get("inputs")
    inputs = from_dict(known) if known or schema is None else inputs_of(schema)
    kind = schema.target.task if schema else None
    own = _reading(folder, kind).num_outputs(kind)
    outputs = schema.target.num_outputs if schema else len(written["classes"]) or 1
    dropout = settings.get("dropout", 0.0)
    outputs = next_tokens(inputs) or outputs
    return build(name, inputs, own or outputs, seed=0, dropout=dropout)


def _verdict(values: dict[str, Any]) -> Verdict:
    findings = tuple(Finding(**row) for row in values["findings"])
    return Verdict(values["state"], values["sentence"], findings, tuple(values["not_checkable"]))
