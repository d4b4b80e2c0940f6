"""`bf16-weights`: a model of 16 bits, float32 weights in the optimizer; and float32 products."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import thalweg
from conformance.compare import copies, same_bits
from thalweg import budget, descend
from thalweg.cli.main import main
from thalweg.errors import UsageError
from thalweg.loop.descent import Descent
from thalweg.optim import OPTIMIZERS, make
from thalweg.record import read
from thalweg.rules.options import EMA, Kahan, MasterWeights

BF16 = torch.bfloat16
SIZE = 120


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Points around three centres."""
    source = np.random.default_rng(0)
    targets = np.arange(SIZE) % 3
    return (source.normal(size=(SIZE, 4)) + targets[:, None]).astype(np.float32), targets


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
    )


def begin(
    optimizer: Any = "adamw", *, lr: float = 0.01, options: Any = (), **settings: Any
) -> Descent:
    model = settings.pop("model", None) or net()
    settings = {"precision": "bf16-weights", "until": budget(steps=20), **settings}
    chosen = make(optimizer, model, lr=lr, options=options) if isinstance(optimizer, str) else None
    task = thalweg.Task(model, arrays(), validation=arrays())
    return descend(task, chosen or optimizer(model), evaluate_every=5, batch_size=16, **settings)


def run(descent: Descent) -> Any:
    """(losses, final weights)."""
    with descent:
        losses = [(step.number, step.loss) for step in descent]
    return losses, copies(descent.task.model.state_dict().values())


def test_weights_are_bfloat16_and_the_optimizers_float32():
    """Batch norm, whose running mean would stand still, stays as it is; losses are float32."""
    descent = begin(options=[EMA(0.9)])
    losses, _ = run(descent)
    model = descent.task.model
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    assert {dtypes[name] for name in ("0.weight", "0.bias", "4.weight", "4.bias")} == {BF16}
    assert {dtypes[name] for name in dtypes if name.startswith("1.")} <= {
        torch.float32,
        torch.int64,
    }
    state = descent.optimizer.state[model[0].weight]
    assert state.keys() == {"step", "exp_avg", "exp_avg_sq", "ema", "master"}
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert losses[-1][1] < losses[0][1]
    assert any(loss != float(torch.tensor(loss, dtype=BF16)) for _, loss in losses)


def test_small_steps_are_not_lost():
    """Steps far below half an ulp of bfloat16 go where those of float32 go."""
    ends = {}
    for precision in ("bf16-weights", "float32"):
        descent = begin("sgd", lr=1e-5, precision=precision, model=nn.Linear(4, 3))
        start = copies([descent.task.model.weight])[0].float()
        run(descent)
        weight = descent.task.model.weight
        whole = descent.optimizer.state[weight]["master"] if weight.dtype == BF16 else weight
        ends[precision] = (whole - start).detach()
        torch.manual_seed(0)
    moved = ends["bf16-weights"]
    assert 0 < float(moved.abs().max()) < 2.0**-10
    assert float((moved != 0).float().mean()) == 1.0


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", "muon", "prodigy", pytest.param("schedulefreeadamw", marks=pytest.mark.slow)],
)
def test_every_kind_of_optimizer_has_them(optimizer):
    assert optimizer in OPTIMIZERS
    descent = begin(optimizer)
    losses, _ = run(descent)
    assert np.isfinite([loss for _, loss in losses]).all()
    assert "master" in descent.optimizer.state[descent.task.model[0].weight]


def test_a_way_of_rounding_that_was_chosen_is_kept():
    descent = begin(options=[Kahan()])
    run(descent)
    state = descent.optimizer.state[descent.task.model[0].weight]
    assert "kahan_comp" in state
    assert "master" not in state


@pytest.mark.parametrize("more", [{}, {"accumulate": 3}, {"guard": "act"}], ids=str)
@pytest.mark.parametrize("options", [(), (EMA(0.9),), (MasterWeights(),)], ids=str)
def test_a_resumed_run_is_the_same_to_the_bit(options, more, tmp_path):
    whole = run(begin(options=options, **more))
    with begin(options=options, folder=tmp_path, **more) as descent:
        for step in descent:
            if step.number == 7:
                descent.stop()
    losses, weights = run(begin(options=options, folder=tmp_path, resume=True, **more))
    assert losses == whole[0][7:]
    assert same_bits(weights, whole[1])


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"recompute": True}])
def test_a_call_that_is_refused_casts_nothing(wrong):
    model = nn.Linear(4, 3)
    optimizer = thalweg.AdamW(model.parameters())
    task = thalweg.Task(model, arrays())
    with pytest.raises(UsageError):
        descend(task, optimizer, precision="bf16-weights", **wrong)
    assert model.weight.dtype == torch.float32
    assert (task.half, optimizer.param_groups[0]["options"]) == (None, ())


def test_an_optimizer_without_float32_weights_is_refused():
    model = net()
    with pytest.raises(UsageError, match="keeps float32 weights") as caught:
        begin(lambda model: torch.optim.AdamW(model.parameters()), model=model)
    assert "thalweg's" in str(caught.value)
    assert "torch.optim.adamw.AdamW" in str(caught.value)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x, y = arrays()
    lines = [",".join([*(f"{v:.6f}" for v in row), "abc"[k]]) for row, k in zip(x, y, strict=True)]
    Path("points.csv").write_text("\n".join(["a,b,c,d,kind", *lines]) + "\n")
    return tmp_path


def test_a_fit_on_the_command_line(table, capsys):
    """Fit, predict and evaluate; the saved weights are bfloat16, and what is loaded predicts so."""
    words = "fit points.csv --target kind --precision bf16-weights --steps 60 --lr 0.01 --json"
    assert main([*words.split(), "--clip", "adaptive:0.1", "--name", "r", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["test"]["accuracy"] > 0.5
    assert (result["precision"], result["clip"]) == ("bf16-weights", "adaptive:0.1")
    assert 'precision = "bf16-weights"' in Path("runs/r/run.toml").read_text()
    assert {t.dtype for t in load_file("runs/r/model.safetensors").values()} == {BF16}
    assert main(["evaluate", "r", "points.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["accuracy"] > 0.5
    assert main(["predict", "r", "points.csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == SIZE + 1
    loaded = thalweg.load("r")
    assert {p.dtype for p in loaded.model.parameters()} == {BF16}


def test_a_child_keeps_the_type_of_its_parents_weights(table):
    thalweg.fit("points.csv", target="kind", steps=20, name="r", quiet=True)
    with pytest.raises(UsageError, match="precision cannot be set from float32 to bf16-weights"):
        thalweg.resume("r", set={"precision": "bf16-weights"}, quiet=True)


def test_a_run_and_what_is_loaded_of_it_predict_the_same(table):
    fitted = thalweg.fit(
        arrays(), model=net(), precision="bf16-weights", steps=30, name="own", quiet=True
    )
    loaded = thalweg.load("own", model=net())
    inputs = arrays()[0]
    assert fitted.predict(inputs).equals(loaded.predict(inputs))
    assert fitted.evaluate(arrays()) == loaded.evaluate(arrays())


# float32 products.


@pytest.fixture
def products():
    """torch's setting, put back afterwards."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


def test_a_resume_with_other_float32_products_says_so(products, tmp_path):
    settings = {"precision": "float32", "folder": tmp_path}
    with begin(**settings) as descent:
        for step in descent:
            if step.number == 7:
                descent.stop()
    products("high")
    with begin(**settings, resume=True) as descent:
        texts = [event.text for event in descent.events]
    assert any("float32 matmul was 'highest', is 'high'" in text for text in texts)


def test_float32_products_stand_in_the_record(table, products):
    products("high")
    thalweg.fit("points.csv", target="kind", steps=5, name="r", quiet=True)
    assert read(Path("runs/r")).environment["float32 matmul"] == "high"
