"""The saver: one save at a time, the last ones and the best kept, failures told and survived."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from checkpoints import facts_of, is_whole, names_in, state_of
from operations import Faults, WatchedOs
from thalweg.errors import UsageError
from thalweg.state import careful, checkpoint, durable
from thalweg.state.checkpoint import TENSORS, clean, newest, read, write
from thalweg.state.saver import Saver, _complete
from thalweg.state.tree import Packed


def save(saver: Saver, number: int, **options: Any) -> None:
    saver.save(number, state_of(number), facts_of(number), **options)


def steps(root: Path) -> list[int]:
    """Numbers of all that lies there, which is whole checkpoints and nothing else."""
    numbers = []
    for name in names_in(root):
        saved = read(root / name)
        assert is_whole(saved)
        numbers.append(saved.number)
    return numbers


# What is kept: the saves in their order ("*": the best so far), `keep`, and what is there then.

KEPT: dict[str, tuple[str, int, list[int]]] = {
    "one": ("1", 2, [1]),
    "the last two": ("1 2 3 4", 2, [3, 4]),
    "the last": ("1 2 3 4", 1, [4]),
    "the best besides": ("1 2* 3 4 5", 2, [2, 4, 5]),
    "the best among them": ("1 2 3 4*", 2, [3, 4]),
    "a better one": ("1* 2 3* 4 5", 1, [3, 5]),
    "more than there are": ("1 2 3", 9, [1, 2, 3]),
    "the same step again": ("1 2 2 2", 2, [1, 2]),
    "back to a lower step": ("8 9 3 4", 2, [3, 4]),
}


@pytest.mark.parametrize(("saves", "keep", "there"), KEPT.values(), ids=KEPT)
def test_what_is_kept(saves, keep, there, tmp_path):
    with Saver(tmp_path, keep=keep, tell=pytest.fail) as saver:
        for word in saves.split():
            save(saver, int(word.rstrip("*")), is_best=word.endswith("*"))
            saver.wait()
            assert saver.acknowledged == int(word.rstrip("*"))
    assert steps(tmp_path) == there


def test_what_was_there_counts(tmp_path):
    for number in (1, 2, 3):
        write(tmp_path, number, state_of(number), facts_of(number))
    with Saver(tmp_path, keep=2, best=1, tell=pytest.fail) as saver:
        assert saver.acknowledged is None
        save(saver, 4)
    assert steps(tmp_path) == [1, 3, 4]


def test_a_damaged_one_does_not_count(tmp_path):
    """Were it counted, the last good one would be deleted for it; and it is not the saver's."""
    for number in (1, 2, 3):
        write(tmp_path, number, state_of(number), facts_of(number))
    with (tmp_path / "step-00000003" / TENSORS).open("r+b") as file:
        file.truncate(1)
    with Saver(tmp_path, keep=2, tell=pytest.fail) as saver:
        save(saver, 4)
    assert names_in(tmp_path) == ["step-00000002", "step-00000003", "step-00000004"]


def test_an_older_one_stays_until_the_newer_one_was_read_back(tmp_path, monkeypatch):
    """A fault on the way to the disk is found in time."""
    lines: list[str] = []
    with Saver(tmp_path, keep=1, tell=lines.append) as saver:
        save(saver, 1)
        saver.wait()
        plain = durable._write
        monkeypatch.setattr(
            durable, "_write", lambda f, block: plain(f, memoryview(bytes(len(block))))
        )
        save(saver, 2)
        saver.wait()
        monkeypatch.undo()
        assert saver.acknowledged == 1
        assert steps(tmp_path) == [1]
    (line,) = lines
    assert line.startswith("step 2 was not saved: ")
    assert line.endswith(
        "cannot be written: tensors.safetensors is damaged (its checksum differs); "
        "step 1 is safe, and the next save tries again"
    )


def test_saving_is_in_the_background_and_one_at_a_time(tmp_path, monkeypatch):
    gate, begun, running = threading.Semaphore(0), threading.Event(), []

    def slow(root: Path, content: checkpoint.Content) -> Path:
        running.append(threading.current_thread())
        begun.set()
        assert gate.acquire(timeout=60)
        assert [thread for thread in running if thread.is_alive()] == [threading.current_thread()]
        return checkpoint.write_content(root, content)

    monkeypatch.setattr("thalweg.state.saver.write_content", slow)
    saver = Saver(tmp_path, tell=pytest.fail)
    save(saver, 1)
    assert begun.wait(60)
    assert saver.acknowledged is None
    assert names_in(tmp_path) == []
    gate.release()
    save(saver, 2)
    assert saver.acknowledged == 1, "the second save waits for the first"
    gate.release()
    saver.close()
    assert saver.acknowledged == 2
    assert threading.current_thread() not in running
    assert len(running) == 2


def test_a_save_that_is_forgotten_is_finished_at_the_end(tmp_path):
    """Nobody closes the saver: the interpreter waits for the save under way."""
    code = f"""
import torch
from thalweg.state.saver import Saver, _complete
from thalweg.state.tree import Packed
Saver({str(tmp_path)!r}, tell=print).save(5, {{"x": torch.ones(1 << 20)}}, {{}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    saved = newest(tmp_path, pytest.fail)
    assert saved is not None
    assert saved.number == 5


# Failures.


def failing(tmp_path: Path, monkeypatch, keep: int = 1) -> tuple[Saver, list[str], Faults]:
    """A saver with step 1 safe, what it tells, and a way to let its calls of the system fail."""
    faults, lines = Faults(), []
    for module in (durable, careful):
        monkeypatch.setattr(module, "os", WatchedOs(faults))
    saver = Saver(tmp_path, keep=keep, tell=lines.append)
    save(saver, 1)
    saver.wait()
    assert saver.acknowledged == 1
    return saver, lines, faults


slow = pytest.mark.slow

FAULTS = [
    pytest.param(2, errno.ENOSPC, False, id="another step, no space once"),
    pytest.param(2, errno.EIO, True, id="another step, a disk that is gone"),
    pytest.param(2, errno.EIO, False, id="another step, a disk that fails once", marks=slow),
    pytest.param(2, errno.ENOSPC, True, id="another step, no space", marks=slow),
    pytest.param(1, errno.EIO, False, id="the same step, a disk that fails once"),
    pytest.param(1, errno.ENOSPC, True, id="the same step, no space"),
    pytest.param(1, errno.ENOSPC, False, id="the same step, no space once", marks=slow),
    pytest.param(1, errno.EIO, True, id="the same step, a disk that is gone", marks=slow),
]
"""Which step is saved when step 1 is safe, the error, and whether all later calls fail as well."""


@pytest.mark.parametrize(("number", "error", "is_lasting"), FAULTS)
def test_every_call_may_fail(number, error, is_lasting, tmp_path, monkeypatch):
    """The n-th call of a save fails, n = 1, 2, ... until none is hit."""
    hit: list[str] = []
    for nth in range(1, 400):
        root = tmp_path / str(nth)
        with monkeypatch.context() as patch:
            saver, lines, faults = failing(root, patch)
            faults.arm(nth, error, is_lasting)
            save(saver, number)
            saver.wait()
            is_hit = faults.disarm()
            hit += faults.calls[nth - 1 : nth]
            judge(root, saver, lines, number, is_lasting)
            lines.clear()
            save(saver, 3)
            saver.wait()
            assert not lines, "the next save works"
            assert saver.acknowledged == 3
            assert steps(root) == [3]
        if not is_hit:
            break
    else:
        pytest.fail("the save never got through")
    assert {"open", "write", "fsync", "close", "mkdir", "rename", "unlink", "rmdir"} <= {*hit}


def judge(root: Path, saver: Saver, lines: list[str], number: int, is_lasting: bool) -> None:
    """After a save of `number` in which something failed, with step 1 safe before."""
    is_saved = saver.acknowledged == number and not any("was not saved" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    if not is_saved:
        assert saver.acknowledged == 1
        assert [line.split(":")[0] for line in lines] == [f"step {number} was not saved"]
        assert "step 1 is safe, and the next save tries again" in lines[0]
    if not is_lasting and not is_saved and number != 1:
        assert names_in(root) == ["step-00000001"], "it leaves nothing"
    clean(root)
    saved = newest(root, pytest.fail)
    assert saved is not None
    assert is_whole(saved)
    assert saved.number in ({number} if is_saved else {1, number})


def test_a_line_is_told_in_the_thread_that_trains(tmp_path, monkeypatch):
    threads: list[threading.Thread] = []
    saver, _, faults = failing(tmp_path, monkeypatch)
    saver._tell = lambda _: threads.append(threading.current_thread())
    faults.arm(1, errno.EIO)
    save(saver, 2)
    assert saver._thread is not None
    saver._thread.join()
    assert threads == []
    saver.poll()
    saver.poll()
    assert threads == [threading.current_thread()]


ODD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no memory": (lambda *_: (_ for _ in ()).throw(MemoryError()), "MemoryError"),
    "a fault of ours": (lambda *_: {}["x"], "KeyError 'x'"),
    "a device": (
        lambda *_: (_ for _ in ()).throw(RuntimeError("CUDA error:\n  misaligned")),
        "RuntimeError CUDA error: misaligned",
    ),
}


@pytest.mark.parametrize(("fail", "said"), ODD.values(), ids=ODD)
def test_whatever_fails_is_told(fail, said, tmp_path, monkeypatch):
    lines: list[str] = []
    with Saver(tmp_path, tell=lines.append) as saver:
        monkeypatch.setattr(checkpoint, "laid_out", fail)
        save(saver, 1)
        saver.wait()
        monkeypatch.undo()
        assert lines == [
            f"step 1 was not saved: {said}; none is safe yet, and the next save tries again"
        ]
        save(saver, 2)
    assert len(lines) == 1
    assert steps(tmp_path) == [2]


def test_what_cannot_be_saved_is_told_at_once(tmp_path):
    lines: list[str] = []
    with Saver(tmp_path, tell=lines.append) as saver:
        saver.save(1, {"a": {1}}, {})
        assert len(lines) == 1
        assert "'a' is of type set" in lines[0]
        save(saver, 2)
    assert steps(tmp_path) == [2]


@pytest.mark.parametrize("keep", [0, -1])
def test_a_saver_keeps_at_least_one(keep, tmp_path):
    with pytest.raises(UsageError, match=f"keep={keep}"):
        Saver(tmp_path, keep=keep, tell=print)


def test_what_was_cloned_on_an_accelerator_is_complete(monkeypatch):
    """Once for each device, and not for the CPU; needs no device to be seen."""
    waited: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    places = [torch.device(name) for name in ("cpu", "cuda:0", "cuda:1", "cuda:0")]
    tensors: Any = {str(i): SimpleNamespace(device=place) for i, place in enumerate(places)}
    _complete(Packed({}, tensors))
    assert sorted(map(str, waited)) == ["cuda:0", "cuda:1"]


# Forks.


def in_a_child(work: Callable[[], object]) -> int:
    """The exit code of a forked process that does this."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_touches_nothing(tmp_path, monkeypatch):
    gate, begun = threading.Event(), threading.Event()
    plain = checkpoint.write_content

    def slow(root: Path, content: checkpoint.Content) -> Path:
        begun.set()
        assert gate.wait(60)
        return plain(root, content)

    monkeypatch.setattr("thalweg.state.saver.write_content", slow)
    saver = Saver(tmp_path, tell=pytest.fail)
    save(saver, 1)
    assert begun.wait(60)
    saver._messages.append("a line for the one that trains")
    for work in (saver.poll, saver.wait, saver.close, saver.__enter__):
        assert in_a_child(work) == 0
    assert in_a_child(lambda: save(saver, 2)) == 1, "a child cannot save"
    saver._messages.clear()
    gate.set()
    saver.close()
    assert steps(tmp_path) == [1]


def test_tensors_are_those_of_the_moment(tmp_path):
    """What was given is written: the clone, not what became of the original."""
    weight = torch.ones(1000)
    with Saver(tmp_path, tell=pytest.fail) as saver:
        saver.save(1, {"w": weight.clone()}, {})
        weight.zero_()
    assert read(tmp_path / "step-00000001").tree["w"].sum() == 1000
