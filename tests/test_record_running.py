"""A record while it is written: readers, kills, forks, one writer, disks that are full."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import thalweg
from record_kit import MEASURED, STORES, fill, on_disk, patched, python, same, step_of, wait_for
from thalweg.errors import RunError, UsageError
from thalweg.record import Record, read


@pytest.fixture(params=STORES)
def store(request, monkeypatch) -> str:
    """Both kinds of file; the log as if WAL did not work."""
    patched(request.param, monkeypatch)
    return request.param


def test_it_can_be_read_while_it_is_written(tmp_path, store):
    record = Record(tmp_path)
    assert len(read(tmp_path).steps["loss"]) == 0, "from the first moment"
    fill(record)
    wait_for(lambda: len(read(tmp_path).steps["loss"]) == len(MEASURED) + 1)
    wait_for(lambda: len(read(tmp_path).scalars) == 2)
    record.steps([step_of(101, {"loss": 3.0})])
    wait_for(lambda: read(tmp_path).steps["loss"][-1] == 3.0)
    record.close()


def test_a_reader_sees_whole_commits(tmp_path, store):
    """Each step comes with its event; what is read at any moment is a beginning."""
    record = Record(tmp_path)
    seen = []
    for number in range(1, 1500):
        record.steps([step_of(number)])
        record.scalars(number, {"mine": float(number)})
        if number % 50 == 0:
            history = read(tmp_path)
            assert history.damage == ""
            seen.append(len(history.steps["number"]))
            assert history.steps["number"].tolist() == list(range(1, seen[-1] + 1))
            numbers = [row[0] for row in history.scalars.get("mine", [])]
            assert numbers == list(range(1, len(numbers) + 1))
            assert abs(len(numbers) - seen[-1]) <= 1, "put one after the other, committed together"
    record.close()
    assert seen == sorted(seen)
    assert len(read(tmp_path).steps["number"]) == 1499


def test_a_flush_waits_until_it_is_on_disk(tmp_path, store):
    record = Record(tmp_path)
    for number in range(1, 20):
        record.steps([step_of(number)])
        record.flush()
        assert len(read(tmp_path).steps["number"]) == number
    record.close()


def test_after_closing_one_file_is_left(tmp_path, store):
    on_disk(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"record.{store}"]


KILLED = """
record = Record(words[0])
record.steps([step_of(number) for number in range(1, 101)])
record.flush()
record.steps([step_of(101)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_can_be_read_after_a_kill(tmp_path, store):
    assert python(KILLED, tmp_path, store=store).returncode == -9
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"record.lock", "record.sqlite-wal" if store == "sqlite" else "record.log"}
    assert read(tmp_path).steps["loss"].tolist()[:100] == list(map(float, range(1, 101)))
    assert same(read(tmp_path), read(tmp_path / f"record.{store}"))


NOT_CLOSED = """
record = Record(words[0])
record.steps([step_of(number) for number in range(1, 101)])
"""


def test_what_was_not_closed_is_closed_when_python_ends(tmp_path, store):
    done = python(NOT_CLOSED, tmp_path, store=store)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read(tmp_path).steps["loss"]) == 100
    assert [path.name for path in tmp_path.iterdir()] == [f"record.{store}"]


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that every user can enter (pytest's own is for its owner alone)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


READ_ONLY = """
if os.getuid() == 0:
    os.setuid(65534)  # permissions do not bind root
try:
    open(words[0] + "/x", "w")
except PermissionError:
    print(len(read(words[0]).steps["loss"]))
    try:
        Record.reopen(words[0], from_step=1)
    except ThalwegError as error:
        print(type(error).__name__, error)
"""
ENDS = ("closed", "killed", "killed, and copied without its index")


@pytest.mark.parametrize(
    ("kind", "end"), [*(("sqlite", end) for end in ENDS), ("log", "closed"), ("log", "killed")]
)
def test_a_read_only_folder_can_be_read(readable, kind, end, monkeypatch):
    patched(kind, monkeypatch)
    run = readable / "run"
    if end == "closed":
        on_disk(run)
    else:
        python(KILLED, run, store=kind)
    if end == "killed, and copied without its index":
        (run / "record.sqlite-shm").unlink()
    files = sorted(path.name for path in run.iterdir())
    run.chmod(0o555)
    try:
        done = python(READ_ONLY, run)
    finally:
        run.chmod(0o755)
    assert files == sorted(path.name for path in run.iterdir())
    count, refusal = done.stdout.splitlines()
    assert int(count) == len(read(run).steps["loss"]), done.stderr
    assert refusal == f"RunError {run}/record.{kind} cannot be continued: Permission denied"


# Forks, and one writer.


FORKED = """
record = Record(words[0])
record.steps([step_of(1)])
child = os.fork()
if child == 0:
    record.steps([step_of(2)])
    record.flush()
    record.close()
    del record
    os._exit(0) if words[1] == "at once" else sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
record.steps([step_of(3)])
record.close()
print(*map(int, read(words[0]).steps["number"]))
"""
WITH_FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@WITH_FORKS
@pytest.mark.parametrize("way", ["at once", "in order"])
def test_a_forked_child_does_no_harm(tmp_path, way, store):
    head = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
    done = python(head + FORKED, tmp_path, way, store=store)
    assert done.stdout.split() == ["1", "3"], done.stderr
    assert done.stderr == ""


REOPEN = """
try:
    Record.reopen(words[0], from_step=1).close()
    print("reopened")
except ThalwegError as error:
    print(type(error).__name__, error)
"""


def test_a_record_that_is_being_written_is_refused(tmp_path, store):
    """To this process, to another, and to a new record in its place; afterwards it is free."""
    record = Record(tmp_path)
    record.steps([step_of(1)])
    text = f"{tmp_path}/record.{store} is still being written by a run: wait until"
    with pytest.raises(RunError, match=text):
        Record.reopen(tmp_path, from_step=1)
    assert python(REOPEN, tmp_path).stdout.startswith(f"RunError {text}")
    with pytest.raises(UsageError, match="exists already"):
        Record(tmp_path)
    record.steps([step_of(2)])
    record.close()
    assert python(REOPEN, tmp_path).stdout == "reopened\n"
    assert [path.name for path in tmp_path.iterdir()] == [f"record.{store}"]


def test_a_reopened_record_is_refused_as_well(tmp_path, store):
    on_disk(tmp_path)
    record = Record.reopen(tmp_path, from_step=1)
    with pytest.raises(RunError, match="still being written"):
        Record.reopen(tmp_path, from_step=1)
    assert python(REOPEN, tmp_path).stdout.startswith("RunError")
    record.close()
    Record.reopen(tmp_path, from_step=1).close()


ORPHANED = """
record = Record(words[0])
record.steps([step_of(1)])
record.flush()
if os.fork() == 0:
    time.sleep(60)  # a data worker that outlives the run
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@WITH_FORKS
def test_a_child_that_outlives_the_killed_run_holds_nothing(tmp_path, store):
    head = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
    keep = "os.close(1); os.close(2)\n"  # else we would wait for the child's streams
    code = head + ORPHANED.replace("    time.sleep", f"    {keep}    time.sleep")
    code = code.replace(
        "time.sleep(60)", "open(words[1], 'w').write(str(os.getpid())), time.sleep(60)"
    )
    pid = tmp_path / "pid"
    assert python(code, tmp_path / "run", pid, store=store).returncode == -9
    wait_for(lambda: pid.exists() and pid.read_text() != "")
    try:
        os.kill(int(pid.read_text()), 0)
        record = Record.reopen(tmp_path / "run", from_step=1)
        record.close()
    finally:
        os.kill(int(pid.read_text()), 9)


# Places that go bad.


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


@pytest.mark.parametrize("limit", [10, 200_000])
def test_a_full_disk_is_told_once(tmp_path, limit, store):
    done = python(FULL, tmp_path / "run", limit, store=store)
    kind, _, text = done.stdout.partition(" | ")
    assert kind == "UsageError", done.stdout + done.stderr
    assert f"record.{store}" in text
    assert "written" in text
    assert done.stderr == "", "nothing is said from a destructor"
    if limit == 10:
        assert not list((tmp_path / "run").iterdir()), "nothing half-made is left"
    else:
        count = len(read(tmp_path / "run").steps["number"])
        assert read(tmp_path / "run").steps["number"].tolist() == list(range(1, count + 1))
        assert count > 100, "what was safe stays"


TOLD = """
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
said, errors = [], []
record = Record(words[0], on_error=said.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
for number in range(1, 3000):
    record.steps([step_of(number)])
    if number % 1000 == 0:
        record.flush()
if words[1] == "space again":
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
try:
    record.close()
except ThalwegError as error:
    errors.append(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
history = read(words[0])
print(len(said), len(errors), len(history.steps["number"]), history.damage)
print(*said, *errors, sep="\\n")
"""


@pytest.mark.parametrize("end", ["space again", "full to the end"])
def test_a_full_disk_may_be_told_instead(tmp_path, end, store):
    done = python(TOLD, tmp_path / "run", end, store=store)
    counts, line, *rest = done.stdout.splitlines()
    num_said, num_errors, num_steps = map(int, counts.split())  # and no damage
    assert num_said == 1, done.stdout + done.stderr
    assert "could not be written" in line
    assert line.endswith("wait in memory until that has changed")
    if end == "space again":
        assert (num_errors, num_steps) == (0, 2999)
    else:
        assert num_errors == 1
        assert rest[0].endswith(f"({2999 - num_steps} rows lost)")
    assert done.stderr == ""


def test_a_folder_that_was_deleted_is_told(tmp_path, store):
    record = Record(tmp_path / "run")
    record.steps([step_of(1, {})])
    wait_for(lambda: len(record.history().steps["loss"]) == 1)
    shutil.rmtree(tmp_path / "run")
    record.steps([step_of(2, {})])
    with pytest.raises(UsageError, match="could not be written: it was deleted") as caught:
        record.close()
    assert "\n" not in str(caught.value)
    record.close()


def test_a_flush_that_fails_is_told(tmp_path, store):
    record = Record(tmp_path / "run")
    record.flush()
    shutil.rmtree(tmp_path / "run")
    record.steps([step_of(1)])
    with pytest.raises(UsageError, match="it was deleted"):
        record.flush()
    record.close()


def test_a_deleted_folder_is_told_by_a_descent(tmp_path, store):
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
