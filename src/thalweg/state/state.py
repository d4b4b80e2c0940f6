"""The state of a run as a value: all that it needs to go on as if it had never stopped.

Nothing random stands in it: what is drawn is counted by place (`thalweg.keys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from thalweg.errors import RunError


@dataclass(frozen=True, slots=True)
class State:
    """One run between two steps.

    number, samples: steps taken and samples seen; seconds: spent so far
    epoch, cursor: where the next batch starts
    phases: by name (an ordinary run has one, "main") the model, the optimizer, fp16's loss scale
    rates: the schedule's; looks: evaluations and the best weights; guard: windows and counters
    feed: a loader's own state, or None
    undrained: steps whose numbers nobody has looked at yet, as rows of the record
    """

    number: int
    samples: int
    seconds: float
    epoch: int
    cursor: int
    phases: dict[str, Any]
    rates: Any
    looks: Any
    guard: Any
    feed: Any
    undrained: list[Any]

    def to_tree(self) -> dict[str, Any]:
        return {row.name: getattr(self, row.name) for row in fields(self)}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> State:
        """Raises RunError where an entry is missing or unknown."""
        names = {row.name for row in fields(cls)}
        odd = sorted(names ^ set(tree))
        if odd:
            raise RunError(f"the checkpoint holds no state of this version: {odd[0]!r} differs")
        return cls(**tree)
