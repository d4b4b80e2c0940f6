"""What is asked of a table besides the table itself; the names are those of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thalweg.tasks.table.names import names_of

_AS_TEXT = ("category", "date:%")
_AS_NUMBER = ("number", "mixed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """How rows are shared out.

    validation_share, test_share: of all rows; how: random, stratified, time:COL or group:COL; None:
    stratified for classes, else random
    folds: how many, and fold: the one (from 1) whose rows test here; None: no folds
    """

    seed: int = 0
    validation_share: float = 0.1
    test_share: float = 0.1
    how: str | None = None
    folds: int | None = None
    fold: int | None = None

    @property
    def kind(self) -> str | None:
        """The word before the colon, or the only one."""
        return None if self.how is None else self.how.partition(":")[0]

    @property
    def column(self) -> str | None:
        """The column that decides, of a split by time or by group."""
        return None if self.how is None else self.how.partition(":")[2] or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """target: the column to predict, or several numeric ones; task: auto, classification or
    regression

    separator: of the labels in a target that holds several in one text
    parting: how rows are shared out; validation, test: rows of their own instead, a path, a frame
    or (inputs, targets)
    weights: the column that says how much each row counts
    by: the column by whose values errors are told apart; it may be an input or not
    embeds: can the model learn vectors for the levels of a category?
    drop, columns: names to leave out, or the only ones to use; types: the kind of a column by name,
    as category or date:%d.%m.%Y
    given: a schema as it stands in a file, whole or in parts
    """

    target: str
    task: str = "auto"
    seed: int = 0
    separator: str | None = None
    parting: Parting = Parting()
    validation: Any = None
    test: Any = None
    weights: str | None = None
    by: str | None = None
    embeds: bool = False
    drop: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> list[str]:
        """Columns of a file that are read as texts, so that 007 stays 007."""
        labels = [] if self.separator is None else [self.target]
        return labels + self._columns_of(_AS_TEXT)

    @property
    def numbers(self) -> list[str]:
        """Columns of a file in which numbers are read as such even where texts stand among them."""
        names = names_of(self.target)
        are_numbers = self.task == "regression" or len(names) > 1
        return [self.target, *names] * are_numbers + self._columns_of(_AS_NUMBER)

    def leaves_out(self, name: str) -> bool:
        """Is this column no input, by what was asked for?"""
        is_dropped = name in self.drop or self.types.get(name) == "drop"
        return is_dropped or (bool(self.columns) and name not in self.columns)

    def _columns_of(self, kinds: tuple[str, ...]) -> list[str]:
        """Those whose kind was asked for, and begins so."""
        rows = self.given.get("columns")
        known = {str(row.get("name")): row for row in rows} if isinstance(rows, list) else {}
        given = {name: f"{row.get('kind')}:{row.get('format', '')}" for name, row in known.items()}
        return [name for name, kind in {**given, **self.types}.items() if kind.startswith(kinds)]
