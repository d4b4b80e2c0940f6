"""Rows that stand in two parts of the data: exact copies of all inputs.

Each row becomes one number of 64 bits, which are sorted: n log n, whatever the rows hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from thalweg.tasks.table.split import Split

MOST_EXAMPLES = 3
MOST_WORDS = 1024
"""Words of 32 bits of an array's row that make its number; rows that agree in them are compared."""

BY_CHANCE = 0.25
"""Copies of which more than this part is expected by chance (few columns with few values) are
counted, but not said; in a file of their own, where all of them are.
"""

LEAST_SHARE = 0.005
"""Nor are copies that are a smaller part of the rows that they stand in; where those are in a file
of their own, every copy is said.
"""

PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))


@dataclass(frozen=True, slots=True)
class Twins:
    """Rows of one part that have a copy in another.

    part, other: their names; count of `num_rows` rows; num_same: those whose target agrees as well
    examples: pairs (row, its copy), from 0, as they stand in the data
    expected: copies that chance alone would make (see `chance_of`)
    is_given: was one of the parts given in a file of its own?
    """

    part: str
    other: str
    num_rows: int
    count: int
    num_same: int
    examples: tuple[tuple[int, int], ...]
    expected: float
    is_given: bool = False

    @property
    def is_said(self) -> bool:
        """Would a colleague say so?"""
        is_chance = self.expected > (1 if self.is_given else BY_CHANCE) * self.count
        least = 0 if self.is_given else LEAST_SHARE * self.num_rows
        return self.count > 0 and not is_chance and self.count >= least

    def at(self, rows: np.ndarray) -> Twins:
        """With its examples where they stand in the data: at rows[i], not i."""
        pairs = tuple((int(rows[one]), int(rows[other])) for one, other in self.examples)
        return replace(self, examples=pairs)

    def to_dict(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "also_in": self.other,
            "rows": self.num_rows,
            "copies": self.count,
            "with_same_target": self.num_same,
            "expected_by_chance": round(self.expected, 3),
            "examples": [[row + 1 for row in pair] for pair in self.examples],
            "said": self.is_said,
        }

    def __str__(self) -> str:
        pairs = ", ".join(f"{row + 1:,} is {other + 1:,}" for row, other in self.examples)
        same = "" if self.num_same == self.count else f"; {self.num_same:,} with the same target"
        return (
            f"{self.count:,} of {self.num_rows:,} {self.part} rows "
            f"({self.count / self.num_rows:.1%}) in {self.other} (row {pairs}{same})"
        )


def twins_text(twins: Sequence[Twins]) -> str:
    """One line about copies that are to be said."""
    is_given = any(row.is_given for row in twins)
    where = "from one of the files" if is_given else "or keep them in one part, --split group:COL"
    return (
        f"rows that stand in two parts, alike in every input: {', '.join(map(str, twins))}: scores "
        f"on them flatter; remove the copies{' ' if is_given else ', '}{where}"
    )


def keys_of_frame(frame: pl.DataFrame) -> np.ndarray:
    """One number for each row, uint64; alike for rows that are alike."""
    return frame.hash_rows(seed=0).to_numpy()


def keys_of_array(rows: np.ndarray) -> np.ndarray:
    """One number for each row of an array of shape (n, ...), uint64; alike for rows alike."""
    flat = np.ascontiguousarray(rows.reshape(len(rows), -1))
    flat = flat.view(np.uint8) if flat.itemsize < 4 else flat.view(np.uint32)
    chosen = flat[:, :: max(1, -(-flat.shape[1] // MOST_WORDS))]
    factors = np.random.default_rng(0).integers(1, 2**63, chosen.shape[1], dtype=np.uint64)
    keys = np.zeros(len(rows), dtype=np.uint64)
    for i, factor in enumerate(factors | np.uint64(1)):
        keys += (chosen[:, i].astype(np.uint64) + np.uint64(i)) * factor
        keys ^= keys >> np.uint64(29)
    return keys


def twins_of(
    keys: np.ndarray,
    labels: np.ndarray,
    rows: Split,
    *,
    chance: float,
    given: Sequence[str] = (),
    exact: Any = None,
) -> tuple[Twins, ...]:
    """Copies between each two parts.

    keys, labels: of every row; chance: that two rows are alike (see `chance_of`)
    given: parts that came in a file of their own
    exact(rows, others) -> is each pair alike? None: the keys say it
    """
    parts = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    labelled = keys ^ _mixed(labels)
    found = [
        _between(
            (parts[one], parts[other]),
            (one, other),
            keys=keys,
            labelled=labelled,
            chance=chance,
            exact=exact,
        )
        for one, other in PAIRS
    ]
    return tuple(replace(row, is_given=bool({row.part, row.other} & set(given))) for row in found)


def _between(
    parts: tuple[np.ndarray, np.ndarray],
    names: tuple[str, str],
    *,
    keys: np.ndarray,
    labelled: np.ndarray,
    chance: float,
    exact: Any,
) -> Twins:
    """Copies of the rows of the first part in the second; labelled: numbers of inputs and target"""
    held, others = parts
    others = others[np.argsort(keys[others], kind="stable")]
    where = np.searchsorted(keys[others], keys[held]).clip(max=max(0, len(others) - 1))
    is_twin = keys[others[where]] == keys[held] if len(others) else np.zeros(len(held), bool)
    rows, copies = held[is_twin], others[where[is_twin]]
    if exact is not None and len(rows):
        is_same = exact(rows, copies)
        rows, copies = rows[is_same], copies[is_same]
    same = np.isin(labelled[rows], labelled[others])
    order = np.argsort(~same, kind="stable")[:MOST_EXAMPLES]
    return Twins(
        *names,
        num_rows=len(held),
        count=len(rows),
        num_same=int(same.sum()),
        examples=tuple((int(rows[i]), int(copies[i])) for i in order),
        expected=float(len(held) * -np.expm1(len(others) * np.log1p(-min(chance, 1 - 1e-12)))),
    )


def _mixed(labels: np.ndarray) -> np.ndarray:
    """Targets, of shape (n,) or (n, k), as numbers of 64 bits that lie far apart."""
    return keys_of_array(labels.astype(np.float64).reshape(len(labels), -1))


def chance_of(halves: Sequence[np.ndarray]) -> float:
    """That two rows are alike, were the halves of their columns independent of each other.

    halves: one number for each row, of every other column and of those between
    """
    return float(np.prod([_alike(keys) for keys in halves]))


def _alike(keys: np.ndarray) -> float:
    """Share of all pairs of rows whose numbers are the same."""
    counts = pl.Series("keys", keys).value_counts(name="rows").get_column("rows").to_numpy()
    counts = counts.astype(np.float64)
    return float((counts * (counts - 1)).sum() / max(1, len(keys) * (len(keys) - 1)))
