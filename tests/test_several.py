"""Several targets: numbers side by side, and labels in one text; and classes seen only once."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, r2_score

import thalweg
from thalweg.cli.main import main
from thalweg.draw.summary import summary_text
from thalweg.errors import DataError, UsageError
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.encode import encode_labels
from thalweg.tasks.table.study import of_table
from thalweg.tasks.table.target import Target, labels_of, rare_classes

NUM = 400
X = np.random.default_rng(0).normal(size=(NUM, 3))
FRAME = pl.DataFrame(
    {
        "u": X[:, 0],
        "v": X[:, 1],
        "w": X[:, 2],
        "a": 1000 + 50 * X[:, 0],
        "b": X[:, 0] - 2 * X[:, 1],
        "tags": [
            "; ".join(name for name, value in zip("xyz", row, strict=True) if value > 0)
            for row in X
        ],
    }
).with_columns(pl.col("tags").replace({"": None}))


def fit(**settings):
    return thalweg.fit(FRAME, model="linear", epochs=30, lr=0.05, out=None, quiet=True, **settings)


@pytest.fixture(scope="module")
def numbers():
    return fit(target=["a", "b"], drop="tags")


@pytest.fixture(scope="module")
def labels():
    return fit(target="tags", separator=";", drop=["a", "b"])


def test_each_number_is_predicted_in_its_own_unit(numbers):
    predicted = numbers.predict(FRAME)
    assert predicted.columns == ["prediction_a", "prediction_b"]
    for name in "ab":
        error = (predicted[f"prediction_{name}"] - FRAME[name]).std()
        assert error < 0.1 * FRAME[name].std()


def test_numbers_are_scored_each_and_together(numbers):
    scores, predicted = numbers.evaluate(FRAME), numbers.predict(FRAME)
    target = numbers.schema.target
    errors = []
    for name, scale in zip("ab", target.scales, strict=True):
        wrong = (predicted[f"prediction_{name}"] - FRAME[name]).to_numpy()
        errors.append(wrong / scale.deviation)
        assert scores[f"rmse_{name}"] == pytest.approx(np.sqrt(np.mean(wrong**2)), rel=1e-4)
        expected = r2_score(FRAME[name], predicted[f"prediction_{name}"])
        assert scores[f"r2_{name}"] == pytest.approx(expected, rel=1e-4)
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-4)
    assert scores["r2"] == pytest.approx((scores["r2_a"] + scores["r2_b"]) / 2, rel=1e-4)
    assert scores["loss"] == pytest.approx(scores["rmse"] ** 2, rel=1e-4)


def test_numbers_are_standardised_apart(numbers):
    study = of_table(FRAME, Asked(target="a,b", drop=("tags",)), source="rows")
    np.testing.assert_allclose(study.train.targets.mean(dim=0), [0, 0], atol=1e-5)
    np.testing.assert_allclose(study.train.targets.std(dim=0, correction=0), [1, 1], rtol=1e-5)


def test_labels_are_predicted_joined_and_each(labels):
    predicted = labels.predict(FRAME)
    assert predicted.columns == ["prediction", "probability_x", "probability_y", "probability_z"]
    for row in predicted.head(20).iter_rows(named=True):
        names = [name for name in "xyz" if row[f"probability_{name}"] >= 0.5]
        assert row["prediction"] == ";".join(names)
    assert any(text == "" for text in predicted["prediction"])


def test_labels_are_scored_by_whole_sets_and_by_f1(labels):
    scores, predicted = labels.evaluate(FRAME), labels.predict(FRAME)
    bits = np.stack([predicted[f"probability_{name}"] >= 0.5 for name in "xyz"], axis=1)
    actual = X > 0
    assert scores["accuracy"] == pytest.approx((bits == actual).all(axis=1).mean())
    assert scores["f1"] == pytest.approx(f1_score(actual, bits, average="macro"))
    assert scores["accuracy"] > 0.8


@pytest.mark.parametrize("name", ["numbers", "labels"])
def test_several_outputs_are_better_than_the_baselines(name, request):
    result = request.getfixturevalue(name).result
    metric, sign = ("rmse", -1) if name == "numbers" else ("accuracy", 1)
    for baseline in ("constant", "tree")[: 2 if name == "numbers" else 1]:  # labels are easy
        assert sign * result["test"][metric] > sign * result["baselines"][baseline][metric]
    assert f"test {metric}" in str(request.getfixturevalue(name))


COMMANDS = {
    "numbers": ("--target a,b --drop tags", ["prediction_a", "prediction_b"]),
    "labels": ('--target tags --separator ";" --drop a,b',
               ["prediction", "probability_x", "probability_y", "probability_z"]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_several_outputs_from_the_command_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    FRAME.write_csv("t.csv")
    options, columns = COMMANDS[name]
    assert main(shlex.split(f"fit t.csv {options} --steps 30 --name r --quiet")) == 0
    assert main(shlex.split("resume r --steps +10 --quiet")) == 0
    capsys.readouterr()
    assert main(shlex.split("predict r t.csv --to p.csv")) == 0
    assert pl.read_csv("p.csv").columns == columns
    capsys.readouterr()
    assert main(shlex.split("evaluate r t.csv --json")) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores.keys() == thalweg.load("runs/r").result["test"].keys()
    assert main(shlex.split("evaluate r t.csv")) == 0
    assert Path("runs/r/report.html").stat().st_size > 10_000


def test_a_metric_of_ones_own_is_no_target():
    def rmse_log(truth, found):
        return float(np.abs(truth - found).mean())

    result = fit(target="b", drop="tags", metric=rmse_log).result
    assert "rmse_log" in result["test"]
    assert "in deviations" not in summary_text(result)


def test_the_summary_tells_each_target_in_its_own_unit(numbers):
    lines = summary_text(numbers.result).splitlines()
    first = next(i for i, line in enumerate(lines) if "in deviations of each target" in line)
    for name, line in zip("ab", lines[first + 1 :], strict=False):
        value = format(numbers.result["test"][f"rmse_{name}"], ".4g")
        assert line.split()[:3] == ["of", name, value]


def test_a_column_with_a_comma_in_its_name_is_one_target():
    frame = FRAME.rename({"a": "a,b"}).drop("b", "tags")
    study = of_table(frame, Asked(target="a,b"), source="rows")
    assert study.schema.target.scales == ()


REFUSED = [
    ({"target": "a,bb"}, DataError, "no column 'bb': did you mean 'b'"),
    ({"target": "a,tags"}, DataError, "'tags'"),
    ({"target": "a,b", "task": "classification"}, UsageError, "must be numbers, not classes"),
    ({"target": "a,b", "separator": ";"}, UsageError, "2 targets were given"),
    ({"target": "tags", "separator": ";", "task": "regression"}, UsageError, "leave --task out"),
    ({"target": "a", "separator": ";"}, DataError, "needs texts"),
    ({"target": "tags", "separator": "?"}, None, None),
]


@pytest.mark.parametrize(("asked", "error", "says"), REFUSED)
def test_what_cannot_be_several_targets_is_refused(asked, error, says):
    if error is None:  # any separator parts something: here whole sets are the labels
        assert len(of_table(FRAME, Asked(**asked), source="rows").classes) == 7
        return
    with pytest.raises(error, match=says):
        of_table(FRAME, Asked(**asked), source="rows")


def test_labels_are_those_of_the_training_rows():
    frame = FRAME.with_columns(
        pl.when(pl.int_range(NUM) == 7).then(pl.lit("x;new")).otherwise("tags").alias("tags")
    )
    for seed in range(20):
        study = of_table(frame, Asked(target="tags", separator=";", seed=seed), source="rows")
        is_trained = 7 in study.train.rows
        assert ("new" in study.classes) == is_trained
        said = any("stand in no training row, such as 'new'" in line for line in study.notices)
        assert said != is_trained
    once = "'tags': class 'new' stands in one row (8) only"
    assert any(line.startswith(once) for line in study.notices)


@pytest.mark.parametrize(
    ("text", "names"),
    [("x;y", ["x", "y"]), (" y ; ; x", ["y", "x"]), ("", []), (None, []), ("x;x", ["x", "x"])],
)
def test_labels_of_a_text(text, names):
    column = pl.Series("t", [text], dtype=pl.String)
    assert labels_of(column, ";").to_list() == [names]
    bits = encode_labels(column, Target("t", "multilabel", ("x", "y"), separator=";"))
    assert bits.tolist() == [[float("x" in names), float("y" in names)]]


CLASSES = [
    (["spam", "ham"] * 20, []),
    (["spam"] * 20 + ["spma"] + ["ham"] * 20, ["class 'spma' stands in one row (21) only; is it "
                                                "'spam'?"]),
    ([1, 2] * 20 + [7], ["class '7' stands in one row (41) only"]),
    ([f"c{i}" for i in range(8)] + ["x", "yy"] * 20, ["row (1)", "row (2)", "row (3)", "row (4)",
                                                     "row (5)", "3 more classes"]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "says"), CLASSES)
def test_a_class_seen_once_is_said_with_its_row(values, says):
    frame = pl.DataFrame({"y": values, "x": np.arange(len(values)) * 1.0})
    study = of_table(frame, Asked(target="y", task="classification"), source="rows")
    lines = rare_classes(frame, study.schema.target)
    assert len(lines) == len(says)
    for line, text in zip(lines, says, strict=True):
        assert text in line
    assert set(lines) <= set(study.notices)
