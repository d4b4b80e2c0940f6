"""The report: what became of every run, with a fault and without, in a file that pieces add to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.data import DataError
from benchmarks.facts import write_json
from benchmarks.faultbench.attempts import Outcome
from benchmarks.faultbench.faults import FAULTS
from benchmarks.faultbench.verdicts import (
    Verdict,
    Where,
    as_json,
    shortened,
    spread_of,
    weighed,
)

SCHEMA = 2

SEEDS = 3
"""Of each fault. How far apart so many fault-free seeds end is what a fault may cost: of more, as
of fewer, the spread would be another.
"""


class Clean(NamedTuple):
    """A run without a fault: its final validation loss, and what was said in it."""

    where: Where
    name: str
    loss: float | None
    said: tuple[str, ...]


class Report:
    """Verdicts and fault-free runs, one of each (run, fault): the newest.

    num_steps: of every run; machine: facts about it; path: where to write, None: nowhere

    How far the fault-free seeds lie apart is known only with all of them, so that verdicts are
    weighed when they are read.
    """

    def __init__(self, num_steps: int, machine: Mapping[str, Any], path: Path | None = None):
        self.num_steps = num_steps
        self.machine = machine
        self._path = path
        self._verdicts: dict[tuple[Where, str], Verdict] = {}
        self._clean: dict[tuple[Where, str], Clean] = {}

    def take(self, path: Path) -> None:
        """Keep what stands in this file. Raises DataError where it cannot be read or mixed in."""
        try:
            found = json.loads(path.read_text())
            num_steps = found["settings"]["num_steps"]
            clean = [_clean(row) for row in found["healthy"]]
            verdicts = [_verdict(row) for row in found["rows"]]
        except (OSError, ValueError, LookupError, TypeError) as error:
            text = f"{path} is no report of this bench: {type(error).__name__}: {error}"
            raise DataError(text) from None
        if num_steps != self.num_steps:
            raise DataError(
                f"{path} is about runs of {num_steps:,} steps, these have {self.num_steps:,}: ask "
                f"for --steps {num_steps}, or write to another file with --to"
            )
        self._clean |= {(row.where, row.name): row for row in clean}
        self._verdicts |= {(row.where, row.fault): row for row in verdicts}

    def add_clean(self, where: Where, name: str, outcome: Outcome) -> None:
        """A run without a fault was made."""
        said = (*outcome.said, *([outcome.error] if outcome.error else []))
        self._clean[where, name] = Clean(where, name, outcome.loss, said)

    def add(self, verdict: Verdict) -> None:
        """A run with a fault was made; the file has it from now on."""
        self._verdicts[verdict.where, verdict.fault] = verdict
        self.write()

    @property
    def verdicts(self) -> list[Verdict]:
        """All of them, in the order of the table of faults."""
        order = list(FAULTS)
        rows = sorted(self._verdicts.values(), key=lambda row: order.index(row.fault))
        return [weighed(row, FAULTS[row.fault], self._spread(row)) for row in rows]

    def _spread(self, verdict: Verdict) -> float:
        name, (task, contender, _) = FAULTS[verdict.fault].healthy.name, verdict.where
        like = [self._clean.get((Where(task, contender, seed), name)) for seed in range(SEEDS)]
        return spread_of(run.loss for run in like if run is not None)

    def clean_of(self, contender: str) -> list[Clean]:
        """Its runs without a fault."""
        return [run for run in self._clean.values() if run.where.contender == contender]

    def write(self) -> None:
        """All of it, in place of the file."""
        if self._path is None:
            return
        content = {
            "schema": SCHEMA,
            "machine": self.machine,
            "settings": {"num_steps": self.num_steps},
            "healthy": [clean_as_json(run) for run in self._clean.values()],
            "rows": [as_json(verdict) for verdict in self.verdicts],
        }
        new = self._path.with_name(self._path.name + ".new")
        write_json(content, new)
        new.replace(self._path)


def _where(row: Mapping[str, Any]) -> Where:
    return Where(row["task"], row["contender"], row["seed"])


def _clean(row: Mapping[str, Any]) -> Clean:
    return Clean(_where(row), row["name"], row["loss"], tuple(row["said"]))


def clean_as_json(run: Clean) -> dict[str, Any]:
    """A run without a fault as a row of the report."""
    row = {"name": run.name, "loss": run.loss, "said": shortened(run.said)}
    return {**run.where._asdict(), **row}


def _verdict(row: Mapping[str, Any]) -> Verdict:
    """Raises LookupError for a fault that the bench does not have."""
    FAULTS[row["fault"]]
    rest = {name: value for name, value in row.items() if name not in (*Where._fields, "said")}
    return Verdict(_where(row), said=tuple(row["said"]), **rest)
