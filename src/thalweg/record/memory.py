"""A record that lives as long as its object."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from thalweg.record.history import Attempt, History, Row, columns_of, row_of
from thalweg.types import Evaluation, Event, Step


class Memory:
    """Keeps everything in lists; `history()` gives it as columns. It takes what a Record takes.

    >>> from thalweg.record import Memory
    >>> record = Memory()
    >>> record.scalars(1, {"perplexity": 20.0})
    >>> record.history().scalars
    {'perplexity': [(1, 20.0)]}
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = defaultdict(list)
        self._phases: dict[str, History] = defaultdict(lambda: History(steps={}))
        self._facts: dict[str, dict[str, Any]] = defaultdict(dict)
        self._attempt = Attempt(1, 0, time.time())

    def steps(self, steps: Sequence[Step], *, phase: str = "main") -> None:
        self._rows[phase].extend(row_of(step) for step in steps)

    def evaluation(self, evaluation: Evaluation, *, phase: str = "main") -> None:
        self._phases[phase].evaluations.append(evaluation)

    def event(self, event: Event, *, phase: str = "main") -> None:
        self._phases[phase].events.append(event)

    def scalars(self, number: int, values: Mapping[str, float], *, phase: str = "main") -> None:
        for name, value in values.items():
            self._phases[phase].scalars.setdefault(name, []).append((number, float(value)))

    def facts(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> None:
        """Add to what was asked, where it ran, what came out."""
        self._facts["settings"].update(settings or {})
        self._facts["environment"].update(environment or {})
        self._facts["results"].update(results or {})

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def history(self, *, phase: str = "main") -> History:
        """What was recorded so far; it does not grow afterwards."""
        history = deepcopy(self._phases[phase])
        history.steps = columns_of(self._rows[phase])
        for name, values in deepcopy(self._facts).items():
            setattr(history, name, values)
        history.attempts = [self._attempt]
        return history
