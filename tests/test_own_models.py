"""Models in a fit: vectors for categories, dropout, and a model of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from torch import nn

import thalweg
from thalweg.errors import DataError, UsageError
from thalweg.tasks.table.layout import rows_of

CITIES = 120


def table(rows: int = 1200) -> pl.DataFrame:
    """A target that is a number plus what its city adds; the last city stands in two rows."""
    rng = np.random.default_rng(0)
    a, city = rng.normal(size=rows), rng.integers(0, CITIES, rows)
    city[:2] = CITIES
    y = a + rng.normal(size=CITIES + 1)[city]
    names = [None if i % 50 == 7 else f"city{c}" for i, c in enumerate(city)]
    return pl.DataFrame({"a": a, "city": names, "y": y, "kind": np.where(y > 0, "high", "low")})


QUICK: dict[str, Any] = {"steps": 40, "quiet": True}


@pytest.mark.parametrize("name", ["mlp:8", "resmlp:8x1,numbers=bins"])
def test_a_fit_with_vectors_is_loaded_and_resumed(name, tmp_path):
    frame = table()
    run = thalweg.fit(
        frame, target="y", model=name, dropout=0.1, out=str(tmp_path), name="r", **QUICK
    )
    assert run.schema is not None
    column = next(column for column in run.schema.columns if column.kind == "category")
    assert (column.width, len(column.levels), column.has_missing) == (3, 105, True)
    unseen = frame.with_columns(city=pl.lit("nowhere"))
    for rows in (frame, unseen):
        loaded = thalweg.load(tmp_path / "r")
        assert loaded.predict(rows).equals(run.predict(rows))
    longer = thalweg.resume(tmp_path / "r", frame, steps="+10", quiet=True)
    assert longer.result["steps"] == 50
    with pytest.raises(DataError, match="lacks the column 'city'"):
        loaded.predict(frame.drop("city"))


def test_a_category_of_few_levels_and_a_linear_model_stay_one_hot(tmp_path):
    frame = table()
    run = thalweg.fit(frame, target="y", model="linear", out=None, **QUICK)
    assert [column.vector for column in run.schema.columns if column.kind == "category"] == [0, 0]
    few = frame.with_columns(city=pl.col("city").str.slice(0, 5))
    run = thalweg.fit(few, target="y", model="mlp:8", out=None, **QUICK)
    assert all(column.vector == 0 for column in run.schema.columns)
    assert rows_of(run.schema).codes == ()


OWN = """
from torch import nn

def net(num_inputs, num_outputs, dropout=0.0):
    return nn.Sequential(nn.Linear(num_inputs, 8), nn.Dropout(dropout), nn.Linear(8, num_outputs))

def bare(num_inputs, num_outputs):
    return nn.Linear(num_inputs, num_outputs)

def wide(num_inputs): return nn.Linear(num_inputs, 7)
def narrow(): return nn.Linear(2, 2)
def number(): return 3
def frozen(): return nn.Identity()
def needs(thing): return thing
def fails(): raise ValueError("no such\\nluck")
four = 4
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of the user's own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_models.py").write_text(OWN)
    (tmp_path / "broken_models.py").write_text("import nowhere_at_all\n")
    (tmp_path / "worse_models.py").write_text("1 / 0\n")
    return tmp_path


def test_a_function_of_the_users_own_makes_the_model(here):
    frame = table()
    settings = {"target": "kind", "model": "own_models:net", "dropout": 0.2, "name": "own"}
    run = thalweg.fit(frame, **settings, **QUICK)
    assert run.result["model"] == "own_models:net"
    assert thalweg.load("own").predict(frame).equals(run.predict(frame))
    assert thalweg.resume("own", frame, steps="+5", quiet=True).result["steps"] == 45


REFUSED = {
    "own_models:wide": "outputs of shape (2, 7) for inputs of shape (2, 68): 2 classes need (2, 2)",
    "own_models:narrow": "fails on inputs of shape (2, 68)",
    "own_models:number": "returned 3: it must return an nn.Module",
    "own_models:frozen": "no parameter to train",
    "own_models:needs": "missing 1 required positional argument: 'thing'",
    "own_models:fails": "failed with ValueError: no such luck",
    "own_models:nte": "did you mean 'net'?",
    "own_models:four": "4, which is no function",
    "nowhere_models:net": "there is no nowhere_models.py in the current folder",
    "broken_models:net": "broken_models needs nowhere_at_all",
    "worse_models:net": "importing worse_models failed with ZeroDivisionError: division by zero",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_that_gives_no_fitting_model_is_refused(name, here):
    with pytest.raises(UsageError) as caught:
        thalweg.fit(table(), target="kind", model=name, **QUICK)
    assert REFUSED[name] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("model", "says"),
    [("own_models:bare", "takes no argument 'dropout'"), (nn.Linear(68, 2), "put nn.Dropout(0.1)")],
)
def test_dropout_that_a_model_of_ones_own_has_no_place_for_is_refused(model, says, here):
    with pytest.raises(UsageError) as caught:
        thalweg.fit(table(), target="kind", model=model, dropout=0.1, **QUICK)
    assert says in str(caught.value)


@pytest.mark.parametrize("dropout", [1, -0.1, float("nan"), "x", True])
def test_dropout_is_a_share(dropout):
    with pytest.raises(UsageError, match=r"dropout is .*0 or more, below 1"):
        thalweg.fit(table(), target="kind", dropout=dropout, **QUICK)


def test_a_module_is_trained_on_a_table(tmp_path):
    frame = table().drop("kind")
    net = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
    run = thalweg.fit(frame, target="y", model=net, out=str(tmp_path), name="r", **QUICK)
    assert run.model is net
    other = nn.Sequential(nn.Linear(67, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
    assert thalweg.load(tmp_path / "r", model=other).predict(frame).equals(run.predict(frame))
    with pytest.raises(UsageError, match=r"\(2, 3\) .* one number a row needs \(2, 1\)"):
        thalweg.fit(frame, target="y", model=nn.Linear(67, 3), out=None, **QUICK)


RANDOM = np.random.default_rng(0)
ARRAYS = {
    "conv:4,4": RANDOM.normal(size=(60, 3, 9, 7)).astype(np.float32),
    "transformer:8x1": RANDOM.integers(0, 20, (60, 6)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_pictures_and_tokens_in_arrays_are_learnt_from_and_loaded(name, tmp_path):
    x = ARRAYS[name]
    y = np.arange(60) % 3
    run = thalweg.fit((x, y), model=name, out=str(tmp_path), name="r", **QUICK)
    assert thalweg.load(tmp_path / "r").predict(x).equals(run.predict(x))


def test_an_unknown_token_is_told():
    x = ARRAYS["transformer:8x1"]
    run = thalweg.fit((x, np.arange(60) % 3), model="transformer:8x1", out=None, **QUICK)
    with pytest.raises(DataError, match="an id that the model does not know"):
        run.predict(x + 100)


def test_a_task_that_was_asked_for_is_kept_beside_a_model_of_ones_own(tmp_path):
    """Whole numbers of few values would be classes, were they not said to be numbers."""
    frame = table().with_columns(level=(pl.col("a").round() % 3))

    def net() -> nn.Module:
        return nn.Linear(2, 1)

    numbers = frame.select("a", "y", "level")
    more: dict[str, Any] = {"target": "level", "task": "regression", "out": str(tmp_path)}
    run = thalweg.fit(numbers, model=net(), name="r", **more, **QUICK)
    assert run.result["task"]["kind"] == "regression"
    longer = thalweg.resume(tmp_path / "r", numbers, model=net(), steps="+10", quiet=True)
    assert longer.result["task"]["kind"] == "regression"


@pytest.mark.parametrize(("shape", "kind"), [((60, 1, 8, 8), "conv"), ((60, 12), "transformer")])
def test_arrays_that_are_no_table_get_a_model_that_reads_them(shape, kind, tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=shape).astype(np.float32)
    inputs = pictures if len(shape) > 2 else rng.integers(1, 9, shape)
    labels = np.arange(60) % 2
    name = None if kind == "conv" else "transformer:8x1"
    run = thalweg.fit((inputs, labels), model=name, steps=2, quiet=True, out=None)
    assert run.result["model"].startswith(kind)


def test_a_model_of_tables_said_aloud_is_refused_for_pictures():
    pictures = np.zeros((60, 1, 8, 8), dtype=np.float32)
    with pytest.raises(UsageError, match="reads rows of a table, and these are pictures"):
        thalweg.fit((pictures, np.arange(60) % 2), model="mlp:256,256", steps=2, quiet=True)
