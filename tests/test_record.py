"""The record: what goes in comes out, on disk as in memory, whatever happens to the process."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import thalweg
from thalweg.errors import RunError, UsageError
from thalweg.record import History, Memory, Record, read
from thalweg.types import MEASURES, Evaluation, Event, Measures, Step

NAN, INF = math.nan, math.inf
ODD = (0.0, 1.5, -1e-300, 1e300, NAN, INF, -INF)

STEPS: list[dict[str, float]] = [
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


def step_of(number: int, measured: dict[str, float], lr: float = 0.1) -> Step:
    return Step(
        number=number,
        samples=8 * number,
        epoch=number / 10,
        lr=lr,
        seconds=0.001,
        measures=Measures(lambda: measured),
    )


def fill(record: Record | Memory) -> None:
    """Write one of everything."""
    record.steps([step_of(number, measured) for number, measured in enumerate(STEPS, 1)])
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


def same(first: History, second: History) -> bool:
    """Are two histories equal, NaN to NaN and gap to gap?"""
    return told(first) == told(second)


def told(history: History) -> str:
    """A history as text, in which NaN, None and the infinities all differ."""
    columns = {name: column.tolist() for name, column in history.steps.items()}
    masks = {name: column.mask.tolist() for name, column in history.steps.items()}
    rest = (history.evaluations, history.events, sorted(history.scalars.items()))
    return repr((columns, masks, rest, history.settings, history.environment, history.results))


# Round trips.


@pytest.mark.parametrize("made", [on_disk, lambda _: in_memory()], ids=["disk", "memory"])
def test_what_goes_in_comes_out(made, tmp_path):
    history = made(tmp_path / "run")
    assert history.steps["number"].tolist() == [*range(1, len(STEPS) + 1), 100]
    assert math.isnan(history.steps["lr"][-1])
    for name in MEASURES:
        column = history.steps[name]
        for i, measured in enumerate(STEPS):
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


def test_memory_and_disk_are_equal(tmp_path):
    assert same(on_disk(tmp_path / "run"), in_memory())


PLANTED: dict[str, Callable[[History], object]] = {
    "a gap for a NaN": lambda h: h.steps["loss"].mask.__setitem__(6, True),
    "a NaN for a gap": lambda h: h.steps["loss"].mask.__setitem__(0, False),
    "another number": lambda h: h.steps["lr"].__setitem__(4, 0.2),
    "an evaluation less": lambda h: h.evaluations.pop(),
    "an event out of order": lambda h: h.events.reverse(),
    "another scalar": lambda h: h.scalars["mine"].append((9, 9.0)),
    "another setting": lambda h: h.settings.update(seed=4),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_the_comparison_tells_a_planted_difference(plant):
    history = in_memory()
    plant(history)
    assert not same(history, in_memory())


def test_an_empty_record_is_an_empty_history(tmp_path):
    record = Record(tmp_path)
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


def test_a_descent_is_recorded_alike(tmp_path):
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


# While it runs, and after it was killed.


def wait_for(is_so: Callable[[], bool]) -> None:
    """Until it is so; 20 seconds at most."""
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until, "waited 20 seconds in vain"
        time.sleep(0.01)


def test_it_can_be_read_while_it_is_written(tmp_path):
    record = Record(tmp_path)
    assert len(read(tmp_path).steps["loss"]) == 0, "from the first moment"
    fill(record)
    wait_for(lambda: len(read(tmp_path).steps["loss"]) == len(STEPS) + 1)
    wait_for(lambda: len(read(tmp_path).scalars) == 2)
    record.steps([step_of(101, {"loss": 3.0})])
    wait_for(lambda: read(tmp_path).steps["loss"][-1] == 3.0)
    record.close()


def test_after_closing_one_file_is_left(tmp_path):
    on_disk(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["record.sqlite"]


def python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, with the pieces of this file at hand."""
    head = f"""
import os, resource, signal, sys, time
from thalweg.errors import ThalwegError
from thalweg.record import Record, read
from thalweg.types import Measures, Step

def step_of(number):
    return Step(number=number, samples=number, epoch=0.0, lr=0.1, seconds=0.0,
                measures=Measures(lambda: {{"loss": float(number)}}))

words = {json.dumps([str(word) for word in words])}
"""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", head + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


KILLED = """
record = Record(words[0])
record.steps([step_of(number) for number in range(1, 101)])
while len(read(words[0]).steps["loss"]) < 100:
    time.sleep(0.01)
record.steps([step_of(101)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_can_be_read_after_a_kill(tmp_path):
    assert python(KILLED, tmp_path).returncode == -9
    assert (tmp_path / "record.sqlite-wal").exists()
    assert read(tmp_path).steps["loss"].tolist()[:100] == list(map(float, range(1, 101)))
    assert same(read(tmp_path), read(tmp_path / "record.sqlite"))


NOT_CLOSED = """
record = Record(words[0])
record.steps([step_of(number) for number in range(1, 101)])
"""


def test_what_was_not_closed_is_closed_when_python_ends(tmp_path):
    done = python(NOT_CLOSED, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read(tmp_path).steps["loss"]) == 100
    assert [path.name for path in tmp_path.iterdir()] == ["record.sqlite"]


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that every user can enter (pytest's own is for its owner alone)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


READ_ONLY = """
import numpy
if os.getuid() == 0:
    os.setuid(65534)  # permissions do not bind root
try:
    open(words[0] + "/x", "w")
except PermissionError:
    print(len(read(words[0]).steps["loss"]))
"""


@pytest.mark.parametrize("end", ["closed", "killed", "killed, and copied without its index"])
def test_a_read_only_folder_can_be_read(readable, end):
    run = readable / "run"
    if end == "closed":
        on_disk(run)
    else:
        python(KILLED, run)
    if end == "killed, and copied without its index":
        (run / "record.sqlite-shm").unlink()
    files = sorted(path.name for path in run.iterdir())
    run.chmod(0o555)
    try:
        done = python(READ_ONLY, run)
    finally:
        run.chmod(0o755)
    assert files == sorted(path.name for path in run.iterdir())
    assert done.stdout.split() == [str(len(read(run).steps["loss"]))], done.stderr


FORKED = """
record = Record(words[0])
record.steps([step_of(1)])
child = os.fork()
if child == 0:
    record.steps([step_of(2)])
    record.close()
    del record
    os._exit(0) if words[1] == "at once" else sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
record.steps([step_of(3)])
record.close()
print(*map(int, read(words[0]).steps["number"]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("way", ["at once", "in order"])
def test_a_forked_child_does_no_harm(tmp_path, way):
    done = python(FORKED.replace("import os", "import os, warnings", 1), tmp_path, way)
    assert done.stdout.split() == ["1", "3"], done.stderr
    assert done.stderr == ""


# Places that cannot be used.


def test_a_place_that_holds_a_record_is_refused(tmp_path):
    before = told(on_disk(tmp_path))
    with pytest.raises(UsageError, match=r"record\.sqlite exists already: choose another"):
        Record(tmp_path)
    assert told(read(tmp_path)) == before


def test_a_place_that_is_a_file_is_refused(tmp_path):
    file = tmp_path / "notes"
    file.write_text("mine")
    for place in (file, file / "run"):
        with pytest.raises(UsageError, match=r"notes.*(exists already|Not a directory)"):
            Record(place)
    assert file.read_text() == "mine"


NOT_WRITABLE = """
if os.getuid() == 0:
    os.setuid(65534)
try:
    Record(words[0] + "/run")
except ThalwegError as error:
    print(type(error).__name__, error)
"""


def test_a_folder_that_cannot_be_written_is_told(readable):
    readable.chmod(0o555)
    done = python(NOT_WRITABLE, readable)
    readable.chmod(0o755)
    assert done.stdout.startswith("UsageError"), done.stderr
    assert "cannot be written: Permission denied" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not list(readable.iterdir())


FULL = """
# As if the disk were full.
resource.setrlimit(resource.RLIMIT_FSIZE, (int(words[1]), int(words[1])))
errors = []
try:
    record = Record(words[0])
    for number in range(1, 5000):
        record.steps([step_of(number)])
        time.sleep(0.0001)
except ThalwegError as error:
    errors.append(error)
try:
    record.close()
except ThalwegError as error:
    errors.append(error)
except NameError:
    pass
print(*(type(error).__name__ for error in errors), "|", *errors)
"""


@pytest.mark.parametrize("limit", [100, 60_000])
def test_a_full_disk_is_told_once(tmp_path, limit):
    done = python(FULL, tmp_path / "run", limit)
    kind, _, text = done.stdout.partition(" | ")
    assert kind == "UsageError", done.stdout + done.stderr
    assert "record.sqlite" in text
    assert "written" in text
    assert done.stderr == "", "nothing is said from a destructor"
    if limit == 100:
        assert not list((tmp_path / "run").iterdir()), "nothing half-made is left"


def test_a_folder_that_was_deleted_is_told(tmp_path):
    record = Record(tmp_path / "run")
    record.steps([step_of(1, {})])
    wait_for(lambda: len(record.history().steps["loss"]) == 1)
    shutil.rmtree(tmp_path / "run")
    record.steps([step_of(2, {})])
    with pytest.raises(UsageError, match="could not be written: it was deleted") as caught:
        record.close()
    assert "\n" not in str(caught.value)
    record.close()


def test_a_deleted_folder_is_told_by_a_descent(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(1, 1)
    task = thalweg.Task(net, (torch.ones(8, 1), torch.ones(8)), loss="mse")
    optimizer = thalweg.SGD(net.parameters())
    before = torch.get_rng_state()
    record = Record(tmp_path / "run")

    def body(descent):
        for step in descent:
            if step.number == 3:
                shutil.rmtree(tmp_path / "run")
            time.sleep(0.001)

    descent = thalweg.descend(task, optimizer, record=record, until=thalweg.budget(steps=5000))
    with pytest.raises(UsageError, match="could not be written") as caught, descent:
        body(descent)
    assert caught.value.__context__ is None, "told once"
    assert torch.equal(torch.get_rng_state(), before)


def test_after_closing_nothing_is_taken(tmp_path):
    record = Record(tmp_path)
    record.close()
    record.close()
    with pytest.raises(UsageError, match="was closed"):
        record.event(EVENTS[0])


def test_what_json_cannot_hold_is_told_at_once(tmp_path):
    record = Record(tmp_path)
    with pytest.raises(TypeError, match="JSON"):
        record.event(Event(1, "mine", "text", {"what": object()}))
    record.event(EVENTS[0])
    record.close()
    assert len(read(tmp_path).events) == 1


RUBBISH: dict[str, bytes] = {
    "text": b"not a database at all, but long enough to be read as a header",
    "empty": b"",
    "binary": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH)
def test_what_is_no_record_is_told(tmp_path, content):
    (tmp_path / "record.sqlite").write_bytes(content)
    with pytest.raises(RunError, match=r"record\.sqlite is not a record"):
        read(tmp_path)


def test_a_truncated_record_is_told(tmp_path):
    on_disk(tmp_path)
    file = tmp_path / "record.sqlite"
    file.write_bytes(file.read_bytes()[:6000])
    with pytest.raises(RunError, match="not a record"):
        read(tmp_path)


def test_where_there_is_no_record_it_is_told(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match="does not exist"):
            read(place)


def test_columns_are_float64_masked_arrays(tmp_path):
    for history in (on_disk(tmp_path), in_memory()):
        assert all(isinstance(c, np.ma.MaskedArray) for c in history.steps.values())
        assert {c.dtype for c in history.steps.values()} == {np.dtype(np.float64)}
