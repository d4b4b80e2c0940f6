"""What each column is, and how it enters the model: found once, saved with the run.

A schema is built from the training rows alone, so nothing about validation or test leaks into it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from thalweg.tasks.table.describe import Dropped
from thalweg.tasks.table.kinds import Column
from thalweg.tasks.table.target import Target
from thalweg.tasks.text.words import Words


@dataclass(frozen=True, slots=True)
class Schema:
    """All columns of a table and its target; rows: that it was measured on, 0: not known.

    words: how texts become tokens, where these are learnt from; there are no columns then
    """

    columns: tuple[Column, ...]
    dropped: tuple[Dropped, ...]
    target: Target
    rows: int = 0
    words: Words | None = None

    @property
    def width(self) -> int:
        """Inputs of the model."""
        return sum(column.width for column in self.columns)

    @property
    def texts(self) -> list[str]:
        """Columns of a file that are to be read as texts, whatever they look like."""
        target = self.target
        is_text = target.class_type == "text" and bool(target.classes)
        names = [column.name for column in self.columns if column.kind == "category"]
        names += [column.name for column in self.columns if column.format.startswith("%")]
        names += self.words.columns if self.words else ()
        return names + list(target.names if is_text else ())

    @property
    def numbers(self) -> list[str]:
        """Columns of a file in which numbers are read as such even where texts stand among them."""
        names = [column.name for column in self.columns if column.kind in ("number", "mixed")]
        return names + list(self.target.names if self.target.task == "regression" else ())

    def to_dict(self) -> dict[str, Any]:
        """As plain values that TOML can hold."""
        return {
            "rows": self.rows,
            "target": self.target.to_dict(),
            "columns": [column.to_dict() for column in self.columns],
            "dropped": [asdict(column) for column in self.dropped],
            **({"text": self.words.to_dict()} if self.words else {}),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Schema:
        columns = tuple(column_of(row) for row in data.get("columns", ()))
        dropped = tuple(Dropped(**row) for row in data.get("dropped", ()))
        words = Words.from_dict(data["text"]) if "text" in data else None
        return cls(columns, dropped, Target.from_dict(data["target"]), data.get("rows", 0), words)


def column_of(row: dict[str, Any]) -> Column:
    """A column as it stands in a file."""
    lists = {name: tuple(row[name]) for name in ("levels", "parts") if name in row}
    return Column(**{**row, **lists})
