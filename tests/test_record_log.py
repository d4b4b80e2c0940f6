"""The log of frames: chosen where WAL does not work, read up to the first that is not whole."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from record_kit import STORES, fill, patched, python, same, step_of, told
from thalweg.errors import RunError, UsageError
from thalweg.record import History, Memory, Record, files, log, read
from thalweg.record import sqlite as sqlite_store
from thalweg.types import Event

NUM_FRAMES = 4


@pytest.fixture
def frames(tmp_path, monkeypatch) -> tuple[Path, list[int], list[str]]:
    """A small log: its file, where its frames end, and what is told up to each of these ends."""
    patched("log", monkeypatch)
    record, memory = Record(tmp_path / "run"), Memory()
    ends, histories = [record.path.stat().st_size], [told(memory.history())]
    for number in range(1, NUM_FRAMES + 1):
        for target in (record, memory):
            target.steps([step_of(number)])
            target.event(Event(number, "mine", "größe"))
            target.flush()
        ends.append(record.path.stat().st_size)
        histories.append(told(memory.history()))
    record.close()
    assert record.path.stat().st_size == ends[-1]
    return record.path, ends, histories


def frame_of(rows: Any) -> bytes:
    """As the log's description says, not as its code does."""
    payload = json.dumps(rows).encode()
    head = struct.pack("<II", len(payload), zlib.crc32(payload))
    return head + struct.pack("<I", zlib.crc32(head)) + payload


def without_damage(history: History) -> str:
    history.damage = ""
    return told(history)


def test_a_log_that_was_cut_tells_its_whole_frames(frames):
    """At every byte: nothing is said, as after a kill; going on cuts off what is not whole."""
    path, ends, histories = frames
    content = path.read_bytes()
    whole = 0
    for size in range(ends[0], ends[-1] + 1):
        whole = max(i for i, end in enumerate(ends) if end <= size)
        path.write_bytes(content[:size])
        assert told(read(path)) == histories[whole], size
    assert whole == NUM_FRAMES
    assert len(set(histories)) == NUM_FRAMES + 1, "the comparison can fail"


def test_a_log_that_was_cut_goes_on_behind_its_whole_frames(frames):
    path, ends, histories = frames
    content = path.read_bytes()
    for size in range(ends[-3], ends[-1] + 1):
        path.write_bytes(content[:size])
        whole = max(i for i, end in enumerate(ends) if end <= size)
        record = Record.reopen(path.parent, from_step=whole)
        for number in range(whole + 1, NUM_FRAMES + 1):
            record.steps([step_of(number)])
            record.event(Event(number, "mine", "größe"))
        record.close()
        assert told(read(path)) == histories[-1], size
    assert len(read(path).attempts) == 2


def test_every_flipped_bit_is_told(frames):
    """Frames before it are shown; it and what follows are not, and that is said."""
    path, ends, histories = frames
    content = path.read_bytes()
    for start, (first, last) in enumerate(pairwise(ends)):
        for place in range(first, last):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
            history = read(path)
            expected = f"{path} is damaged at byte {first}: {ends[-1] - first} bytes from there on"
            assert history.damage == f"{expected} were left out"
            assert without_damage(history) == histories[start], place


def test_every_flipped_bit_before_the_first_row_is_told(frames):
    path, ends, _ = frames
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for place in range(ends[0]):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            if place < first:
                with pytest.raises(RunError, match=r"is not a record|is a record of version"):
                    read(path)
            else:
                assert f"damaged at byte {first}" in read(path).damage
                assert read(path).attempts == []


SENSELESS = {
    "a short row": {"steps": [[1]]},
    "an unknown table": {"spam": [[1]]},
    "an unknown attempt": {"events": [[7, "main", 1, "mine", "", "{}"]]},
    "no JSON within": {"events": [[1, "main", 1, "mine", "", "{"]]},
    "an unknown fact": {"facts": [[1, "spam", "{}"]]},
    "words for numbers": {"scalars": [[1, "main", "one", "mine", 1.0, 0]]},
    "no rows": {"steps": 1},
}


@pytest.mark.parametrize("rows", SENSELESS.values(), ids=SENSELESS)
def test_whole_frames_without_sense_are_no_record(frames, rows):
    path, _, _ = frames
    path.write_bytes(path.read_bytes() + frame_of(rows))
    with pytest.raises(RunError, match="is not a record that thalweg wrote"):
        read(path)


@pytest.mark.parametrize("tail", [bytes(40), b"x" * 40, bytes(range(12))], ids=["zeros", "x", "12"])
def test_what_does_not_belong_is_told(frames, tail):
    path, ends, histories = frames
    path.write_bytes(path.read_bytes() + tail)
    history = read(path)
    assert f"damaged at byte {ends[-1]}: {len(tail)} bytes" in history.damage
    assert without_damage(history) == histories[-1]


def test_a_frame_by_the_description_is_read(frames):
    path, _, _ = frames
    path.write_bytes(path.read_bytes() + frame_of({"scalars": [[1, "main", 9, "mine", 0.5, 0]]}))
    assert read(path).scalars == {"mine": [(9, 0.5)]}


def test_going_on_after_damage_says_so_for_good(frames):
    path, ends, _ = frames
    content = bytearray(path.read_bytes())
    content[ends[1] + 20] ^= 1
    path.write_bytes(content)
    record = Record.reopen(path.parent, from_step=3)
    record.steps([step_of(4)])
    record.close()
    history = read(path)
    assert history.damage == ""
    assert history.steps["number"].tolist() == [1, 4]
    assert history.events[-1].number == 3
    assert history.events[-1].kind == "notice"
    assert f"damaged at byte {ends[1]}" in history.events[-1].text


def test_a_log_without_its_first_frame_goes_on(tmp_path, monkeypatch):
    patched("log", monkeypatch)
    Record(tmp_path).close()
    file = tmp_path / "record.log"
    file.write_bytes(file.read_bytes()[:40])
    assert read(tmp_path).attempts == []
    record = Record.reopen(tmp_path, from_step=0)
    record.steps([step_of(1)])
    record.close()
    assert [row.number for row in read(tmp_path).attempts] == [1]


def test_a_wal_that_was_cut_tells_a_beginning(tmp_path):
    """SQLite's own frames, for comparison: every cut leaves whole commits."""
    code = """
record = Record(words[0])
for number in range(1, 6):
    record.steps([step_of(number)])
    record.scalars(number, {"mine": 1.0})
    record.flush()
os.kill(os.getpid(), 9)
"""
    python(code, tmp_path / "run")
    wal = tmp_path / "run" / "record.sqlite-wal"
    content = wal.read_bytes()
    seen = set()
    for size in range(len(content), len(content) - 5 * 4120 * 3, -511):
        shutil.copytree(tmp_path / "run", tmp_path / "cut", dirs_exist_ok=True)
        (tmp_path / "cut" / "record.sqlite-wal").write_bytes(content[:size])
        (tmp_path / "cut" / "record.sqlite-shm").unlink()
        history = read(tmp_path / "cut")
        count = len(history.steps["number"])
        assert history.steps["number"].tolist() == list(range(1, count + 1))
        assert len(history.scalars.get("mine", [])) == count, "committed together"
        seen.add(count)
        shutil.rmtree(tmp_path / "cut")
    assert {3, 4, 5} <= seen


# Which of them is made.


def failing(name: str):
    """As if SQLite failed so."""

    def has_wal(connection):
        error = sqlite3.OperationalError("planted")
        error.sqlite_errorname = name
        raise error

    return has_wal


@pytest.mark.parametrize(
    "name", ["SQLITE_IOERR_SHMMAP", "SQLITE_IOERR_LOCK", "SQLITE_PROTOCOL", "SQLITE_BUSY"]
)
def test_where_wal_does_not_work_a_log_is_written(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sqlite_store, "has_wal", failing(name))
    record = Record(tmp_path)
    fill(record)
    record.close()
    assert [path.name for path in tmp_path.iterdir()] == ["record.log"]
    assert len(read(tmp_path).events) == 3


@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_READONLY"])
def test_other_failures_are_told(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sqlite_store, "has_wal", failing(name))
    with pytest.raises(UsageError, match=r"record\.sqlite cannot be written: planted"):
        Record(tmp_path)
    assert not list(tmp_path.iterdir())


MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/vdb /home/me/fast xfs rw 0 0
//box/data /mnt/my\\040data cifs rw 0 0
me@there:/x /mnt/there fuse.sshfs rw 0 0
"""
PLACES = {
    "/runs/mine": False,
    "/home": True,
    "/home/me/runs/mine": True,
    "/home/me/fast/runs": False,
    "/homes/me": False,
    "/mnt/my data/run": True,
    "/mnt/there/run": True,
    "/mnt": False,
}


@pytest.mark.parametrize(("place", "is_shared"), PLACES.items(), ids=PLACES)
def test_network_file_systems_are_known(tmp_path, place, is_shared):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert files.is_shared(Path(place), mounts) == is_shared
    assert not files.is_shared(Path(place), tmp_path / "none")


def test_on_a_network_file_system_a_log_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "is_shared", lambda folder: True)
    record = Record(tmp_path)
    fill(record)
    record.close()
    assert [path.name for path in tmp_path.iterdir()] == ["record.log"]


@pytest.mark.parametrize("kind", STORES)
def test_a_file_of_another_name_is_read(tmp_path, monkeypatch, kind):
    patched(kind, monkeypatch)
    record = Record(tmp_path)
    fill(record)
    record.close()
    copy = record.path.rename(tmp_path / f"copy.{kind}")
    memory = Memory()
    fill(memory)
    assert same(read(copy), memory.history())


def test_a_log_is_whole_in_one_write(tmp_path, monkeypatch):
    """A write that takes a part at a time still leaves one frame."""
    patched("log", monkeypatch)
    whole = log._write_all

    class Slow:
        """Takes seven bytes at a time."""

        def __init__(self, file: Any):
            self.file = file

        def write(self, data: memoryview) -> int:
            return self.file.write(data[:7])

    def write_all(file: Any, data: bytes) -> None:
        slow: Any = Slow(file)
        whole(slow, data)

    monkeypatch.setattr(log, "_write_all", write_all)
    record, memory = Record(tmp_path), Memory()
    for target in (record, memory):
        fill(target)
        target.close()
    assert same(read(tmp_path), memory.history())
