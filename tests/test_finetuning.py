"""Fine-tuning: weights to begin with, frozen layers, rates by layer, and what was forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

import thalweg
from thalweg.errors import DataError, RunError, UsageError
from thalweg.tasks.pretrained import (
    Shares,
    begin_with,
    freeze,
    layer_of,
    layers_of,
    moved,
    with_shares,
)

QUICK: dict[str, Any] = {"steps": 40, "quiet": True, "model": "mlp:8"}


def table(classes: str, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 400))
    names = np.array(list(classes))
    return pl.DataFrame({"a": a, "b": b, "kind": names[((a > 0) * 1 + (b > 0) * 1).clip(0, 1)]})


def net(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, outputs))


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Path:
    """A run on classes x and y."""
    folder = tmp_path_factory.mktemp("parent")
    thalweg.fit(table("xy", 0), target="kind", out=str(folder), name="old", **QUICK)
    return folder / "old"


# ---------------------------------------------------------------- the pieces


NAMES = [
    ("0.weight", "0"),
    ("encoder.layer.3.attention.query.weight", "encoder.layer.3"),
    ("encoder.layer.11.output.bias", "encoder.layer.11"),
    ("embeddings.word.weight", "embeddings.word"),
    ("head.bias", "head"),
    ("scale", "scale"),
]


@pytest.mark.parametrize(("name", "layer"), NAMES)
def test_the_layer_of_a_parameter(name, layer):
    assert layer_of(name) == layer


def test_layers_stand_in_the_models_order():
    assert list(layers_of(net())) == ["0", "1", "3"]


def test_what_fits_by_name_and_shape_is_taken():
    given = values(net()) | {"3.weight": torch.zeros(5, 4), "more": torch.zeros(1)}
    del given["3.bias"]
    model = net(3)
    before = values(model)
    begun = begin_with(model, given, "the file")
    assert (begun.unlike, begun.absent, begun.unused) == (("3.weight",), ("3.bias",), ("more",))
    after = values(model)
    for name in begun.taken:
        assert torch.equal(after[name], given[name])
    for name in begun.anew:
        assert torch.equal(after[name], before[name])
    assert "3.weight have another shape there, and begin anew" in begun.sentence


def test_what_is_frozen_stays_and_its_statistics_too():
    model = net()
    assert freeze(model, ["0.*", "1.*"]) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert not model[1].training
    assert model[3].training
    before = values(model)
    task = thalweg.Task(model, (torch.randn(64, 3), torch.arange(64) % 2))
    with thalweg.descend(
        task, thalweg.SGD(model.parameters(), lr=0.1), until=thalweg.budget(steps=5)
    ) as descent:
        for _ in descent:
            pass
    after = values(model)
    same = [name for name in before if torch.equal(before[name], after[name])]
    assert same == [name for name in before if not name.startswith("3")]


@pytest.mark.parametrize("lr", [0.5, 1e-3])
def test_rates_fall_from_the_last_trained_layer_down(lr):
    model = net()
    freeze(model, ["1.*"])
    groups = with_shares(model.parameters(), model, lr, Shares(decay=0.5))
    assert groups[0]["lr"] == lr
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    found = {name: rate[id(p)] / lr for name, p in model.named_parameters()}
    assert found == {
        **dict.fromkeys(("0.weight", "0.bias"), 0.5),
        **dict.fromkeys(("1.weight", "1.bias"), 1.0),  # never updated
        **dict.fromkeys(("3.weight", "3.bias"), 1.0),
    }


def test_how_far_layers_moved():
    model = net()
    start = values(model)
    with torch.no_grad():
        model[3].weight.mul_(1.5)
        model[3].bias.mul_(1.5)
    rows = {row["layer"]: row["moved"] for row in moved(model, start)}
    assert rows["0"] == 0
    assert rows["3"] == pytest.approx(0.5)
    del start["3.weight"], start["3.bias"]
    assert {row["layer"]: row["moved"] for row in moved(model, start)}["3"] is None


# ---------------------------------------------------------------- through fit


def test_a_run_goes_on_from_anothers_weights_columns_and_model(parent, tmp_path):
    run = thalweg.fit(
        table("xy", 1).with_columns(pl.col("a") * 3, more=pl.lit(1.0)),
        target="kind",
        init=str(parent),
        forgetting=table("xy", 0),
        out=str(tmp_path),
        steps=5,
        quiet=True,
    )
    old = thalweg.load(parent)
    assert run.result["model"] == "mlp:8"
    assert run.result["lr"] == pytest.approx(1e-5)
    assert [(c.name, c.mean) for c in run.schema.columns] == [
        (c.name, c.mean) for c in old.schema.columns
    ]
    found = run.result["fine_tuning"]
    assert found["begun_anew"] == []
    assert all(0 < row["moved"] < 0.01 for row in found["layers"] if row["layer"] != "1")
    assert found["forgotten"]["before"] == old.evaluate(table("xy", 0))
    assert found["sentence"] in str(run)


def test_another_target_gets_a_head_of_its_own_at_the_usual_rate(parent, tmp_path):
    run = thalweg.fit(
        table("uv", 1),
        target="kind",
        init=str(parent),
        forgetting=table("xy", 0),
        out=str(tmp_path),
        steps=60,
        quiet=True,
    )
    found = run.result["fine_tuning"]
    head = found["layers"][-1]
    assert found["begun_anew"] == [f"{head['layer']}.weight", f"{head['layer']}.bias"]
    assert head["moved"] is None
    before, after = found["forgotten"]["before"], found["forgotten"]["after"]
    assert before["rows"] == after["rows"] == 400
    assert abs(before["accuracy"] - after["accuracy"]) < 0.05  # a hundredth of the rate


def test_a_frozen_run_is_resumed_to_the_bit(parent, tmp_path):
    def fit(name: str, **more: Any) -> Any:
        return thalweg.fit(
            table("uv", 1),
            target="kind",
            init=str(parent),
            freeze="0.*",
            layer_decay=0.5,
            out=str(tmp_path),
            name=name,
            quiet=True,
            **more,
        )

    whole = fit("whole", steps=30)
    fit("parts", steps=30)
    longer = [
        thalweg.resume(tmp_path / name, table("uv", 1), steps="+10", quiet=True)
        for name in ("whole", "parts")
    ]
    first, second = (values(run.model) for run in longer)
    assert all(torch.equal(first[name], second[name]) for name in first)
    old = values(thalweg.load(parent).model)
    assert torch.equal(values(whole.model)["0.weight"], old["0.weight"])
    assert whole.result["lr"] == pytest.approx(1e-3)


def test_a_module_of_ones_own_begins_with_a_file(tmp_path):
    given = net()
    save_model(given, str(tmp_path / "w.safetensors"))
    inputs, targets = torch.randn(300, 3), torch.arange(300) % 2
    run = thalweg.fit(
        (inputs, targets),
        model=net(),
        loss="cross_entropy",
        init=str(tmp_path / "w.safetensors"),
        forgetting=(inputs[:50], targets[:50]),
        out=str(tmp_path),
        steps=5,
        quiet=True,
    )
    found = run.result["fine_tuning"]
    assert [row["layer"] for row in found["layers"]] == ["0", "1", "3"]
    assert found["forgotten"]["before"]["rows"] == 50
    assert found["forgotten"]["before"]["loss"] != found["forgotten"]["after"]["loss"]


def test_weights_that_have_changed_are_not_gone_on_with(tmp_path):
    path = tmp_path / "w.safetensors"
    save_model(net(), str(path))
    data = (torch.randn(300, 3), torch.arange(300) % 2)
    thalweg.fit(data, model=net(), init=str(path), out=str(tmp_path), name="r", steps=5, quiet=True)
    save_model(net().double(), str(path))
    with pytest.raises(RunError, match="has changed"):
        thalweg.resume(tmp_path / "r", data, model=net(), steps="+5", quiet=True)
    path.unlink()
    with pytest.raises(RunError, match="not there"):
        thalweg.resume(tmp_path / "r", data, model=net(), steps="+5", quiet=True)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"init": "absent.safetensors"}, DataError, "does not exist"),
    ({"init": "text.safetensors"}, DataError, "is no safetensors file"),
    ({"init": "other.safetensors"}, DataError, "holds no tensor of this model"),
    ({"freeze": "body.*"}, UsageError, r"'body.\*' matches no parameter"),
    ({"freeze": "*"}, UsageError, "nothing is left to train"),
    ({"layer_decay": 0}, UsageError, "layer-decay is 0: it must be a number larger than 0"),
    ({"forgetting": "x.csv"}, UsageError, "no effect without --init"),
]


@pytest.mark.parametrize(("given", "error", "text"), REFUSED)
def test_what_fine_tuning_refuses(given, error, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("no weights")
    save_file({"far": torch.zeros(2)}, "other.safetensors")
    with pytest.raises(error, match=text):
        thalweg.fit(table("xy", 0), target="kind", **given, **QUICK)
    assert not Path("runs").exists()


def test_the_default_model_with_bins_has_its_own_layers(tmp_path):
    """It stands behind the columns, which are a layer of their own: another target takes but the
    last layer away.
    """
    random = np.random.default_rng(4)
    x = random.normal(size=(400, 3))
    frame = pl.DataFrame(x, schema=["a", "b", "c"])
    first = frame.with_columns(kind=pl.Series(np.digitize(x[:, 0], [-0.4, 0.4])).cast(pl.String))
    second = frame.with_columns(kind=pl.Series(np.where(x[:, 1] > 0, "up", "down")))
    quick = {"target": "kind", "steps": 5, "quiet": True}
    old = thalweg.fit(first, out=str(tmp_path), **quick)
    run = thalweg.fit(second, init=str(old.folder), out=None, **quick)
    found = run.result["fine_tuning"]
    assert [row["layer"] for row in found["layers"]] == ["1.0", "1.1", "1.3", "1.4", "1.6"]
    assert [row["layer"] for row in found["layers"] if row["moved"] is None] == ["1.6"]
