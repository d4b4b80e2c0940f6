"""Bad input: one line that says what is wrong; what can be read is read, and said to be a part."""

from __future__ import annotations

import io
import os
from contextlib import suppress

import numpy as np
import pytest

from foreign_kit import GENUINE, curve, falling, read, read_all, written
from thalweg.errors import DataError
from thalweg.record.foreign import Columns, find_logs, read_logs

EVENTS = GENUINE / "events/torch/events.out.tfevents.1.host.1.0"
BINARY = bytes(range(256)) * 40

BAD = {
    "empty": ("log.csv", b"", "is empty"),
    "white": ("log.txt", b" \n\t\n", "is empty"),
    "a header alone": ("log.csv", b"step,loss\n", "a header and no row below it"),
    "one row": ("log.csv", b"step,loss\n1,2.0\n", "has one row with a loss"),
    "one line": ("log.txt", b"step 1 loss 2.0\n", "has one row with a loss"),
    "one object": ("log.jsonl", b'{"step": 1, "loss": 2.0}\n', "one row|no log that is known"),
    "binary": ("log.csv", BINARY, "is binary"),
    "a picture": ("a.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + BINARY, "is binary"),
    "no loss": ("log.csv", b"step,width\n1,2\n2,3\n", "names a loss"),
    "other JSON": ("log.json", b'{"a": {"b": 1}}', "no log that is known"),
    "broken JSON": (
        "trainer_state.json",
        b'{"log_history": [{"step": 1, "lo',
        "no log that is known",
    ),
    "a state without a log": ("trainer_state.json", b'{"log_history": []}', "names a loss"),
    "deep JSON": ("log.json", b"[" * 100_000, "no log that is known"),
    "events of nothing": ("events.out.tfevents.1", b"", "holds no scalars"),
    "no events": ("events.out.tfevents.1", BINARY, "holds no scalars"),
}


@pytest.mark.parametrize(("name", "raw", "says"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name, raw, says):
    path = written(tmp_path, name, raw)
    with pytest.raises(DataError, match=says) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)


def test_a_missing_path_and_a_folder_without_logs(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        find_logs(str(tmp_path / "none"))
    written(tmp_path, "config.json", '{"lr": 0.1}')
    written(tmp_path, "requirements.txt", "torch\n")
    with pytest.raises(DataError, match="holds no log that is known"):
        find_logs(str(tmp_path))


def test_a_folder_that_is_called_like_a_log(tmp_path):
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(DataError, match="folder without event files"):
        read_logs(tmp_path / "log.csv", "log.csv", Columns())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    path = written(tmp_path, "log.csv", falling())
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        read(path)


def test_a_file_that_went_away_is_said_in_a_line(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_logs(tmp_path / "gone.csv", "gone.csv", Columns())


@pytest.mark.parametrize("part", ["loss", "validation", "step", "lr"])
def test_a_column_that_is_not_there(tmp_path, part):
    path = written(tmp_path, "log.csv", falling(header="step,train_loss,val_loss,lr"))
    with pytest.raises(DataError, match="did you mean 'train_loss'"):
        read(path, **{part: "trian_loss"})
    with pytest.raises(DataError, match="its columns are"):
        read(path, **{part: "zzzz"})


def test_a_folder_of_fifty_logs_lists_them(tmp_path):
    for i in range(50):
        written(tmp_path / f"run_{i}", "metrics.csv", falling())
    assert len(find_logs(str(tmp_path))) == 50


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(falling().encode())))
    (log,) = read_logs(find_logs("-")[0], "-", Columns())
    assert (log.source, len(log.series["loss"])) == ("standard input", 20)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1"])
def test_letters_of_other_kinds(tmp_path, encoding):
    raw = "".join(f"Übung: step {i} loss {1 / i} für\n" for i in range(1, 9)).encode(encoding)
    assert len(read(written(tmp_path, "log.txt", raw)).series["loss"]) == 8


def test_line_ends_of_other_systems(tmp_path):
    for end in ("\r\n", "\r"):
        log = read(written(tmp_path, "log.csv", falling().replace("\n", end)))
        assert len(log.series["loss"]) == 20


def test_events_that_are_cut_are_read_to_the_cut(tmp_path):
    raw = EVENTS.read_bytes()
    whole = read(EVENTS)
    log = read(written(tmp_path, EVENTS.name, raw[: len(raw) // 2]))
    (note,) = log.notes
    assert "is cut after" in note
    assert 10 < len(log.series["loss"]) < 60
    known = dict(curve(whole, "loss"))
    assert all(known[step] == value for step, value in curve(log, "loss"))


def test_events_with_a_wrong_checksum_are_read_up_to_there(tmp_path):
    raw = bytearray(EVENTS.read_bytes())
    raw[len(raw) // 2] ^= 1
    log = read(written(tmp_path, EVENTS.name, bytes(raw)))
    (note,) = log.notes
    assert "has a wrong checksum after" in note
    assert 10 < len(log.series["loss"]) < 60


def test_a_damaged_length_of_a_frame_is_seen(tmp_path):
    raw = bytearray(EVENTS.read_bytes())
    raw[0] ^= 1
    with pytest.raises(DataError, match="holds no scalars"):
        read(written(tmp_path, EVENTS.name, bytes(raw)))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_events_never_raise_anything_else(tmp_path, seed):
    rng = np.random.default_rng(seed)
    raw = np.frombuffer(EVENTS.read_bytes(), np.uint8).copy()
    raw[rng.integers(0, len(raw), 30)] = rng.integers(0, 256, 30)
    with suppress(DataError):
        read(written(tmp_path, EVENTS.name, raw.tobytes()))


TEXTS = ["fastai.csv", "keras/bar.txt", "lightning/version_0/metrics.csv"]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("seed", range(5))
def test_damaged_texts_never_raise_anything_else(tmp_path, name, seed):
    rng = np.random.default_rng(seed)
    raw = np.frombuffer((GENUINE / name).read_bytes(), np.uint8).copy()
    raw[rng.integers(0, len(raw), 20)] = rng.integers(1, 256, 20)
    with suppress(DataError):
        read_all(written(tmp_path, "log.csv", raw.tobytes()))


def test_several_event_files_are_one_run(tmp_path):
    raw = EVENTS.read_bytes()
    written(tmp_path, "events.out.tfevents.1", raw[: len(raw) // 2])
    written(tmp_path, "events.out.tfevents.2", raw)
    log = read(tmp_path)
    assert curve(log, "loss") == curve(read(EVENTS), "loss")
    assert any("is cut" in note for note in log.notes)
    assert any("resumed" in note for note in log.notes)


DTYPES = ["float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "int16"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_of_one_number_are_scalars(dtype):
    log = read(GENUINE / "events/dtypes", loss=f"loss/{dtype}")
    assert curve(log, "loss") == [(i, i + 1) for i in range(5)]


def test_tensors_of_more_numbers_are_none():
    with pytest.raises(DataError, match="no column"):
        read(GENUINE / "events/dtypes", loss="loss/vector")


LONG = ["1", "1,", " ", "a=", "loss:", "loss 1 ", "1%|", "[1/", "{", '"', ";", "Namespace("]


@pytest.mark.parametrize("part", LONG)
def test_endless_lines_are_refused_at_once(tmp_path, part):
    with pytest.raises(DataError):
        read(written(tmp_path, "log.txt", "loss" + part * 100_000))
