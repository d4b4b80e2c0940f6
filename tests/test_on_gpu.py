"""On a CUDA device: kernels beside those of the CPU, runs repeated, resumed, repaired and shown.

Skipped where there is none. The rest of the suite needs no device; what is here cannot be said
without one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import album
import texts
import thalweg
from conformance.compare import copies, same_bits
from thalweg import budget, cosine, descend, warmup
from thalweg.cli.main import main
from thalweg.loop.descent import Descent
from thalweg.optim import OPTIMIZERS, Optimizer, make
from thalweg.rules import RULES
from thalweg.scale.exact import deterministic
from thalweg.tasks.models.transformer import Transformer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SHAPES = ((300, 70), (5,), (1, 40), (0, 3), (70_001,))
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
OWN = [name for name, rule in RULES.items() if not rule.couples_tensors]
ALLOWED = {torch.float64: 64, torch.float32: 16, torch.bfloat16: 2, torch.float16: 2}
"""How far the two may be apart after some steps, in ulp of a tensor's largest element."""

STEPS, SIZE = 60, 256


# ------------------------------------------------------------ kernels


def tensors_of(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        for p in group["params"]:
            yield p.detach()
            yield from (v for v in optimizer.state[p].values() if isinstance(v, Tensor))


def distance(actual: Tensor, expected: Tensor) -> float:
    """In ulp of the largest element."""
    wanted = expected.double()
    if not wanted.numel():
        return 0.0
    largest = float(wanted.abs().max())
    ulp = torch.finfo(actual.dtype).eps * 2.0 ** math.floor(math.log2(largest)) if largest else 1.0
    return float((actual.cpu().double() - wanted).abs().max()) / ulp


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", OWN)
def test_kernels_equal_those_of_the_cpu(rule, dtype, clip):
    first = [torch.randn(shape).to(dtype) for shape in SHAPES]
    grads = [[torch.randn(shape).to(dtype) for shape in SHAPES] for _ in range(4)]
    both = []
    for device in ("cuda", "cpu"):
        params = [p.clone().to(device).requires_grad_() for p in first]
        optimizer = Optimizer(params, rule, clip=clip)
        for row in grads:
            for p, g in zip(params, row, strict=True):
                p.grad = g.to(device)
            optimizer.step()
        both.append(optimizer)
    assert [each.backend.name for each in both] == ["triton", "numba"]
    for actual, expected in zip(*map(tensors_of, both), strict=True):
        assert distance(actual, expected) <= ALLOWED[actual.dtype]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_descends(name):
    model = net().cuda()
    x, y = (part.cuda() for part in points())
    optimizer = make(name, model)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


# ------------------------------------------------------------ runs


def points() -> tuple[Tensor, Tensor]:
    """Points of eight numbers in three classes."""
    source = torch.Generator().manual_seed(0)
    x = torch.randn(SIZE, 8, generator=source)
    return x, (x @ torch.randn(8, 3, generator=source)).argmax(1)


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3)
    )


def begin(optimizer: str = "adamw", *, steps: int = STEPS, **settings: Any) -> Descent:
    model = net().cuda()
    settings = {"schedule": warmup(10) >> cosine(), "horizon": STEPS, "guard": "act", **settings}
    task = thalweg.Task(model, points(), validation=points())
    return descend(task, make(optimizer, model), until=budget(steps=steps), **settings)


def run(descent: Descent) -> tuple[list[float], list[Tensor]]:
    with descent:
        losses = [step.loss for step in descent]
    return losses, copies(descent.task.model.state_dict().values())


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "in parts": {"accumulate": 3},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "bf16-weights": {"precision": "bf16-weights"},
    "recompute": {"recompute": True},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "schedulefreeadamw", "muon"])
def test_a_run_repeats_and_resumes_to_the_bit(optimizer, name, tmp_path):
    settings = SETTINGS[name]
    whole = run(begin(optimizer, **settings))
    assert np.isfinite(whole[0]).all()
    again = run(begin(optimizer, **settings))
    assert again[0] == whole[0]
    assert same_bits(again[1], whole[1])

    where: Any = {"folder": tmp_path / "run", "checkpoint_every": 7, "resume": True}
    first, _ = run(begin(optimizer, steps=40, **settings, **where))
    rest, weights = run(begin(optimizer, **settings, **where))
    assert [*first, *rest] == whole[0]
    assert same_bits(weights, whole[1])


def test_compiled_steps_come_close_to_the_others():
    plain, _ = run(begin())
    compiled, _ = run(begin(compile="on"))
    assert compiled == pytest.approx(plain, abs=0.02)


class Planted(nn.Module):
    """The net; in the forward passes `at` its outputs are made `worse`."""

    def __init__(self, at: range, worse: float):
        super().__init__()
        self.net, self.at, self.worse, self.calls = net(), at, worse, 0

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.net(x)
        if self.training:
            self.calls += 1
            if self.calls in self.at:
                outputs = outputs * self.worse
        return outputs


@pytest.mark.parametrize("worse", [math.nan, math.inf, -300.0])
@pytest.mark.parametrize("optimizer", ["adamw", "torch"])
def test_a_bad_batch_is_never_applied(optimizer, worse):
    model = Planted(range(300, 303), worse).cuda()
    task = thalweg.Task(model, points(), validation=points())
    params = model.parameters()
    chosen = (
        torch.optim.AdamW(params, lr=1e-3, fused=True)
        if optimizer == "torch"
        else thalweg.AdamW(params, lr=1e-3)
    )
    with descend(task, chosen, until=budget(steps=400), guard="act") as descent:
        losses = [step.loss for step in descent]
    assert {"skip", "rollback", "nonfinite"} & {event.kind for event in descent.events}
    assert all(bool(t.isfinite().all()) for t in model.state_dict().values())
    assert np.mean(losses[-20:]) < np.mean(losses[250:290])


def test_a_guard_in_a_loop_of_ones_own():
    model = net().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    guard = thalweg.Guard(model, optimizer, mode="act")
    x, y = (part.cuda() for part in points())
    for number in range(200):
        loss = nn.functional.cross_entropy(model(x), y) * (math.nan if number == 150 else 1.0)
        optimizer.zero_grad()
        loss.backward()
        guard.step(loss)
    guard.close()
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert "nonfinite" in {event.kind for event in guard.events}


# ------------------------------------------------------------ the commands


def fitted(capsys: Any, *words: Any) -> dict[str, Any]:
    code = main([*map(str, words), "--device", "cuda", "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


def test_a_table(tmp_path: Path, capsys: Any):
    x, y = (part.numpy() for part in points())
    lines = [",".join(f"c{i}" for i in range(8)) + ",kind"]
    lines += [",".join(map(str, row)) + f",k{kind}" for row, kind in zip(x, y, strict=True)]
    table = tmp_path / "points.csv"
    table.write_text("\n".join(lines) + "\n")
    words = ("--target", "kind", "--steps", 120, "--out", tmp_path)
    answer = fitted(capsys, "fit", table, *words)
    assert (answer["device"], answer["backend"]) == ("cuda:0", "triton")
    assert answer["test"]["accuracy"] > 0.6
    assert main(["predict", answer["run"], str(table), "--to", str(tmp_path / "p.csv")]) == 0
    assert len((tmp_path / "p.csv").read_text().splitlines()) == SIZE + 1


def test_pictures(tmp_path: Path, capsys: Any):
    pictures = album.write_album(tmp_path / "album", count=60)
    answer = fitted(capsys, "fit", pictures, "--steps", 60, "--out", tmp_path)
    assert answer["test"]["accuracy"] > 0.8


def test_texts(tmp_path: Path, capsys: Any):
    table = tmp_path / "texts.csv"
    texts.frame().select("text", "verdict").write_csv(table)
    words = ("--text", "text", "--target", "verdict", "--steps", 60, "--out", tmp_path)
    assert fitted(capsys, "fit", table, *words)["test"]["accuracy"] > 0.6


def test_a_language_model(tmp_path: Path, capsys: Any):
    prose = tmp_path / "prose.txt"
    prose.write_text(texts.prose())
    words = ("--task", "lm", "--model", "transformer:32x2", "--context", 32, "--steps", 40)
    answer = fitted(capsys, "fit", prose, *words, "--out", tmp_path)
    assert answer["test"]["loss"] < math.log(256)
    again = fitted(capsys, "fit", prose, *words, "--out", tmp_path)
    assert again["test"] == answer["test"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_attention_is_exact_too(precision):
    def losses() -> list[float]:
        torch.manual_seed(0)
        model = Transformer(256, 64, 2, 256, num_heads=2, is_language=True).cuda()
        drawn = torch.randint(256, (64, 257), generator=torch.Generator().manual_seed(0))
        task = thalweg.Task(model, (drawn[:, :-1], drawn[:, 1:]))
        optimizer = thalweg.AdamW(model.parameters(), lr=1e-3)
        begun = descend(task, optimizer, precision=precision, until=budget(steps=30))
        with deterministic(inexact.append), begun as descent:
            return [step.loss for step in descent]

    inexact: list[str] = []
    assert losses() == losses()
    assert not inexact
