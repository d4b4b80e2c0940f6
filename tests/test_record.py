"""The record: what goes in comes out, on disk as in memory, and places that cannot be used."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import thalweg
from record_kit import (
    EVALUATIONS,
    EVENTS,
    MEASURED,
    ODD,
    STORES,
    fill,
    in_memory,
    on_disk,
    patched,
    same,
    step_of,
    told,
)
from thalweg.errors import RunError, UsageError
from thalweg.record import History, Memory, Record, read
from thalweg.types import MEASURES, Event


@pytest.fixture(params=STORES)
def store(request, monkeypatch) -> str:
    """Both kinds of file; the log as if WAL did not work."""
    patched(request.param, monkeypatch)
    return request.param


# Round trips.


@pytest.mark.parametrize("made", [on_disk, lambda _: in_memory()], ids=["disk", "memory"])
def test_what_goes_in_comes_out(made, tmp_path, store):
    history = made(tmp_path / "run")
    assert history.steps["number"].tolist() == [*range(1, len(MEASURED) + 1), 100]
    assert math.isnan(history.steps["lr"][-1])
    for name in MEASURES:
        column = history.steps[name]
        for i, measured in enumerate(MEASURED):
            assert column.mask[i] == (name not in measured), "not measured is a gap"
            if name in measured:
                assert repr(float(column[i])) == repr(measured[name])

    assert repr(history.evaluations) == repr(EVALUATIONS)
    assert repr(history.events) == repr(EVENTS)
    for i, value in enumerate(ODD):
        assert repr(history.scalars["mine"][i]) == repr((i, value))
    assert history.settings == {"lr": 0.1, "name": "größe", "seed": 3}
    assert history.results["list"] == [1, None, "x"]
    assert math.isnan(history.results["loss"])
    assert [(row.number, row.from_step) for row in history.attempts] == [(1, 0)]
    assert history.attempts[0].started > 1.7e9
    assert (history.num_thinned, history.damage) == (0, "")


def test_memory_and_disk_are_equal(tmp_path, store):
    assert same(on_disk(tmp_path / "run"), in_memory())
    assert [path.name for path in (tmp_path / "run").iterdir()] == [f"record.{store}"]


PLANTED: dict[str, Callable[[History], object]] = {
    "a gap for a NaN": lambda h: np.asarray(h.steps["loss"].mask).put(6, True),
    "a NaN for a gap": lambda h: np.asarray(h.steps["loss"].mask).put(0, False),
    "another number": lambda h: h.steps["lr"].__setitem__(4, 0.2),
    "an evaluation less": lambda h: h.evaluations.pop(),
    "an event out of order": lambda h: h.events.reverse(),
    "another scalar": lambda h: h.scalars["mine"].append((9, 9.0)),
    "another setting": lambda h: h.settings.update(seed=4),
    "a step thinned": lambda h: setattr(h, "num_thinned", 1),
    "damage": lambda h: setattr(h, "damage", "damaged at byte 9"),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_the_comparison_tells_a_planted_difference(plant):
    history = in_memory()
    plant(history)
    assert not same(history, in_memory())


def test_an_empty_record_is_an_empty_history(tmp_path, store):
    record = Record(tmp_path)
    assert record.is_empty
    record.close()
    assert same(read(tmp_path), Memory().history())


def test_a_history_does_not_grow(tmp_path):
    for record in (Memory(), Record(tmp_path)):
        fill(record)
        record.history()
        before = told(record.history()) if isinstance(record, Memory) else ""
        first = record.history()
        record.event(EVENTS[0])
        assert not before or told(first) == before
        record.close()


def test_phases_are_apart(tmp_path, store):
    histories = []
    for record in (Memory(), Record(tmp_path)):
        for phase, loss in (("main", 1.0), ("critic", 2.0)):
            record.steps([step_of(1, {"loss": loss})], phase=phase)
            record.event(Event(1, "mine", phase), phase=phase)
            record.evaluation(EVALUATIONS[0], phase=phase)
            record.scalars(1, {phase: loss}, phase=phase)
        record.facts(settings={"seed": 3})
        record.close()
        histories.append([record.history(phase=phase) for phase in ("main", "critic", "none")])
    for memory, disk in zip(*histories, strict=True):
        assert same(memory, disk)
    main, critic, none = histories[1]
    assert (main.steps["loss"].tolist(), critic.steps["loss"].tolist()) == ([1.0], [2.0])
    assert ([e.text for e in main.events], list(critic.scalars)) == (["main"], ["critic"])
    assert (len(none.steps["loss"]), none.events, none.settings) == (0, [], {"seed": 3})
    assert same(read(tmp_path), main)
    assert same(read(tmp_path, phase="critic"), critic)


def test_every_measure_is_a_step_s_own():
    for name in MEASURES:
        assert getattr(step_of(1, {name: 2.0}), name) == 2.0
        assert name == "loss" or getattr(step_of(1, {}), name) is None


def test_a_descent_is_recorded_alike(tmp_path, store):
    """The same run into memory and onto disk."""
    torch = pytest.importorskip("torch")
    histories = []
    for record in (Memory(), Record(tmp_path / "run")):
        torch.manual_seed(0)
        net = torch.nn.Linear(2, 1)
        x = torch.linspace(-1, 1, 40).reshape(-1, 2)
        task = thalweg.Task(net, (x, x.sum(1)), loss="mse", validation=(x, x.sum(1)))
        optimizer = thalweg.SGD(net.parameters(), lr=0.1)
        until = thalweg.budget(steps=30)
        with thalweg.descend(task, optimizer, until=until, record=record) as descent:
            for step in descent:
                descent.log(twice=2 * step.loss)
        histories.append(record.history())
    for history in histories:
        history.steps.pop("seconds")
        history.evaluations = [(row.number, row.values, row.noise) for row in history.evaluations]
    assert same(*histories)
    assert len(histories[0].steps["loss"]) == 30


def test_columns_are_float64_masked_arrays(tmp_path, store):
    for history in (on_disk(tmp_path), in_memory()):
        assert all(isinstance(c, np.ma.MaskedArray) for c in history.steps.values())
        assert {c.dtype for c in history.steps.values()} == {np.dtype(np.float64)}


# Places that cannot be used, and what cannot be recorded.


def test_a_place_that_holds_a_record_is_refused(tmp_path, store, monkeypatch):
    before = told(on_disk(tmp_path))
    for other in STORES:
        patched(other, monkeypatch)
        with pytest.raises(UsageError, match=rf"record\.{store} exists already: choose another"):
            Record(tmp_path)
    assert told(read(tmp_path)) == before
    assert [path.name for path in tmp_path.iterdir()] == [f"record.{store}"]


def test_a_place_that_is_a_file_is_refused(tmp_path):
    file = tmp_path / "notes"
    file.write_text("mine")
    for place in (file, file / "run"):
        with pytest.raises(UsageError, match=r"notes.*(exists already|Not a directory)"):
            Record(place)
    assert file.read_text() == "mine"


def test_after_closing_nothing_is_taken(tmp_path, store):
    record = Record(tmp_path)
    record.close()
    record.close()
    record.flush()
    with pytest.raises(UsageError, match="was closed"):
        record.event(EVENTS[0])


def test_what_json_cannot_hold_is_told_at_once(tmp_path, store):
    record = Record(tmp_path)
    with pytest.raises(TypeError, match="JSON"):
        record.event(Event(1, "mine", "text", {"what": object()}))
    with pytest.raises(TypeError, match="JSON"):
        record.facts(settings={"what": object()})
    record.event(EVENTS[0])
    record.facts(settings={"lr": 0.1})
    record.close()
    assert len(read(tmp_path).events) == 1
    assert read(tmp_path).settings == {"lr": 0.1}


RUBBISH: dict[str, bytes] = {
    "text": b"not a database at all, but long enough to be read as a header",
    "empty": b"",
    "binary": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("name", ["record.sqlite", "record.log"])
@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH)
def test_what_is_no_record_is_told(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    for use in (read, lambda folder: Record.reopen(folder, from_step=1)):
        with pytest.raises(RunError, match=rf"{name} is not a record") as caught:
            use(tmp_path)
        assert "\n" not in str(caught.value)
    assert (tmp_path / name).read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_truncated_record_is_told(tmp_path):
    on_disk(tmp_path)
    file = tmp_path / "record.sqlite"
    file.write_bytes(file.read_bytes()[:6000])
    with pytest.raises(RunError, match="not a record"):
        read(tmp_path)


def test_where_there_is_no_record_it_is_told(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        for use in (read, lambda folder: Record.reopen(folder, from_step=1)):
            with pytest.raises(RunError, match="does not exist"):
                use(place)
    assert not list(tmp_path.iterdir())
