"""Files that say themselves what their columns hold: Parquet, Arrow, and JSON lines."""

from __future__ import annotations

import io
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars import selectors
from polars.exceptions import PanicException, PolarsError

from thalweg.errors import DataError, first_line
from thalweg.tasks.table.source import Part

PARQUET, ARROW, ARROW_STREAM, FEATHER_1 = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff", b"FEA1"

_JSON = re.compile(rb"\s*(\{|\[\s*\{)")
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_BINARY_SUFFIXES = {
    ".parquet": ("Parquet", "PAR1"),
    ".arrow": ("Arrow", "ARROW1"),
    ".feather": ("Arrow", "ARROW1"),
}
_DAMAGE = (PolarsError, PanicException, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Typed:
    """A part whose columns have types, and what reads it."""

    part: Part
    kind: str
    reader: Callable[[Part], pl.DataFrame]

    @property
    def facts(self) -> tuple[str, ...]:
        return ()

    def read(self, texts: Iterable[str]) -> pl.DataFrame:
        """All rows; `texts` says nothing here, where the file says it."""
        try:
            return simple(self.reader(self.part))
        except DataError:
            raise
        except _DAMAGE as error:
            raise DataError(
                f"{self.part.name} is {self.kind} file that is cut short or damaged "
                f"({first_line(error)}): write it again"
            ) from None


def typed(part: Part) -> Typed | None:
    """What its first bytes say; None for text. Raises DataError where its name says otherwise."""
    head = part.head
    if head.startswith(FEATHER_1):
        raise DataError(f"{part.name} is a Feather file of version 1: write it anew, as version 2")
    for mark, kind in _KINDS.items():
        if head.startswith(mark):
            return Typed(part, *kind)
    if part.suffix in _BINARY_SUFFIXES:
        name, mark = _BINARY_SUFFIXES[part.suffix]
        raise DataError(
            f"{part.name} is no {name} file, though its name says so: it lacks the mark {mark}"
        )
    return None


def json_lines(part: Part) -> Typed | None:
    """A text of JSON objects, one a line or in one list; None for other text.

    Raises DataError where only its name says so.
    """
    head = part.head.removeprefix(BOM_UTF8)
    if _JSON.match(head) and (part.suffix in _JSON_SUFFIXES or _is_json(head)):
        return Typed(part, "a JSON", _read_json)
    if part.suffix in _JSON_SUFFIXES:
        raise DataError(
            f"{part.name} holds no JSON objects, though its name says so: it begins with "
            f"{head.decode(errors='replace').strip()[:20]!r}"
        )
    return None


def simple(frame: pl.DataFrame) -> pl.DataFrame:
    """Decimals as floats, categories as the texts that they stand for, and each field of what holds
    several as a column of its own: user.age.
    """
    return _flat(frame).with_columns(
        selectors.decimal().cast(pl.Float64),
        selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
    )


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Objects within objects too; one whose fields have the name of a column stays as it is."""
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Struct) and dtype.fields:
            fields = {f"{name}.{field.name}" for field in dtype.fields}
            if not fields & set(frame.columns):
                apart = frame.with_columns(pl.col(name).name.prefix_fields(f"{name}."))
                return _flat(apart.unnest(name))
    return frame


def _is_json(head: bytes) -> bool:
    """Is the first line a JSON object, or the beginning of a list of them?"""
    if head.lstrip().startswith(b"["):
        return True
    try:
        json.loads(head.strip().splitlines()[0])
    except ValueError:
        return False
    return True


def _read_parquet(part: Part) -> pl.DataFrame:
    return pl.read_parquet(part.content, glob=False)


def _read_arrow(part: Part) -> pl.DataFrame:
    if isinstance(part.content, Path):
        with part.content.open("rb") as file:
            return pl.read_ipc(file)
    return pl.read_ipc(part.content)


def _read_arrow_stream(part: Part) -> pl.DataFrame:
    return pl.read_ipc_stream(part.whole())


def _read_json(part: Part) -> pl.DataFrame:
    raw = part.whole().removeprefix(BOM_UTF8)
    try:
        if raw.lstrip().startswith(b"["):
            return pl.read_json(raw, infer_schema_length=None)
        return pl.read_ndjson(raw, infer_schema_length=None)
    except _DAMAGE as error:
        _explain_json(part.name, raw)
        raise DataError(f"{part.name} cannot be read as JSON: {first_line(error)}") from None


def _explain_json(name: str, raw: bytes) -> None:
    """Raise DataError with the first line that is no JSON object, if there is one."""
    if raw.lstrip().startswith(b"["):
        return
    for number, line in enumerate(io.BytesIO(raw), start=1):
        try:
            found = json.loads(line, parse_constant=_refused) if line.strip() else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            shown = line.decode(errors="replace").strip()[:40]
            raise DataError(
                f"{name}, line {number:,}: {shown!r} is no JSON object: give one on each line, "
                "with null for what is missing"
            )


def _refused(constant: str) -> None:
    """NaN and Infinity, which Python takes for JSON, and nobody else."""
    raise ValueError(constant)


_KINDS: dict[bytes, tuple[str, Callable[[Part], pl.DataFrame]]] = {
    PARQUET: ("a Parquet", _read_parquet),
    ARROW: ("an Arrow", _read_arrow),
    ARROW_STREAM: ("an Arrow", _read_arrow_stream),
}
"""First bytes, the file's name in a sentence, and what reads it."""
