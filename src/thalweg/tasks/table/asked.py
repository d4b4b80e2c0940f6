"""What is asked of a table besides the table itself; the names are those of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_AS_TEXT = ("category", "date:%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """target: the column to predict, or several numeric ones; task: auto, classification or
    regression

    separator: of the labels in a target that holds several in one text
    share: of the rows that validate, and again of those that test
    drop, columns: names to leave out, or the only ones to use; types: the kind of a column by name,
    as category or date:%d.%m.%Y
    given: a schema as it stands in a file, whole or in parts
    """

    target: str
    task: str = "auto"
    seed: int = 0
    share: float = 0.1
    separator: str | None = None
    drop: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)


def text_columns(asked: Asked) -> list[str]:
    """Columns of a file that are read as texts, so that 007 stays 007."""
    rows = asked.given.get("columns")
    known = {str(row.get("name")): row for row in rows} if isinstance(rows, list) else {}
    given = {name: f"{row.get('kind')}:{row.get('format', '')}" for name, row in known.items()}
    labels = [] if asked.separator is None else [asked.target]
    return labels + [
        name for name, kind in {**given, **asked.types}.items() if kind.startswith(_AS_TEXT)
    ]
