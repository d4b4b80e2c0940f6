"""The same file in two parts of the data: scores on it flatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.tasks.table.split import Split

MOST_EXAMPLES = 3
PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))


@dataclass(frozen=True, slots=True)
class Copies:
    """Pictures of one part whose file stands in another as well, byte for byte.

    num_same: those whose target agrees; examples: pairs of paths
    """

    part: str
    other: str
    num_pictures: int
    count: int
    num_same: int
    examples: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "also_in": self.other,
            "pictures": self.num_pictures,
            "copies": self.count,
            "with_same_target": self.num_same,
            "examples": [list(pair) for pair in self.examples],
        }

    def __str__(self) -> str:
        pairs = "; ".join(f"{one} is {other}" for one, other in self.examples)
        other = self.count - self.num_same
        odd = f"; {other:,} with another target" if other else ""
        return (
            f"{self.count:,} of {self.num_pictures:,} {self.part} pictures stand in {self.other} "
            f"as well ({pairs}{odd}): scores on them flatter; remove the copies"
        )


def copies_of(
    keys: np.ndarray, labels: np.ndarray, rows: Split, paths: Sequence[str]
) -> tuple[Copies, ...]:
    """Copies between each two parts, where there are any.

    keys: alike for files that are alike; labels: targets; both of every row
    """
    parts = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    found = [_between(keys, labels, parts, pair, paths) for pair in PAIRS]
    return tuple(row for row in found if row.count)


def _between(
    keys: np.ndarray,
    labels: np.ndarray,
    parts: dict[str, np.ndarray],
    pair: tuple[str, str],
    paths: Sequence[str],
) -> Copies:
    held, others = parts[pair[0]], parts[pair[1]]
    place = {int(keys[row]): int(row) for row in others}
    twins = [(int(row), place[int(keys[row])]) for row in held if int(keys[row]) in place]
    same = sum(bool(np.all(labels[row] == labels[other])) for row, other in twins)
    examples = tuple((paths[row], paths[other]) for row, other in twins[:MOST_EXAMPLES])
    return Copies(*pair, len(held), len(twins), same, examples)
