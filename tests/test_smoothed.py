"""Labels that are smoothed by default, and the temperature that sets stated probabilities right."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.nn import functional

import thalweg
from thalweg.cli.main import main
from thalweg.tasks.measure import look_at
from thalweg.tasks.metrics import METRICS
from thalweg.tasks.reading import Reading
from thalweg.tasks.sources import Arrays
from thalweg.tasks.table.usual import SMOOTHING
from thalweg.tasks.task import Task
from thalweg.tasks.temperature import chosen_temperature

ROWS = 20_000


def logits(classes: int = 3, rows: int = ROWS) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(1).normal(size=(rows, classes)) * 2)


def drawn(stated: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(stated, 1, generator=torch.Generator().manual_seed(2)).reshape(-1)


def told(outputs: torch.Tensor, targets: torch.Tensor, loss: str, **reading) -> float | None:
    """The temperature that a task would choose whose model gives these outputs."""
    source = Arrays(outputs.float(), targets)
    read = Reading(**reading)
    metrics = (METRICS["rmse" if loss == "mse" else "accuracy"].bound(read),)
    task = Task(nn.Identity(), source, loss=loss, metrics=metrics, reading=read)
    return chosen_temperature(read, look_at(task, source))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_probabilities_that_were_stretched_are_found_out(temperature):
    true = logits()
    targets = drawn(torch.softmax(true, dim=1))
    found = told(true * temperature, targets, "cross_entropy", link="softmax")
    assert found == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("temperature", [0.3, 2.5])
@pytest.mark.parametrize("labels", [1, 4])
def test_of_labels_as_well(labels, temperature):
    true = logits(labels)
    targets = torch.bernoulli(
        torch.sigmoid(true), generator=torch.Generator().manual_seed(4)
    ).float()
    outputs = true * temperature
    targets = targets.reshape(-1) if labels == 1 else targets
    found = told(outputs, targets, "bce", link="sigmoid")
    assert found == pytest.approx(temperature, rel=0.05)


def test_it_is_where_the_surprise_is_least():
    true = logits(rows=500)
    targets = drawn(torch.softmax(true / 2, dim=1))
    found = told(true, targets, "cross_entropy", link="softmax")
    assert found is not None
    doubt = 1 / 502
    truths = functional.one_hot(targets, 3) * (1 - 1.5 * doubt) + doubt / 2

    def surprise(temperature: float) -> float:
        return -float((truths * torch.log_softmax(true / temperature, dim=1)).sum())

    least = min(np.linspace(0.5, 5, 2000), key=surprise)
    assert found == pytest.approx(least, rel=0.01)


def test_a_model_that_knows_every_row_is_not_made_certain():
    targets = torch.arange(60) % 3
    outputs = functional.one_hot(targets, 3).double()
    found = told(outputs, targets, "cross_entropy", link="softmax")
    assert found is not None
    stated = torch.softmax(outputs / found, dim=1).max()
    assert float(stated) == pytest.approx(61 / 62, abs=1e-3)


def test_outputs_that_are_not_finite_or_no_probabilities_have_none():
    outputs, targets = torch.tensor([[0.0, float("nan")]]), torch.tensor([1])
    assert told(outputs, targets, "cross_entropy", link="softmax") is None
    assert told(torch.ones(4, 1), torch.ones(4), "mse", link="identity") is None


# Fits.


def spots(rows: int = 600) -> pl.DataFrame:
    """Four classes in a plane, hardly mixed."""
    random = np.random.default_rng(5)
    kind = random.integers(0, 4, rows)
    at = np.stack([kind // 2, kind % 2], axis=1) * 3 + random.normal(size=(rows, 2)) * 0.7
    return pl.DataFrame({"x": at[:, 0], "y": at[:, 1], "kind": np.array(list("abcd"))[kind]})


QUICK = {"target": "kind", "epochs": 60, "quiet": True, "out": None}


def test_by_default_labels_are_smoothed_and_probabilities_hold_nevertheless():
    usual, plain = (thalweg.fit(spots(), **QUICK, **more) for more in ({}, {"label_smoothing": 0}))
    temperature = usual.result["temperature"]
    assert temperature["value"] < 1, "it says too little before"
    assert f"{temperature['value']:.3g}" in temperature["sentence"]
    assert "temperature" not in plain.result
    assert "log_loss" not in plain.result["test"]
    assert usual.result["test"]["log_loss"] < 1.5 * plain.result["test"]["loss"]
    assert usual.result["test"]["log_loss"] < usual.result["test"]["loss"]


def test_what_is_stated_is_what_is_scored_and_comes_back(tmp_path):
    data = spots()
    run = thalweg.fit(data, **{**QUICK, "out": str(tmp_path)})
    again = thalweg.load(run.folder)
    for one in (run, again):
        stated = one.predict(data)
        names = data["kind"].to_list()
        right = [
            row[f"probability_{kind}"] for row, kind in zip(stated.to_dicts(), names, strict=True)
        ]
        found = one.evaluate(data)["log_loss"]
        assert found == pytest.approx(-np.log(right).mean(), rel=1e-6)
    text = (run.folder / "schema.toml").read_text()
    assert f"temperature = {run.result['temperature']['value']}"[:20] in text
    assert f"label_smoothing = {SMOOTHING}" in (run.folder / "run.toml").read_text()


RARE = pl.DataFrame(
    {"x": np.arange(400.0), "kind": ["rare" if i % 40 == 0 else "b" for i in range(400)]}
)
NUMBERS = pl.DataFrame({"x": np.arange(400.0), "kind": np.arange(400.0) ** 2})

TWO = pl.DataFrame({"x": np.arange(400.0), "kind": ["a" if i % 3 else "b" for i in range(400)]})

NONE = {
    "a class is rare": (RARE, {}),
    "numbers": (NUMBERS, {}),
    "classes are weighted": (spots(), {"class_weights": "balanced"}),
    "another loss": (TWO, {"loss": "bce"}),
    "none is asked for": (spots(), {"label_smoothing": 0}),
}


def test_focal_is_as_timid_and_is_set_right_too():
    run = thalweg.fit(spots(), **QUICK, loss="focal:gamma=4")
    assert run.result["temperature"]["value"] < 0.9
    assert run.reading.temperature == run.result["temperature"]["value"]
    assert "log_loss" in run.result["test"]


@pytest.mark.parametrize("case", NONE)
def test_labels_stay_as_they_are_where(case, tmp_path):
    data, more = NONE[case]
    run = thalweg.fit(data, **{**QUICK, "epochs": 1, "out": str(tmp_path)}, **more)
    assert "temperature" not in run.result
    assert re.search(r"^label_smoothing = 0(\.0)?$", (run.folder / "run.toml").read_text(), re.M)


def test_a_run_of_before_goes_on_without(tmp_path):
    data = tmp_path / "spots.csv"
    spots().write_csv(data)
    run = thalweg.fit(
        str(data), **{**QUICK, "epochs": 2, "label_smoothing": 0, "out": str(tmp_path)}
    )
    settings = run.folder / "run.toml"
    lines = settings.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("label_smoothing")]
    assert len(kept) == len(lines) - 1
    (run.folder / "run.manifest").unlink()  # so that it may be written
    settings.write_text("\n".join(kept) + "\n")
    longer = thalweg.resume(run.folder, epochs="+2", quiet=True)
    assert "temperature" not in longer.result
    assert longer.result["epochs"] == 4


def test_the_opening_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    spots().write_csv("spots.csv")
    assert main(["fit", "spots.csv", "--target", "kind", "--epochs", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "labels are smoothed: 0.1 of each is spread over all classes" in err
    assert json.loads(out)["temperature"]["value"] > 0
