"""A record that lives as long as its object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from thalweg.record.history import History, Row, columns_of, row_of
from thalweg.types import Evaluation, Event, Step


class Memory:
    """Keeps everything in lists; `history()` gives it as columns."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._history = History(steps={})

    def steps(self, steps: Sequence[Step]) -> None:
        self._rows.extend(row_of(step) for step in steps)

    def evaluation(self, evaluation: Evaluation) -> None:
        self._history.evaluations.append(evaluation)

    def event(self, event: Event) -> None:
        self._history.events.append(event)

    def scalars(self, number: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._history.scalars.setdefault(name, []).append((number, float(value)))

    def facts(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> None:
        """Add to what was asked, where it ran, what came out."""
        self._history.settings.update(settings or {})
        self._history.environment.update(environment or {})
        self._history.results.update(results or {})

    def close(self) -> None:
        pass

    def history(self) -> History:
        """What was recorded so far; it does not grow afterwards."""
        history = deepcopy(self._history)
        history.steps = columns_of(self._rows)
        return history
