"""What the tests of the record share: one of everything, a comparison, runs that get killed."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from thalweg.errors import RunError
from thalweg.record import History, Memory, Record, read, sqlite
from thalweg.types import MEASURES, Evaluation, Event, Measures, Step

NAN, INF = math.nan, math.inf
ODD = (0.0, 1.5, -1e-300, 1e300, NAN, INF, -INF)

MEASURED: list[dict[str, float]] = [
    {},
    *({"loss": value} for value in ODD),
    *({"loss": 1.0, "gradient_norm": value} for value in ODD),
    *({name: value} for name in MEASURES for value in (NAN, INF)),
    dict.fromkeys(MEASURES, NAN),
    dict.fromkeys(MEASURES, 2.0),
]
"""What was measured of each step; a name that is missing was not measured."""

EVALUATIONS = [
    Evaluation(number, "validation", {"loss": value, "accuracy": 0.5}, noise, 0.25)
    for number, (value, noise) in enumerate((a, b) for a in ODD for b in (None, *ODD))
]
EVENTS = [
    Event(3, "lr", "lr set to 0.5", {"lr": 0.5, "group": 0}),
    Event(3, "nonfinite", "the loss was nan", {"value": NAN, "also": [INF, -INF, None]}),
    Event(1, "notice", "column 'größe, \"x\"\n' left out; DROP TABLE events"),
]
SCALARS = [{"mine": value, "other": 2 * value} for value in ODD]

STORES = ("sqlite", "log")


def use(store: str) -> None:
    """In this process new records are of this store, as if WAL did not work for the log."""
    if store == "log":
        sqlite.has_wal = lambda connection: False


def patched(store: str, patch: pytest.MonkeyPatch) -> None:
    """The same for one test."""
    if store == "log":
        patch.setattr(sqlite, "has_wal", lambda connection: False)


def step_of(number: int, measured: dict[str, float] | None = None, lr: float = 0.1) -> Step:
    values = {"loss": float(number)} if measured is None else measured
    return Step(
        number=number,
        samples=8 * number,
        epoch=number / 10,
        lr=lr,
        seconds=0.001,
        measures=Measures(lambda: values),
    )


def fill(record: Record | Memory) -> None:
    """Write one of everything."""
    record.steps([step_of(number, measured) for number, measured in enumerate(MEASURED, 1)])
    record.steps([step_of(100, {"loss": 1.0}, lr=NAN)])
    for evaluation in EVALUATIONS:
        record.evaluation(evaluation)
    for event in EVENTS:
        record.event(event)
    for number, values in enumerate(SCALARS):
        record.scalars(number, values)
    record.facts(settings={"lr": 0.1, "name": "größe"}, environment={"threads": 2})
    record.facts(settings={"seed": 3}, results={"loss": NAN, "list": [1, None, "x"]})


def on_disk(folder: Path) -> History:
    record = Record(folder)
    fill(record)
    record.close()
    return read(folder)


def in_memory() -> History:
    record = Memory()
    fill(record)
    record.close()
    return record.history()


def told(history: History) -> str:
    """What a history says, as text in which NaN, None and the infinities all differ.

    Not which attempts said it.
    """
    columns = {name: column.tolist() for name, column in history.steps.items()}
    masks = {name: column.mask.tolist() for name, column in history.steps.items()}
    rest = (history.evaluations, history.events, sorted(history.scalars.items()))
    facts = (history.settings, history.environment, history.results)
    return repr((columns, masks, rest, facts, history.num_thinned, history.damage))


def same(first: History, second: History) -> bool:
    """Are two histories equal, NaN to NaN and gap to gap?"""
    return told(first) == told(second)


def wait_for(is_so: Callable[[], bool]) -> None:
    """Until it is so; 20 seconds at most."""
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until, "waited 20 seconds in vain"
        time.sleep(0.01)


def python(code: str, *words: object, store: str = "sqlite") -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, with the pieces of this file at hand."""
    head = f"""
import os, resource, signal, sys, threading, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import record_kit
from record_kit import Event, Evaluation, Record, read, step_of
from thalweg.errors import ThalwegError

record_kit.use({store!r})
words = {json.dumps([str(word) for word in words])}
"""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", head + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


# A run that is killed again and again.

NUM_STEPS = 300
CHECKPOINT_EVERY = 5


def record_step(record: Record | Memory, number: int) -> None:
    """What a run records at one step: a function of the step alone."""
    draw = random.Random(number)
    measured = {name: draw.choice((draw.random(), NAN, INF)) for name in MEASURES[: number % 8]}
    record.steps([step_of(number, measured)])
    if number % 7 == 0:
        record.event(Event(number, "mine", f"at {number}", {"value": draw.random()}))
    if number % 10 == 0:
        record.evaluation(Evaluation(number, "validation", {"loss": draw.random()}, NAN))
        record.evaluation(Evaluation(number, "test", {"loss": draw.random()}))
    if number % 3 == 0:
        record.scalars(number, {"mine": draw.random(), "other": NAN})


def undisturbed(num_steps: int) -> History:
    record = Memory()
    for number in range(1, num_steps + 1):
        record_step(record, number)
    return record.history()


def up_to(history: History, number: int) -> History:
    """What stands in it until a step."""
    count = int((history.steps["number"] <= number).sum())
    return History(
        {name: column[:count] for name, column in history.steps.items()},
        [row for row in history.evaluations if row.number <= number],
        [row for row in history.events if row.number <= number],
        {
            name: kept
            for name, rows in history.scalars.items()
            if (kept := [row for row in rows if row[0] <= number])
        },
    )


def attempt(folder: Path, from_step: int, acknowledge: int) -> None:
    """A child's work: go on after `from_step`, and say which steps a checkpoint holds."""
    is_new = from_step == 0 and not folder.exists()
    record = Record(folder) if is_new else Record.reopen(folder, from_step=from_step)
    for number in range(from_step + 1, NUM_STEPS + 1):
        record_step(record, number)
        if number % CHECKPOINT_EVERY == 0:
            record.flush()
            os.write(acknowledge, b"%d " % number)
        time.sleep(0.0002)
    record.close()
    os.write(acknowledge, b"closed ")


def forked_attempt(folder: Path, from_step: int, seconds: float | None) -> tuple[int, bool]:
    """Kill an attempt after so long: the last step that was acknowledged, and whether it ended.

    None lets it end.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            attempt(folder, from_step, writer)
        except BaseException as error:
            os.write(writer, f"{error!r} ".encode())
        os._exit(0)
    os.close(writer)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader) as said:
        words = said.read().split()
    os.waitpid(child, 0)
    numbers = [int(word) for word in words if word != "closed"]
    return max(numbers, default=from_step), "closed" in words


def kill_exam(folder: Path, num_kills: int, seed: int) -> History:
    """After every kill the acknowledged steps stand there; what stands there after the last."""
    warnings.simplefilter("ignore", DeprecationWarning)  # fork beside NumPy's sleeping threads
    draw = random.Random(seed)
    whole, from_step = undisturbed(NUM_STEPS), 0
    for _ in range(num_kills):
        known, has_ended = forked_attempt(folder, from_step, draw.uniform(0.0, 0.15))
        if not has_record(folder):
            assert from_step == 0, "only a first attempt leaves nothing"
            shutil.rmtree(folder, ignore_errors=True)
            continue
        assert same(up_to(read(folder), known), up_to(whole, known)), f"killed after step {known}"
        is_from_start = has_ended or draw.random() < 0.3
        from_step = draw.randint(0, known) if is_from_start else known
    forked_attempt(folder, from_step, None)
    return read(folder)


def has_record(folder: Path) -> bool:
    """Was the record made before the kill?"""
    try:
        read(folder)
    except RunError:
        return False
    return True
