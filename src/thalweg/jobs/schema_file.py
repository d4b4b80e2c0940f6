"""schema.toml: what a run took its columns for, as a file to read, to edit and to give back."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thalweg.errors import UsageError
from thalweg.state.commented import Part, commented
from thalweg.tasks.images.form import Form
from thalweg.tasks.models.inputs import to_dict
from thalweg.tasks.table.schema import Schema

HEAD = """\
What this run took its columns for. A copy of it can be edited and given to another fit, --schema
FILE.toml: kinds are number, category, boolean, date, mixed; what is deleted is measured anew from
the training rows, and so is all of a column whose kind is changed; a column that is named nowhere
is recognised as ever."""


def schema_text(
    schema: Schema, reading: Mapping[str, Any] | None = None, images: Form | None = None
) -> str:
    """The file of a schema, with what each column becomes above it.

    reading: how outputs are read, where that is special; images: what each picture is made into
    """
    parts = list(_parts(schema))
    if images is not None:
        parts.append(Part("[images]", "What each picture is made into.", images.to_dict()))
        parts.append(Part("[inputs]", "What the model reads.", to_dict(images.reads)))
    if reading:
        parts.append(Part("[reading]", "How outputs are read as answers, and judged.", reading))
    return commented(HEAD, {"rows": schema.rows}, parts)


def _parts(schema: Schema) -> Iterator[Part]:
    values = schema.to_dict()
    yield Part("[target]", "What is predicted.", values["target"])
    for column, row in zip(schema.columns, values["columns"], strict=True):
        inputs = "1 input" if column.width == 1 else f"{column.width} inputs"
        yield Part("[[columns]]", f"{inputs}: {column.use}", row)
    if "text" in values:
        yield Part("[text]", "How texts become tokens.", values["text"])
    for row in values["dropped"]:
        yield Part("[[dropped]]", "Not used.", row)


def given_schema(path: str) -> dict[str, Any]:
    """The values of a schema file. Raises UsageError where it cannot be read, or is no TOML."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--schema {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--schema {path} is not TOML: {error}") from None
    rows = values.get("columns", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(
            f"--schema {path}: columns must be tables, [[columns]], one for each column"
        )
    return values
