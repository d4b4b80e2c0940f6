"""Which runs there are: their names, in the order in which they are made, and how each is built."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from benchmarks.healthbench.kitchen import RECIPES
from benchmarks.healthbench.planted import (
    FAULTS,
    FRESH_FAULTS,
    FRESH_HARD,
    HARD,
    MID,
    PLANTED,
    START,
    THIRD_FAULTS,
    THIRD_HARD,
    UNSEEN_FAULTS,
    UNSEEN_HARD,
    Planted,
)
from benchmarks.healthbench.portions import PORTIONS
from benchmarks.healthbench.program import Program, programmed
from benchmarks.healthbench.recipes import TASKS
from benchmarks.healthbench.sets import data_of

OWN_FAULTS = {"unseen": UNSEEN_FAULTS, "fresh": FRESH_FAULTS, "third": THIRD_FAULTS}
OWN_HARD = {"unseen": UNSEEN_HARD, "fresh": FRESH_HARD, "third": THIRD_HARD}
"""What is planted in the tasks of one part alone."""

USUAL = "usual"


@dataclass(frozen=True)
class Run:
    """planted: a fault, something hard, or "usual"; strength: mild, strong or none; when: the onset

    number: tells runs apart that are alike in all else but the seed
    """

    task: str
    recipe: str
    planted: str = USUAL
    strength: str = "none"
    when: str = START
    seed: int = 0

    @property
    def name(self) -> str:
        """Of its file."""
        parts = (self.task, self.recipe, self.planted, self.strength, self.when, str(self.seed))
        return ".".join(parts)

    @property
    def twin(self) -> Run:
        """The same without what is planted."""
        return Run(self.task, self.recipe, seed=self.seed)

    @property
    def row(self) -> Planted | None:
        """What is planted."""
        return PLANTED.get(self.planted)

    def drawn(self) -> np.random.Generator:
        """The run's own chance, by its name."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))


def runs(tasks: Iterable[str], only: str | None = None) -> list[Run]:
    """In turns: a share of each task's healthy, hard and faulty runs, then the next share; twins
    before the runs that are set beside them
    """
    of_tasks = [list(_of_task(task, only)) for task in tasks]
    turns = (run for turn in zip_longest(*of_tasks) for run in turn if run is not None)
    return list(dict.fromkeys(each for run in turns for each in (run.twin, run)))


def _of_task(task: str, only: str | None) -> Iterator[Run]:
    part = TASKS[task].part
    faulty = [*_shared(task, FAULTS), *_own(task, OWN_FAULTS.get(part, {}))]
    hard = [*_shared(task, HARD), *_planted(task, OWN_HARD.get(part, {}))]
    lists = [list(_usual(task)), faulty, hard]
    longest = max(map(len, lists))
    places = sorted(
        (place / len(each), which, place)
        for which, each in enumerate(lists)
        for place in range(len(each))
        if longest
    )
    for _, which, place in places:
        run = lists[which][place]
        if only is None or run.planted == only:
            yield run


def _usual(task: str) -> Iterator[Run]:
    for seed in range(PORTIONS[TASKS[task].part].seeds):
        for recipe in RECIPES[task]:
            yield Run(task, recipe, seed=seed)


def _planted(task: str, rows: dict[str, Planted]) -> Iterator[Run]:
    """A recipe and a seed are drawn among those that the row can be planted in."""
    for number in range(max((row.num for row in rows.values()), default=0)):
        found = [list(_of_row(task, row, number)) for row in rows.values() if number < row.num]
        yield from (run for run in chain.from_iterable(zip_longest(*found)) if run)


def _own(task: str, rows: dict[str, Planted]) -> Iterator[Run]:
    share = PORTIONS[TASKS[task].part].own
    for run in _planted(task, rows):
        if share == 1 or zlib.crc32(f"{run.name}.own".encode()) < share * 2**32:
            yield run


def _shared(task: str, rows: dict[str, Planted]) -> Iterator[Run]:
    """All rows, or where the part asks for fewer a share, each once, of strength and time drawn."""
    share = PORTIONS[TASKS[task].part].again
    return _planted(task, rows) if share == 1 else _again(task, rows, share)


def _again(task: str, rows: dict[str, Planted], share: float) -> Iterator[Run]:
    for row in rows.values():
        random = np.random.default_rng(zlib.crc32(f"{task}.{row.name}.again".encode()))
        found = list(_of_row(task, row, 0))
        if found and random.random() < share:
            yield found[random.integers(len(found))]


def _of_row(task: str, row: Planted, number: int) -> Iterator[Run]:
    able = [recipe for recipe in RECIPES[task].values() if row.needs(TASKS[task], recipe)]
    if not able:
        return
    key = f"{task}.{row.name}.{number}"
    random = np.random.default_rng(zlib.crc32(key.encode()))
    for when in row.when:
        for strength in ("strong", "mild"):
            if getattr(row, strength):
                recipe = able[random.integers(len(able))]
                seed = int(random.integers(PORTIONS[TASKS[task].part].seeds))
                yield Run(task, recipe.name, row.name, strength, when, seed)


def built(run: Run) -> tuple[Program, dict[str, Any]]:
    """The program of a run, and what is known of it before it has run."""
    task, recipe, data = TASKS[run.task], RECIPES[run.task][run.recipe], data_of(run.task)
    random, row, amount = run.drawn(), run.row, 0.0
    if row is not None:
        amount = float(random.choice(getattr(row, run.strength)))
        recipe, data = row.recipe(recipe, amount), row.data(data, amount, random)

    program = programmed(task, recipe, data, run.seed, random)
    if run.when == MID:
        program.onset = int(recipe.steps * random.uniform(0.3, 0.6))
    if row is not None:
        row.plant(program, amount)
    return program, {
        "run": asdict(run),
        "name": run.name,
        "kind": data.kind,
        "part": task.part,
        "family": task.family,
        "num_classes": data.num_outputs if data.kind in ("classes", "symbols") else None,
        "chance_loss": program.data.chance_loss - program.data.floor,
        "fault": run.planted if row is not None and row.is_fault else None,
        "hard": run.planted if row is not None and not row.is_fault else None,
        "amount": amount,
        "onset": program.onset,
        "steps_per_epoch": program.steps_per_epoch,
        "recipe": asdict(program.recipe),
        "notes": program.notes,
    }
