"""A run that was resumed reads like one that was never stopped, whatever killed it in between."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from record_kit import (
    STORES,
    patched,
    python,
    record_step,
    same,
    step_of,
    told,
    undisturbed,
)
from thalweg.errors import RunError, UsageError
from thalweg.record import History, Memory, Record, read
from thalweg.types import Evaluation, Event


@pytest.fixture(params=STORES)
def store(request, monkeypatch) -> str:
    """Both kinds of file; the log as if WAL did not work."""
    patched(request.param, monkeypatch)
    return request.param


def written(folder: Path, *attempts: tuple[int, int]) -> History:
    """A record whose attempts went from a step to a step."""
    for i, (first, last) in enumerate(attempts):
        record = Record.reopen(folder, from_step=first) if i else Record(folder)
        for number in range(first + 1, last + 1):
            record_step(record, number)
        record.close()
    return read(folder)


ATTEMPTS = [
    [(0, 60), (40, 100)],
    [(0, 60), (60, 100)],
    [(0, 60), (0, 100)],
    [(0, 100), (100, 100)],
    [(0, 100), (95, 100)],
    [(0, 60), (50, 80), (30, 70), (70, 100)],
    [(0, 60), (30, 40), (35, 90), (10, 20), (15, 100)],
]


@pytest.mark.parametrize("attempts", ATTEMPTS, ids=str)
def test_the_newest_attempt_is_shown(tmp_path, attempts, store):
    history = written(tmp_path, *attempts)
    assert same(history, undisturbed(100))
    shown = [(row.number, row.from_step) for row in history.attempts]
    assert shown == [(i, first) for i, (first, _) in enumerate(attempts, 1)]
    times = [row.started or 0.0 for row in history.attempts]
    assert times[0] > 1.7e9
    assert times == sorted(times)


@pytest.mark.parametrize("attempts", ATTEMPTS[:3], ids=str)
def test_a_resume_from_a_wrong_step_is_noticed(tmp_path, attempts):
    """The comparison can fail: a step too early is a step missing."""
    (_, last), (first, end) = attempts
    record = Record(tmp_path)
    for number in range(1, last + 1):
        record_step(record, number)
    record.close()
    record = Record.reopen(tmp_path, from_step=max(0, first - 1))
    for number in range(first + 1 if first else 2, end + 1):
        record_step(record, number)
    record.close()
    assert not same(read(tmp_path), undisturbed(100))


def test_superseded_rows_stay_in_the_file(tmp_path):
    written(tmp_path, (0, 60), (40, 50))
    with sqlite3.connect(tmp_path / "record.sqlite") as connection:
        rows = connection.execute("SELECT attempt, max(number) FROM steps GROUP BY attempt")
        assert rows.fetchall() == [(1, 60), (2, 50)]
    connection.close()


def test_a_history_ends_where_the_newest_attempt_begins(tmp_path, store):
    assert same(written(tmp_path, (0, 60), (40, 40)), undisturbed(40))
    with pytest.raises(AssertionError):
        assert same(read(tmp_path), undisturbed(60))


def test_what_is_said_again_of_a_step_before_replaces(tmp_path, store):
    """Steps that were measured, not drained, when the checkpoint was made come again."""
    record = Record(tmp_path)
    record.steps([step_of(number) for number in (1, 2, 3, 4)])
    record.event(Event(2, "spike", "skipped", {"at": "first"}))
    record.event(Event(1, "spike", "another"))
    record.evaluation(Evaluation(2, "validation", {"loss": 1.0}))
    record.evaluation(Evaluation(2, "validation", {"loss": 2.0}))
    record.evaluation(Evaluation(2, "test", {"loss": 3.0}))
    record.scalars(2, {"mine": 1.0, "other": 2.0})
    record.close()
    record = Record.reopen(tmp_path, from_step=3)
    record.steps([step_of(number, {"loss": -1.0}) for number in (2, 3, 4)])
    record.event(Event(2, "spike", "skipped", {"at": "second"}))
    record.evaluation(Evaluation(2, "validation", {"loss": 4.0}))
    record.scalars(2, {"mine": 3.0})
    record.event(Event(3, "resume", "from step 3"))
    record.close()
    history = read(tmp_path)
    assert history.steps["number"].tolist() == [1, 2, 3, 4]
    assert history.steps["loss"].tolist() == [1.0, -1.0, -1.0, -1.0]
    told_events = [(event.text, event.data.get("at")) for event in history.events]
    assert told_events == [("another", None), ("skipped", "second"), ("from step 3", None)]
    assert [(e.split, e.values["loss"]) for e in history.evaluations] == [
        ("test", 3.0),
        ("validation", 4.0),
    ]
    assert history.scalars == {"mine": [(2, 3.0)], "other": [(2, 2.0)]}


def test_facts_of_a_newer_attempt_replace(tmp_path, store):
    record = Record(tmp_path)
    record.facts(settings={"lr": 0.1, "epochs": 2}, environment={"threads": 1})
    record.facts(results={"loss": 1.0})
    record.close()
    record = Record.reopen(tmp_path, from_step=0)
    record.facts(settings={"lr": 0.2})
    record.facts(settings={"seed": 1})
    record.close()
    history = read(tmp_path)
    assert history.settings == {"lr": 0.2, "seed": 1}
    assert (history.environment, history.results) == ({"threads": 1}, {"loss": 1.0})


def test_a_reopened_record_is_not_empty(tmp_path, store):
    Record(tmp_path).close()
    record = Record.reopen(tmp_path, from_step=0)
    assert not record.is_empty, "else who gives up before the first step deletes the run"
    record.close()


@pytest.mark.parametrize("step", [-1, 1.5, None, "3"])
def test_a_step_that_is_none_is_refused(tmp_path, step):
    Record(tmp_path).close()
    with pytest.raises(UsageError, match=r"from_step is .* it must be"):
        Record.reopen(tmp_path, from_step=step)


# Killed again and again.


EXAM = """
from pathlib import Path
folder = Path(words[0])
history = record_kit.kill_exam(folder, int(words[1]), int(words[2]))
assert record_kit.same(history, record_kit.undisturbed(record_kit.NUM_STEPS))
print(len(history.attempts))
"""


@pytest.mark.parametrize(
    ("num_kills", "seed"), [(25, 0), pytest.param(500, 1, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments_it_reads_as_if_undisturbed(tmp_path, num_kills, seed, store):
    done = python(EXAM, tmp_path / "run", num_kills, seed, store=store)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > num_kills // 4, "most were killed after they had begun"
    assert [path.name for path in (tmp_path / "run").iterdir()] == [f"record.{store}"]


FORGETFUL = """
flush = Record.flush
Record.flush = lambda record: None  # a checkpoint that does not wait for the record
"""


def test_the_exam_notices_a_checkpoint_that_does_not_wait(tmp_path, store):
    done = python(FORGETFUL + EXAM, tmp_path / "run", 25, 0, store=store)
    assert "AssertionError: killed after step" in done.stderr


# Versions.


VERSION_1 = """
CREATE TABLE steps(attempt INTEGER, phase TEXT, number INTEGER, samples INTEGER, epoch REAL,
    lr REAL, seconds REAL, loss REAL, gradient_norm REAL, update_norm REAL, parameter_norm REAL,
    clip_factor REAL, num_nonfinite REAL, nans INTEGER);
CREATE TABLE evaluations(attempt INTEGER, phase TEXT, number INTEGER, split TEXT, values_json TEXT,
    noise REAL, seconds REAL, nans INTEGER);
CREATE TABLE events(attempt INTEGER, phase TEXT, number INTEGER, kind TEXT, text TEXT,
    data_json TEXT);
CREATE TABLE scalars(attempt INTEGER, phase TEXT, number INTEGER, name TEXT, value REAL,
    nans INTEGER);
CREATE TABLE facts(name TEXT PRIMARY KEY, value_json TEXT);
INSERT INTO steps VALUES (1, 'main', 1, 8, 0.1, 0.1, 0.001, 2.5, NULL, NULL, NULL, NULL, 0.0, 256);
INSERT INTO steps VALUES (1, 'main', 2, 16, 0.2, 0.1, 0.001, NULL, 1.0, 2.0, 3.0, 1.0, 9e999, 32);
INSERT INTO evaluations VALUES (1, 'main', 2, 'validation', '{"loss": NaN}', NULL, 0.25, 1);
INSERT INTO events VALUES (1, 'main', 2, 'stop', 'the guard', '{"status": "stopped"}');
INSERT INTO scalars VALUES (1, 'main', 1, 'mine', NULL, 1);
INSERT INTO facts VALUES ('settings', '{"lr": 0.1}');
PRAGMA user_version=1;
"""
"""What thalweg wrote before records had attempts."""


def old(folder: Path) -> None:
    connection = sqlite3.connect(folder / "record.sqlite")
    connection.executescript(VERSION_1)
    connection.close()


def test_a_record_of_version_1_is_read(tmp_path):
    old(tmp_path)
    memory = Memory()
    nan = float("nan")
    first = {"loss": 2.5, "parameter_norm": nan, "num_nonfinite": 0.0}
    second = {"loss": nan, "gradient_norm": 1.0, "update_norm": 2.0, "parameter_norm": 3.0}
    memory.steps([step_of(1, first)])
    memory.steps([step_of(2, {**second, "clip_factor": 1.0, "num_nonfinite": float("inf")})])
    memory.evaluation(Evaluation(2, "validation", {"loss": nan}, nan, 0.25))
    memory.event(Event(2, "stop", "the guard", {"status": "stopped"}))
    memory.scalars(1, {"mine": nan})
    memory.facts(settings={"lr": 0.1})
    history = read(tmp_path)
    assert told(history) == told(memory.history())
    assert history.steps["loss_scale"].mask.all()
    assert [(row.number, row.from_step, row.started) for row in history.attempts] == [(1, 0, None)]


def test_a_record_of_version_1_is_not_continued(tmp_path):
    old(tmp_path)
    before = told(read(tmp_path))
    with pytest.raises(RunError, match=r"record of version 1.*now 2.*can be read, not continued"):
        Record.reopen(tmp_path, from_step=1)
    assert told(read(tmp_path)) == before
    assert [path.name for path in tmp_path.iterdir()] == ["record.sqlite"]


def test_a_record_of_a_newer_version_is_refused(tmp_path, store):
    Record(tmp_path).close()
    if store == "sqlite":
        connection = sqlite3.connect(tmp_path / "record.sqlite")
        connection.execute("PRAGMA user_version=3")
        connection.close()
    else:
        file = tmp_path / "record.log"
        file.write_bytes(file.read_bytes().replace(b"version 2", b"version 3", 1))
    text = rf"record\.{store} is a record of version 3, and this thalweg reads up to version 2"
    for use in (read, lambda folder: Record.reopen(folder, from_step=1)):
        with pytest.raises(RunError, match=text) as caught:
            use(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_record_whose_wal_works_no_more_is_refused(tmp_path, monkeypatch):
    Record(tmp_path).close()
    patched("log", monkeypatch)
    with pytest.raises(RunError, match="cannot be continued in this folder: move it"):
        Record.reopen(tmp_path, from_step=0)
