"""Pictures in files: layouts, kinds of files, bad input, and that a resumed run is exact."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import thalweg
from album import CLASSES, picture, write_album, write_table
from thalweg.errors import DataError, UsageError
from thalweg.tasks.images import shelf
from thalweg.tasks.images.augment import augmented
from thalweg.tasks.images.folders import are_folders, parts_in
from thalweg.tasks.images.form import Shape
from thalweg.tasks.images.read import looks_of, picture_of
from thalweg.types import LOOK, Stretch


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The cache of decoded pictures, apart from the user's."""
    place = tmp_path / "cache"
    place.mkdir()
    monkeypatch.setattr(shelf, "folder", lambda name: place)
    return place


def fit(data: Any, **settings: Any) -> Any:
    known = {"model": "conv:8", "steps": 6, "batch_size": 16, "out": None, "quiet": True}
    return thalweg.fit(data, **{**known, **settings})


def raw(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


# what a file becomes: bytes of the file -> the grey value of a picture that is alike everywhere

FLAT = {
    "grey": (raw(Image.new("L", (9, 7), 90)), 90),
    "colour": (raw(Image.new("RGB", (9, 7), (90, 90, 90))), 90),
    "black and white": (raw(Image.new("1", (9, 7), 1)), 255),
    "palette": (raw(Image.new("RGB", (9, 7), (90, 90, 90)).quantize(4)), 90),
    "16 bit": (raw(Image.fromarray(np.full((7, 9), 90 * 257, np.uint16))), 90),
    "16 bit, white": (raw(Image.fromarray(np.full((7, 9), 65_535, np.uint16))), 255),
    "fractions": (raw(Image.fromarray(np.full((7, 9), 0.5, np.float32)), "TIFF"), 128),
    "CMYK": (raw(Image.new("CMYK", (16, 16), (0, 0, 0, 255 - 90)), "TIFF"), 90),
    "CMYK as JPEG": (raw(Image.new("CMYK", (16, 16), (0, 0, 0, 255 - 90)), "JPEG"), 90),
    "transparent": (raw(Image.new("RGBA", (9, 7), (10, 200, 30, 0))), 255),
    "half transparent": (raw(Image.new("LA", (9, 7), (0, 128))), 127),
    "JPEG": (raw(Image.new("RGB", (64, 48), (90, 90, 90)), "JPEG"), 90),
    "GIF": (raw(Image.new("L", (9, 7), 90), "GIF"), 90),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("content", "value"), FLAT.values(), ids=FLAT)
def test_every_kind_of_file_becomes_bytes(content, value, channels):
    found = picture_of(content, Shape(8, 6, channels))

    assert found.shape == (6, 8, channels)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - value).max() <= 2


def test_a_camera_that_was_turned_is_turned_back():
    image = Image.new("L", (20, 10), 0)
    image.paste(255, (0, 0, 10, 10))
    notes = Image.Exif()
    notes[0x0112] = 6  # to be turned by a quarter, clockwise
    content = raw(image, "JPEG", exif=notes)

    found = picture_of(content, Shape(10, 20, 1))

    assert looks_of(content)[:2] == (10, 20)
    assert found[:8].mean() > 200
    assert found[-8:].mean() < 50


BROKEN = {
    "empty": (b"", "it is empty (0 bytes)"),
    "a text": (b"hello, I am a text\n", "it is no picture: it begins with"),
    "truncated": (raw(picture(0, 1, side=64, mode="RGB"), "JPEG")[:-400], "truncated"),
    "damaged": (raw(picture(0, 1, side=64))[:200] + b"\0" * 300, "it cannot be decoded"),
}


@pytest.mark.parametrize(("content", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_says_why(content, says):
    with pytest.raises(DataError) as caught:
        picture_of(content, Shape(8, 8, 1))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


# augmentation

PICTURES = np.arange(3 * 16 * 12, dtype=np.uint8).reshape(3, 16, 12, 1)


def test_augmentation_is_a_function_of_the_place():
    whole = augmented(PICTURES, Stretch(np.arange(3), seed=1, epoch=2, start=40), "flip")
    last = augmented(PICTURES[2:], Stretch(np.arange(1), seed=1, epoch=2, start=42), "flip")
    other = augmented(PICTURES, Stretch(np.arange(3), seed=1, epoch=3, start=40), "flip")

    assert np.array_equal(whole[2:], last)
    assert not np.array_equal(whole, other)


def test_a_mere_look_and_no_augmentation_leave_pictures_as_they_are():
    assert augmented(PICTURES, Stretch(np.arange(3), epoch=LOOK), "flip") is PICTURES
    assert augmented(PICTURES, Stretch(np.arange(3), epoch=1), "none") is PICTURES


def test_shifts_reach_both_ways_and_flips_are_half():
    one = np.arange(16 * 16, dtype=np.uint8).reshape(1, 16, 16, 1)
    stretches = [Stretch(np.arange(1), epoch=0, start=i) for i in range(200)]
    shifted = {augmented(one, s, "shift").tobytes() for s in stretches}
    flipped = [augmented(one, s, "flip")[0, 8, :, 0].astype(int) for s in stretches]

    assert len(shifted) == 25  # up to 2 pixels each way
    assert 60 < sum(row[6] > row[9] for row in flipped) < 140


# layouts


def test_folders_are_classes_and_hidden_files_are_skipped(tmp_path):
    data = write_album(tmp_path / "data", count=20)
    (data / ".thumbs").mkdir()
    picture(0, 0).save(data / ".thumbs" / "x.png")
    (data / "dark" / ".hidden.png").write_bytes(b"")
    (data / "dark" / "notes.txt").write_text("none")
    (data / "none").mkdir()

    run = fit(data)

    assert run.schema.target.classes == CLASSES
    assert run.result["task"]["rows"] == 40
    texts = [event.text for event in run.record.events]
    assert any("1 file is no picture by name" in text for text in texts)
    assert any("1 folder holds no picture and no class: none" in text for text in texts)
    assert any("read in grey, 10x10 (all are 10x10)" in text for text in texts)


def test_folders_of_parts_are_used(tmp_path):
    for part, count, first in (("train", 20, 0), ("val", 6, 20), ("test", 5, 30)):
        write_album(tmp_path / "data" / part, count=count, first=first)

    run = fit(tmp_path / "data")

    task = run.result["task"]
    assert [task[f"{name}_rows"] for name in ("train", "validation", "test")] == [40, 12, 10]
    assert run.result["split"]["rows_in_two_parts"] == []


def test_the_same_file_in_two_parts_is_said(tmp_path):
    write_album(tmp_path / "data" / "train", count=20)
    write_album(tmp_path / "data" / "test", count=4)

    run = fit(tmp_path / "data")

    copies = run.result["split"]["rows_in_two_parts"]
    assert sum(row["copies"] for row in copies if row["part"] == "test") == 8
    assert any("scores on them flatter" in text for text in run.result["split"]["warnings"])


def test_what_is_a_folder_of_pictures(tmp_path):
    data = write_album(tmp_path / "data", count=2)
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "part.csv").write_text("a,b\n1,2\n")

    assert are_folders(data)
    assert are_folders(data / "dark")
    assert not are_folders(tmp_path / "table")
    assert not are_folders(tmp_path / "nothing")
    assert list(parts_in(data)) == ["train"]


@pytest.mark.parametrize("types", [None, "photo=image"])
def test_a_table_names_its_pictures(tmp_path, types):
    table = write_table(tmp_path / "table.csv", "pictures", count=20)

    run = fit(table, target="label", types=types, split="group:where")

    assert run.result["images"]["column"] == "photo"
    assert run.result["split"]["kind"] == "group"
    said = [event.text for event in run.record.events]
    assert any("not learnt from beside the pictures" in text for text in said)
    found = run.predict(table)
    assert found["path"][0] == "pictures/bright/000.png"
    assert run.evaluate(table)["rows"] == 40


def test_numbers_can_be_told_from_pictures(tmp_path):
    table = write_table(tmp_path / "table.csv", "pictures", count=24)

    run = fit(table, target="size", task="regression")

    assert {"rmse", "r2"} <= run.result["test"].keys()
    assert run.predict(table)["prediction"].mean() == pytest.approx(12, abs=6)


# bad input


def one_class(root: Path) -> None:
    write_album(root, classes=["only"])


def no_folders(root: Path) -> None:
    write_album(root)
    for i, path in enumerate(sorted(root.rglob("*.png"))):
        path.rename(root / f"{i}.png")
    for name in CLASSES:
        (root / name).rmdir()


def many_broken(root: Path) -> None:
    write_album(root)
    for path in list((root / "dark").glob("*.png"))[:4]:
        path.write_bytes(b"")


def unknown_class(root: Path) -> None:
    write_album(root / "train")
    write_album(root / "test", classes=["bright", "pale"], count=3, first=50)


BAD: dict[str, tuple[Callable[[Path], Any], dict[str, Any], type[Exception], str]] = {
    "one class": (one_class, {}, DataError, "only one value"),
    "no folders": (no_folders, {}, DataError, "60 pictures but no folders"),
    "too many broken": (many_broken, {}, DataError, "4 of 60 pictures cannot be read"),
    "too few": (lambda r: write_album(r, count=3), {}, DataError, "6 rows are too few"),
    "unknown class": (unknown_class, {}, DataError, "class 'pale'"),
    "a target": (write_album, {"target": "x"}, UsageError, "leave --target out"),
    "weights": (write_album, {"weights": "x"}, UsageError, "weights has no effect"),
    "a table's model": (write_album, {"model": "mlp:8"}, UsageError, "take one of conv"),
    "size": (write_album, {"image_size": "4"}, UsageError, "image-size is '4'"),
    "augment": (write_album, {"augment": "twist"}, UsageError, "augment 'twist' is unknown"),
}


@pytest.mark.parametrize(("write", "settings", "error", "says"), BAD.values(), ids=BAD)
def test_bad_pictures_are_refused_in_one_line(tmp_path, write, settings, error, says):
    write(tmp_path / "data")
    with pytest.raises(error) as caught:
        fit(tmp_path / "data", out=str(tmp_path / "runs"), **settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_settings_of_pictures_are_refused_for_a_table(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n" + "1,x\n2,y\n" * 20)
    with pytest.raises(UsageError, match="augment is 'flip', and the data holds no picture"):
        fit(tmp_path / "table.csv", target="b", augment="flip", model="linear")


def test_a_few_broken_files_are_named_and_left_out(tmp_path):
    data = write_album(tmp_path / "data")
    (data / "dark" / "000.png").write_bytes(b"")
    (data / "dark" / "001.png").write_text("a text")

    run = fit(data)

    assert run.result["task"]["rows"] == 58
    (text,) = [event.text for event in run.record.events if "cannot be read" in event.text]
    assert "2 of 60 pictures cannot be read and are left out" in text
    assert "000.png: it is empty" in text
    assert "001.png: it is no picture" in text


# a run that was killed

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
import thalweg
from thalweg.loop.step import Stepper
from thalweg.scale import findings, matmul
from thalweg.tasks.images import shelf

torch.set_num_threads(1)
place, workers, at = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
shelf.folder = lambda name: place / "cache"
matmul.speedup = lambda piece, measure: 1.0
findings.folder = lambda name: None
backward = Stepper.backward

def planted(self, batch, number, *more):
    loss = backward(self, batch, number, *more)
    if number == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss

Stepper.backward = planted
if (place / "runs/cut/run.toml").exists():
    thalweg.resume(place / "runs/cut", quiet=True)
else:
    thalweg.fit(
        place / "data", model="conv:8", augment="flip", steps=14, batch_size=16, workers=workers,
        checkpoint_every=4, out=str(place / "runs"), name="cut", quiet=True,
    )
"""


def _python(place: Path, workers: int, at: int) -> int:
    code = [sys.executable, "-c", KILLED, str(place), str(workers), str(at)]
    return subprocess.run(code, check=False, env={**os.environ}).returncode


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_killed_run_goes_on_to_the_bit(tmp_path, workers):
    data = write_album(tmp_path / "data")

    assert _python(tmp_path, workers, at=7) == -signal.SIGKILL
    assert _python(tmp_path, workers, at=0) == 0
    whole = fit(data, augment="flip", steps=14, checkpoint_every=4)

    found = thalweg.load(tmp_path / "runs" / "cut").model.state_dict()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(found[name], value), name
