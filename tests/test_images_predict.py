"""Pictures after the fit: predictions of whatever names them, the report, and the cache."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import thalweg
from album import picture, write_album
from thalweg.cli.main import main
from thalweg.errors import DataError, RunError
from thalweg.tasks.images import shelf
from thalweg.tasks.images.files import Files
from thalweg.tasks.images.form import Form, Shape
from thalweg.tasks.images.shelf import Kept, shelved


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with pictures in data/ and a run on them in runs/one."""
    root = tmp_path_factory.mktemp("images")
    (root / "cache").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelf, "folder", lambda name: root / "cache")
        thalweg.fit(
            write_album(root / "data"),
            model="conv:8",
            steps=30,
            lr=0.02,
            batch_size=16,
            out=str(root / "runs"),
            name="one",
            quiet=True,
        )
    return root


@pytest.fixture
def run(place: Path) -> Any:
    return thalweg.load(place / "runs" / "one")


def listed(place: Path) -> Path:
    path = place / "list.txt"
    path.write_text("data/dark/000.png\n\ndata/bright/001.png\n")
    return path


def tabled(place: Path) -> Path:
    path = place / "new.csv"
    path.write_text("number,file\n1,data/dark/000.png\n2,data/bright/001.png\n")
    return path


GIVEN = {
    "a file": (lambda p: p / "data/dark/000.png", 1),
    "a folder": (lambda p: p / "data/dark", 30),
    "folders": (lambda p: str(p / "data"), 60),
    "a list": (listed, 2),
    "a table": (tabled, 2),
    "paths": (lambda p: [p / "data/dark/000.png", str(p / "data/bright/000.png")], 2),
}


@pytest.mark.parametrize(("given", "count"), GIVEN.values(), ids=GIVEN)
def test_whatever_names_pictures_is_predicted(place, run, given, count):
    found = run.predict(given(place))

    assert found.columns == ["path", "prediction", "probability_bright", "probability_dark"]
    assert found.height == count
    right = [kind in path for path, kind in found.select("path", "prediction").iter_rows()]
    assert sum(right) >= 0.9 * count


def test_pictures_in_memory_are_predicted_as_their_files_are(place, run):
    images = [picture(1, number) for number in range(3)]
    paths = [place / "data" / "dark" / f"{number:03d}.png" for number in range(3)]
    wanted = run.predict(paths).drop("path")

    assert run.predict(images).equals(wanted)
    assert run.predict(np.stack([np.asarray(row) for row in images])).equals(wanted)


def test_scores_are_those_of_the_run(place, run):
    scores = run.evaluate(place / "data")
    assert scores["rows"] == 60
    assert scores["accuracy"] >= 0.9


def test_the_command_line_predicts_and_scores(place, capsys):
    out = ["--out", str(place / "runs")]
    assert main(["predict", "one", str(place / "data/dark/000.png"), *out]) == 0
    assert "path,prediction," in capsys.readouterr().out
    assert main(["evaluate", "one", str(place / "data"), "--json", *out]) == 0
    assert json.loads(capsys.readouterr().out)["task"]["rows"] == 60


def empty(place: Path) -> Path:
    (place / "empty.png").write_bytes(b"")
    return place / "empty.png"


def nothing(place: Path) -> Path:
    (place / "nothing").mkdir(exist_ok=True)
    return place / "nothing"


BAD = {
    "no file": (lambda p: p / "none.png", "does not exist"),
    "a broken file": (empty, "it is empty"),
    "an empty folder": (nothing, "holds no pictures"),
    "numbers": (lambda p: np.zeros((2, 10, 10)), "give paths, or pictures as bytes"),
    "paths that are not there": (lambda p: ["a.png", "b.png"], "it does not exist"),
}


@pytest.mark.parametrize(("given", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_predicted_is_refused(place, run, given, says):
    with pytest.raises(DataError, match=says) as caught:
        run.predict(given(place))
    assert "\n" not in str(caught.value)


def test_a_class_that_is_unknown_cannot_be_scored(tmp_path, run):
    write_album(tmp_path / "data", classes=["bright", "pale"], count=2)
    with pytest.raises(DataError, match="class 'pale' of 'class' is unknown to the run"):
        run.evaluate(tmp_path / "data")


def test_the_report_shows_samples_and_mistakes(place, run):
    page = (place / "runs" / "one" / "report.html").read_text()

    assert page.count("data:image/png;base64,") >= 24
    assert 'id="samples"' in page
    assert 'id="worst"' in page
    assert 'id="confusion"' in page
    assert isinstance(run.result["worst"], list)


def test_a_run_whose_pictures_changed_is_not_gone_on_with(place, tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "folder", lambda name: None)
    data = write_album(tmp_path / "data", count=12)
    settings: dict[str, Any] = {"model": "conv:8", "batch_size": 16, "out": str(tmp_path)}
    run = thalweg.fit(data, steps=2, name="run", quiet=True, **settings)
    picture(0, 99).save(data / "dark" / "000.png")

    with pytest.raises(RunError, match="has changed since"):
        thalweg.resume(run.folder, steps="+2", quiet=True)


# the cache


def paths_in(place: Path) -> list[str]:
    return [str(path) for path in sorted((place / "data").rglob("*.png"))]


@pytest.mark.parametrize("where", ["disk", "memory", "nowhere"])
def test_pictures_are_the_same_wherever_they_are_kept(place, tmp_path, monkeypatch, where):
    monkeypatch.setattr(shelf, "folder", lambda name: tmp_path if where == "disk" else None)
    if where == "nowhere":
        monkeypatch.setattr(shelf, "MOST_IN_MEMORY", 0)
    paths, shape = paths_in(place), Shape(10, 10, 1)

    found = shelved(paths, shape, threads=2, tell=print)

    some = np.array([5, 0, 59])
    assert np.array_equal(found.pictures.take(some), Files(paths, shape).take(some))
    assert isinstance(found.pictures, Files if where == "nowhere" else Kept)


def test_each_file_is_decoded_once(place, tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "folder", lambda name: tmp_path)
    paths, shape = paths_in(place), Shape(10, 10, 1)
    first = shelved(paths, shape, threads=1, tell=print)
    taken = []
    monkeypatch.setattr(Files, "take", lambda self, places: taken.append(places))

    again = shelved(paths, shape, threads=1, tell=print)

    assert not taken
    assert np.array_equal(first.keys, again.keys)
    assert np.array_equal(first.pictures.take(np.arange(60)), again.pictures.take(np.arange(60)))


def test_a_file_that_changed_is_decoded_anew(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(shelf, "folder", lambda name: tmp_path / "cache")
    path = tmp_path / "a.png"
    Image.new("L", (8, 8), 10).save(path)
    first = shelved([str(path)], Shape(8, 8, 1), threads=1, tell=print)
    Image.new("L", (8, 8), 20).save(path)
    os.utime(path, ns=(1, 1))

    again = shelved([str(path)], Shape(8, 8, 1), threads=1, tell=print)

    assert [int(row.pictures.take(np.arange(1)).max()) for row in (first, again)] == [10, 20]


def test_a_form_is_written_and_read_back():
    form = Form(Shape(12, 9, 3), (0.5, 0.4, 0.25), (0.25, 0.5, 0.125), "photo")
    bytes_of = np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3), dtype=np.uint8)

    inputs = form.inputs(bytes_of)

    assert Form.from_dict(form.to_dict()) == form
    assert inputs.shape == (2, 3, 9, 12)
    wanted = (torch.from_numpy(bytes_of).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    assert torch.allclose(inputs[:, 0], wanted[:, 0], atol=1e-5)
