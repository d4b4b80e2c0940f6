"""A fit judged as asked: weights, thresholds, quantiles, counts, a metric; and bad wishes."""

from __future__ import annotations

import shlex

import numpy as np
import polars as pl
import pytest
import torch

import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError, UsageError
from thalweg.loop.descend import descend
from thalweg.loop.looks import Looks
from thalweg.loop.stopping import budget
from thalweg.record import read

ROWS = 400
SMALL = {"model": "linear", "epochs": 4, "quiet": True, "evaluate_every": 10}


def table() -> pl.DataFrame:
    random = np.random.default_rng(3)
    x = random.normal(size=(ROWS, 2))
    return pl.DataFrame(
        {
            "a": x[:, 0],
            "b": x[:, 1],
            "w": random.integers(0, 4, ROWS),
            "y": 3 * x[:, 0] + random.normal(size=ROWS),
            "n": random.poisson(np.exp(0.5 * x[:, 0] + 1)),
            "kind": np.where(x[:, 0] + 0.5 * random.normal(size=ROWS) > 1.6, "rare", "usual"),
        }
    )


FRAME = table()


def fit(target: str, **settings):
    frame = FRAME.select("a", "b", *(["w"] if "weights" in settings else []), target)
    return thalweg.fit(frame, target=target, **{**SMALL, "out": None, **settings})


# Weights.


def task_of(weights, **more) -> thalweg.Task:
    torch.manual_seed(1)
    net = torch.nn.Linear(2, 1)
    x = torch.tensor(FRAME.select("a", "b").to_numpy()).float()
    y = torch.tensor(FRAME["y"].to_numpy()).float()
    data = (x, y) if weights is None else (x, y, weights)
    return thalweg.Task(net, data, loss="mse", validation=data, **more)


def trained(weights, *, steps: int = 12, **settings):
    task = task_of(weights)
    optimizer = thalweg.AdamW(task.model.parameters(), lr=0.1)
    with descend(task, optimizer, until=budget(steps=steps), **settings) as descent:
        for _ in descent:
            pass
    return torch.cat([p.detach().flatten() for p in task.model.parameters()]), descent


@pytest.mark.parametrize("batch_size", [32, "full"])
def test_weights_of_all_ones_change_no_bit(batch_size):
    plain, _ = trained(None, batch_size=batch_size)
    assert torch.equal(plain, trained(torch.ones(ROWS), batch_size=batch_size)[0])
    assert torch.equal(plain, trained(torch.full((ROWS,), 4.0), batch_size=batch_size)[0])


@pytest.mark.parametrize("batch_size", [64, "full"])
def test_parts_of_a_batch_equal_the_whole(batch_size):
    weights = torch.tensor(FRAME["w"].to_numpy())
    whole, _ = trained(weights, batch_size=batch_size)
    parts, _ = trained(weights, batch_size=batch_size, accumulate=4)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(whole, trained(None, batch_size=batch_size)[0], atol=1e-3)


def test_a_full_batch_has_the_weighted_mean():
    weights = torch.tensor(FRAME["w"].to_numpy()).double()
    task = task_of(weights)
    optimizer = thalweg.SGD(task.model.parameters(), lr=0.1)
    with torch.no_grad():
        each = (task.model(task.data.inputs)[:, 0] - task.data.targets).square().double()
    expected = (weights * each).sum() / weights.sum()
    with descend(task, optimizer, batch_size="full", until=budget(steps=1)) as descent:
        first = next(descent)
    assert first.loss == pytest.approx(expected.item(), rel=1e-5)


def test_a_weight_repeats_a_row_in_the_scores():
    run = fit("kind", weights="w", metric="f1")
    twice = FRAME[np.repeat(np.arange(ROWS), FRAME["w"].to_numpy())]
    plain = run.evaluate(twice.with_columns(w=pl.lit(1)))
    weighted = run.evaluate(FRAME)
    for name in ("loss", "accuracy", "f1", "balanced_accuracy"):
        assert weighted[name] == pytest.approx(plain[name], rel=1e-6)
    assert "w" not in [column.name for column in run.schema.columns]


# What is asked of the answers.


def test_quantiles_do_not_cross_and_hold_their_share(tmp_path):
    run = fit("y", quantiles=[0.1, 0.9], epochs=40, lr=0.02, out=str(tmp_path))
    found = run.predict(FRAME)
    assert found.columns == ["prediction", "quantile_0.1", "quantile_0.5", "quantile_0.9"]
    assert (found["quantile_0.1"] <= found["quantile_0.5"]).all()
    assert (found["quantile_0.5"] <= found["quantile_0.9"]).all()
    assert (found["prediction"] == found["quantile_0.5"]).all()
    inside = FRAME["y"].is_between(found["quantile_0.1"], found["quantile_0.9"]).mean()
    assert 0.7 < inside < 0.95
    assert run.result["intervals"]["expected"] == 0.8
    again = thalweg.load(run.folder)
    assert again.predict(FRAME).equals(found)
    assert again.evaluate(FRAME) == run.evaluate(FRAME)


def test_counts_are_means():
    run = fit("n", loss="poisson", task="regression", epochs=40, lr=0.05)
    found = run.predict(FRAME)["prediction"]
    assert (found > 0).all()
    assert found.mean() == pytest.approx(FRAME["n"].mean(), rel=0.1)
    slope = np.polyfit(FRAME["a"].to_numpy(), np.log(found.to_numpy()), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_the_threshold_is_chosen_kept_and_used(tmp_path, loss):
    run = fit("kind", metric="f1", loss=loss, out=str(tmp_path), epochs=3)
    threshold = run.result["threshold"]
    assert threshold["class"] == "rare"
    found = thalweg.load(run.folder).predict(FRAME)
    said = found["probability_rare"] > threshold["probability"]
    assert ((found["prediction"] == "rare") == said).all()
    assert said.any() != (found["probability_rare"] > 0.5).any() or threshold["probability"] != 0.5
    assert thalweg.load(run.folder).evaluate(FRAME) == run.evaluate(FRAME)
    assert "by f1" in run.report.read_text(encoding="utf-8")
    assert threshold["sentence"] in str(run)


def test_class_weights_find_more_of_the_rare_class():
    plain, balanced = (
        fit("kind", epochs=20, lr=0.02, **more) for more in ({}, {"class_weights": "balanced"})
    )
    counts = [(run.predict(FRAME)["prediction"] == "rare").sum() for run in (plain, balanced)]
    assert counts[1] > 1.5 * counts[0]


def test_the_best_weights_are_those_of_the_watched_metric():
    run = fit("kind", metric="average_precision", epochs=8)
    rows = [row.values["average_precision"] for row in run.record.evaluations]
    assert run.result["validation"]["average_precision"] == max(rows)
    assert "validation average_precision" in run.verdict.sentence


# Resumed, to the bit.


@pytest.mark.parametrize(("target", "metric"), [("kind", "f1"), ("y", "mae")])
def test_a_resumed_run_ends_as_if_it_had_not_stopped(tmp_path, monkeypatch, target, metric):
    file = tmp_path / "data.csv"
    FRAME.select("a", "b", "w", target).write_csv(file)
    asked = {**SMALL, "target": target, "weights": "w", "metric": metric, "out": str(tmp_path)}
    whole = thalweg.fit(file, **asked, name="whole")

    def broken(self, number):
        look(self, number)
        if number == 20:
            raise KeyboardInterrupt
        return self.evaluations[-1]

    look = Looks.look
    monkeypatch.setattr(Looks, "look", broken)
    with pytest.raises(KeyboardInterrupt):
        thalweg.fit(file, **asked, name="cut", checkpoint_every=7)
    monkeypatch.undo()
    cut = thalweg.resume(tmp_path / "cut", quiet=True)
    assert cut.result["test"] == whole.result["test"]
    assert cut.reading == whole.reading
    rows = [[e.values for e in read(run.folder).evaluations] for run in (whole, cut)]
    assert rows[0] == rows[1]
    for one, other in zip(whole.model.parameters(), cut.model.parameters(), strict=True):
        assert torch.equal(one, other)


# What is refused, in one line, with nothing written.

BAD = {
    "a weight below 0": ("--weights low", 4, "row 3 is -1"),
    "no weight at all": ("--weights none", 4, "of every row is 0"),
    "a missing weight": ("--weights gap", 4, "missing in row 2"),
    "text for a weight": ("--weights text", 4, "'x' in row 1"),
    "weights that are the target": ("--weights kind", 2, "cannot be weighed by the target"),
    "no such column": ("--weights ww", 4, "no column 'ww'"),
    "a class that is none": ("--class-weights rar=2", 2, "'rar' is no class"),
    "a class weight of 0": ("--class-weights rare=0", 2, "must be a number above 0"),
    "class weights in words": ("--class-weights much", 2, "write balanced"),
    "a metric of numbers": ("--metric rmse", 2, "is for numbers, and the target holds classes"),
    "no metric": ("--metric f2", 2, "'f2' is unknown"),
    "quantiles of classes": ("--quantiles 0.1,0.9", 2, "does not fit"),
    "quantiles beyond 1": ("--quantiles 0.1,1.5", 2, "between 0 and 1"),
    "quantiles in words": ("--quantiles some", 2, "between 0 and 1"),
    "too much smoothing": ("--label-smoothing 1.5", 2, "0 or more, below 1"),
    "smoothing of focal": ("--loss focal --label-smoothing 0.1", 2, "has no effect on loss focal"),
    "a loss of numbers": ("--loss huber", 2, "--task regression"),
    "a goal that is none": ("--until f2=1", 2, "'f2' is unknown"),
    "a function that is not there": ("--loss nowhere:loss", 2, "nowhere"),
    "a loss of the wrong shape": ("--loss own:wide", 2, "shape (32, 2)"),
    "a metric of the wrong shape": ("--metric own:many", 2, "must return one number"),
}

OWN = """
def wide(outputs, targets):
    return outputs

def many(targets, answers):
    return answers
"""


@pytest.mark.parametrize("name", BAD)
def test_a_bad_wish_is_one_line(name, tmp_path, monkeypatch, capsys):
    words, code, says = BAD[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    places = pl.int_range(ROWS, eager=True)
    frame = FRAME.select("a", "kind").with_columns(
        low=pl.when(places == 2).then(-1.0).otherwise(1.0),
        none=pl.lit(0),
        gap=pl.when(places == 1).then(None).otherwise(1.0),
        text=pl.when(places == 0).then(pl.lit("x")).otherwise(pl.lit("1")),
    )
    frame.write_csv("data.csv")
    asked = shlex.split(f"fit data.csv --target kind --epochs 1 --model linear --quiet {words}")
    assert main(asked) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err.replace("(40, 2)", "(32, 2)")
    assert not (tmp_path / "runs").exists()


def test_a_count_below_zero_is_named():
    with pytest.raises(DataError, match=r"row \d+: the target is -"):
        fit("y", loss="poisson")


def test_weights_that_do_not_fit_arrays_are_told():
    with pytest.raises(DataError, match="400 samples but weights of shape"):
        task_of(torch.ones(3))
    with pytest.raises(UsageError, match="brings a weight for each sample"):
        task_of(torch.ones(ROWS), weight=lambda x, y: 1.0)
