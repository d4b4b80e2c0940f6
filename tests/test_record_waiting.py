"""What waits for a disk that is full or slow: bounded, thinned where nothing is lost by it."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from record_kit import EVALUATIONS, EVENTS, INF, NAN, STORES, patched, step_of, wait_for
from thalweg.errors import UsageError
from thalweg.record import Record, read, sqlite, store, waiting
from thalweg.record.log import Log
from thalweg.record.waiting import Waiting

LIMIT, TIER = 100, 10
NUM_STEPS = 20_000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A queue that is full soon."""
    monkeypatch.setattr(waiting, "LIMIT", LIMIT)
    monkeypatch.setattr(waiting, "TIER", TIER)
    monkeypatch.setattr(store, "RETRY_EVERY", 0.05)


def losses(num_steps: int) -> list[float]:
    draws = np.random.default_rng(0).normal(size=num_steps)
    odd = {150: NAN, 151: INF, 1000: -INF, num_steps - 5: NAN}
    return [odd.get(i, float(draw)) for i, draw in enumerate(draws)]


def measured(loss: float, number: int) -> dict[str, float]:
    """Every 3,001st step has another measure that is odd."""
    num_nonfinite = float(number % 3001 == 0)
    return {"loss": loss, "gradient_norm": INF if number % 3002 == 0 else 1.0} | {
        "num_nonfinite": num_nonfinite
    }


def steps(num_steps: int = NUM_STEPS):
    return [
        step_of(number, measured(loss, number)) for number, loss in enumerate(losses(num_steps), 1)
    ]


def broken_laws(given, kept, num_thinned: int) -> list[str]:
    """What thinning promises and did not keep."""
    numbers = [step.number for step in kept]
    known = set(numbers)
    odd = [
        step.number
        for step in given
        if step.num_nonfinite
        or not (math.isfinite(step.loss) and math.isfinite(step.gradient_norm))
    ]
    finite = [step for step in given if math.isfinite(step.loss)]
    ends = {f(finite, key=lambda step: step.loss).number for f in (min, max)}
    laws = {
        "in order": numbers == sorted(known),
        "the first are whole": numbers[:LIMIT] == [step.number for step in given[:LIMIT]],
        "all that is not finite": known.issuperset(odd) and len(odd) > 4,
        "the smallest and the largest": known >= ends,
        "counted": len(kept) + num_thinned == len(given),
        "bounded": len(kept) <= LIMIT + 12 * TIER,
        "as many as can be": len(kept) >= LIMIT + 6 * TIER,
    }
    return [law for law, is_kept in laws.items() if not is_kept]


def taken(queue: Waiting, table: str) -> list:
    return [row for name, _, rows in queue.take() if name == table for row in rows]


@pytest.mark.parametrize("block", [1, 7, 32])
def test_what_overflows_is_thinned(block):
    queue, given = Waiting(), steps()
    for start in range(0, len(given), block):
        queue.put("steps", "main", given[start : start + block])
    queue.release()
    items = list(queue.take())
    kept = [step for table, _, rows in items if table == "steps" for step in rows]
    num_thinned = sum(row[1] for table, _, rows in items if table == "thinned" for row in rows)
    assert broken_laws(given, kept, num_thinned) == []


def test_the_laws_notice_planted_faults():
    queue, given = Waiting(), steps()
    for step in given:
        queue.put("steps", "main", [step])
    queue.release()
    kept = taken(queue, "steps")
    num_thinned = len(given) - len(kept)
    lowest = min((s for s in given if math.isfinite(s.loss)), key=lambda s: s.loss)
    planted = {
        "in order": [*kept[::-1]],
        "the first are whole": [kept[1], kept[0], *kept[2:]],
        "all that is not finite": [s for s in kept if s.number != 151],
        "the smallest and the largest": [s for s in kept if s is not lowest],
        "counted": kept[:-1],
        "bounded": given,
        "as many as can be": kept[:LIMIT],
    }
    assert broken_laws(given, kept, num_thinned) == []
    for law, rows in planted.items():
        assert law in broken_laws(given, rows, num_thinned)


def test_what_fits_is_not_thinned():
    queue, given = Waiting(), steps(1000)
    for step in given:
        queue.put("steps", "main", [step])
        if len(queue) == LIMIT:
            queue.wrote(len(taken(queue, "steps")))
    assert not queue._held
    assert not taken(queue, "thinned")


def test_when_there_is_room_again_nothing_is_thinned_any_more():
    queue, given = Waiting(), steps(3 * LIMIT)
    for step in given[: 2 * LIMIT]:
        queue.put("steps", "main", [step])
    kept = taken(queue, "steps")
    assert LIMIT < len(kept) < 2 * LIMIT
    queue.wrote(len(kept))
    for step in given[2 * LIMIT : -TIER]:
        queue.put("steps", "main", [step])
    numbers = [step.number for step in taken(queue, "steps")]
    assert numbers[TIER - LIMIT :] == list(range(2 * LIMIT + 1, 3 * LIMIT - TIER + 1))
    assert kept[-1].number < numbers[0] <= 2 * LIMIT, "a stretch that was begun is ended"


def test_scalars_are_thinned_by_name_and_the_rest_never():
    queue, values = Waiting(), losses(2000)
    for number, value in enumerate(values, 1):
        for name, sign in (("up", 1), ("down", -1)):
            queue.put("scalars", "main", [(number, name, sign * value, 0)], series=name)
        queue.put("events", "main", [(number, "mine", "", "{}")])
        queue.put("evaluations", "main", [(number,)])
    queue.release()
    items = list(queue.take())
    rows = {name: [] for name, *_ in items}
    for name, _, some in items:
        rows[name] += some
    assert len(rows["events"]) == len(rows["evaluations"]) == 2000
    finite = [value for value in values if math.isfinite(value)]
    for name, sign in (("up", 1), ("down", -1)):
        kept = [row[2] for row in rows["scalars"] if row[1] == name]
        assert {sign * min(finite), sign * max(finite)} <= set(kept)
        assert sum(not math.isfinite(value) for value in kept) == 4
    assert len(rows["scalars"]) + sum(row[1] for row in rows["thinned"]) == 4000
    assert len(rows["scalars"]) < LIMIT + 12 * TIER


class Disk:
    """A disk that is stuck, or full, until it is mended."""

    def __init__(self, monkeypatch, *, is_full: bool):
        self.is_mended = threading.Event()
        self.is_asked = threading.Event()
        self.is_full = is_full
        for kind in (sqlite.Sqlite, Log):
            monkeypatch.setattr(kind, "write", self._around(kind.write))

    def _around(self, write):
        def slow(target, tables):
            if "attempts" not in tables:
                self.is_asked.set()
                if self.is_full and not self.is_mended.is_set():
                    raise OSError(28, "No space left on device")
                assert self.is_mended.wait(20)
            write(target, tables)

        return slow


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("is_full", [False, True], ids=["stuck", "full"])
def test_a_run_goes_on_while_the_disk_does_not(tmp_path, monkeypatch, kind, is_full):
    """The training thread is not kept, and what was left out is counted in the history."""
    patched(kind, monkeypatch)
    disk, said = Disk(monkeypatch, is_full=is_full), []
    record = Record(tmp_path, on_error=said.append)
    given = steps(5000)
    record.steps(given[:1])
    assert disk.is_asked.wait(20)
    for step in given[1:]:
        record.steps([step])
    for evaluation in EVALUATIONS:
        record.evaluation(evaluation)
    record.event(EVENTS[0])
    disk.is_mended.set()
    record.close()
    history = read(tmp_path)
    kept = [given[int(number) - 1] for number in history.steps["number"]]
    assert broken_laws(given, kept, history.num_thinned) == []
    assert history.num_thinned > 4000
    assert len(history.evaluations) == len(EVALUATIONS)
    assert len(said) == is_full
    again = Record.reopen(tmp_path, from_step=LIMIT)
    again.close()
    assert read(tmp_path).num_thinned == 0, "what was left out of an attempt's end is no longer"


def test_a_disk_that_is_mended_is_written_while_the_run_goes_on(tmp_path, monkeypatch):
    disk, said = Disk(monkeypatch, is_full=True), []
    record = Record(tmp_path, on_error=said.append)
    record.steps([step_of(1)])
    wait_for(lambda: record._error is not None)
    record.steps([step_of(2)])
    assert len(said) == 1
    assert "No space left on device; its rows wait in memory" in said[0]
    assert "\n" not in said[0]
    assert len(record.history().steps["number"]) == 0
    disk.is_mended.set()
    wait_for(lambda: len(record.history().steps["number"]) == 2)
    record.steps([step_of(3)])
    record.close()
    assert len(said) == 1
    assert read(tmp_path).steps["number"].tolist() == [1, 2, 3]


def test_what_no_disk_takes_is_no_full_disk(tmp_path):
    """A fault of ours is told and raised at the end; it is not tried for ever."""
    said = []
    record = Record(tmp_path, on_error=said.append)
    record.steps([step_of(1, {"loss": object()})])  # pyright: ignore[reportArgumentType]
    wait_for(lambda: not record._thread.is_alive())
    record.steps([step_of(2)])
    assert len(said) == 1
    with pytest.raises(UsageError, match="could not be written"):
        record.close()
