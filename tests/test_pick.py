"""Which backend runs an optimizer, and the words that say why; never a silent fall-back."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import torch
from torch import nn

import thalweg
from definition import parameters
from thalweg.backends import cpu_launch, pick
from thalweg.backends.pick import Wishes
from thalweg.cli.main import main
from thalweg.optim import OPTIMIZERS, make
from thalweg.optim.updater import backend_of
from thalweg.rules.options import EMA, OPTIONS, ByValue


def zeros(dtype: torch.dtype = torch.float32, device: str = "cpu") -> nn.Parameter:
    return nn.Parameter(torch.zeros(2, dtype=dtype, device=device))


class Marked(torch.Tensor):
    """A tensor of another class."""


OWN = "own kernels for the CPU"
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64)
PICKS: dict[str, tuple[list[Any], dict[str, Any], str, str]] = {
    **{str(dtype): ([zeros(dtype)], {}, "numba", OWN) for dtype in TYPES},
    "several types": ([zeros(dtype) for dtype in TYPES], {}, "numba", OWN),
    "gaps": ([nn.Parameter(torch.zeros(4, 6)[:, ::2])], {}, "numba", OWN),
    "fused": ([zeros()], {"fused": True}, "numba", OWN),
    "fused and foreach": ([zeros()], {"fused": True, "foreach": True}, "numba", OWN),
    "foreach=False": ([zeros()], {"foreach": False}, "numba", OWN),
    "fused=False": ([zeros()], {"fused": False}, "numba", OWN),
    "foreach": ([zeros()], {"foreach": True}, "torch", "foreach=True asks for torch's operations"),
    "neither": (
        [zeros()],
        {"fused": False, "foreach": False},
        "torch",
        "fused=False and foreach=False ask for torch's operations",
    ),
    "differentiable": ([zeros()], {"is_differentiable": True}, "torch", "autograd follows"),
    "differentiable, fused": (
        [zeros()],
        {"is_differentiable": True, "fused": True},
        "torch",
        "aut",
    ),
    "a device": ([zeros(device="meta")], {}, "torch", "no own kernels for parameters on meta"),
    "two devices": ([zeros(), zeros(device="meta")], {}, "torch", "on cpu and meta"),
    "a class": ([zeros().data.as_subclass(Marked)], {}, "torch", "own kernels take no Marked"),
    "float8": (
        [torch.zeros(2).to(torch.float8_e4m3fn)],
        {},
        "torch",
        "own kernels take no torch.float8_e4m3fn",
    ),
}


@pytest.mark.parametrize(("params", "wishes", "name", "words"), PICKS.values(), ids=PICKS)
def test_a_backend_is_picked_with_a_reason(params, wishes, name, words):
    backend, reason = pick.pick(params, Wishes(**wishes))
    assert backend.name == name
    assert words in reason
    assert "\n" not in reason


FLAGS = {
    "fused": ({"fused": True}, "numba"),
    "foreach": ({"foreach": True}, "torch"),
    "differentiable": ({"differentiable": True}, "torch"),
    "capturable": ({"capturable": True}, "numba"),
    "none": ({}, "numba"),
}


@pytest.mark.parametrize(("flags", "name"), FLAGS.values(), ids=FLAGS)
def test_an_optimizer_passes_its_wishes_on(flags, name):
    for optimizer in (
        thalweg.AdamW([zeros()], **flags),
        thalweg.AdamW([{"params": [zeros()], **flags}]),
    ):
        assert backend_of(optimizer) == (name, optimizer.backend_and_reason[1])


BY_TORCH = {
    "adafactor": ("torch", "adafactor works on whole matrices"),
    "prodigy": ("torch", "prodigy measures all tensors before it moves any"),
    "muon": ("mixed", "muon works on whole matrices, own kernels for the CPU run the other rules"),
}
"""Optimizers whose mathematics keeps them from own kernels, wholly or in part."""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_runs_on_own_kernels(name):
    optimizer = make(name, nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    assert backend_of(optimizer) == BY_TORCH.get(name, ("numba", OWN))


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_no_option_takes_the_kernels_away(option):
    chosen = option(0.5) if option in (ByValue, EMA) else option()
    optimizer = thalweg.Adam(parameters(((3,),), torch.float32), options=[chosen])
    assert optimizer.backend.name == "numba"


def test_another_optimizer_says_that_it_is_one():
    assert backend_of(torch.optim.SGD([zeros()])) == (
        "torch.optim",
        "an optimizer of torch's own kind",
    )


# `fit` tells it, as an object and in its opening lines.


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A small table in an empty folder."""
    monkeypatch.chdir(tmp_path)
    lines = ["a,b,y", *(f"{i},{i % 7},{2 * i + i % 7}" for i in range(60))]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def fit(capsys: Any, words: str) -> tuple[dict[str, Any], str]:
    """The result of a short fit, and what it said on the way."""
    code = main(shlex.split(f"fit rows.csv --target y --steps 3 --seed 0 {words} --json"))
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out), err


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_says_that_own_kernels_run(name, rows, capsys):
    result, said = fit(capsys, f"--optimizer {name}")
    backend, reason = BY_TORCH.get(name, ("numba", OWN))
    assert result["backend"] == backend
    assert f"{name} ({backend}: {reason})" in said
    assert ("lr 1 times the rate that it finds" in said) == (name == "prodigy")


def test_fit_says_that_numba_is_missing(rows, capsys, monkeypatch):
    monkeypatch.setattr(pick, "find_spec", lambda name: None)
    result, said = fit(capsys, "--optimizer adamw")
    assert result["backend"] == "torch"
    assert "adamw (torch: numba is not installed, which compiles own kernels)" in said


# A kernel that cannot be made is an error, not another backend.


def fails(*_: Any) -> Any:
    raise RuntimeError("planted: the kernel cannot be compiled")


def test_a_kernel_that_cannot_be_compiled_is_no_silent_fall_back(monkeypatch):
    monkeypatch.setattr(cpu_launch, "compiled", fails)
    p = zeros()
    optimizer = thalweg.AdamW([p])
    p.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="planted"):
        optimizer.step()
    assert torch.equal(p.detach(), torch.zeros(2))


def test_fit_does_not_fall_back_either(rows, capsys, monkeypatch):
    monkeypatch.setattr(cpu_launch, "compiled", fails)
    try:
        code = main(shlex.split("fit rows.csv --target y --steps 3 --optimizer adamw --json"))
    except RuntimeError as error:
        assert "planted" in str(error)  # noqa: PT017
    else:
        assert code != 0
        assert "planted" in capsys.readouterr().err


def test_a_planted_fall_back_is_seen(rows, capsys, monkeypatch):
    monkeypatch.setattr(pick, "_obstacle", lambda params: "planted")
    result, said = fit(capsys, "--optimizer sgd")
    assert result["backend"] != "numba"
    assert f"(numba: {OWN})" not in said
