"""GPU kernels without a GPU: right in Triton's interpreter, and compiled for a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from thalweg.backends import pick
from thalweg.backends.gpu_launch import BLOCK, LANES, OPTIONS, WIDTH, compiled, num_warps
from thalweg.backends.gpu_words import ARGUMENTS
from thalweg.backends.layout import Layout
from thalweg.backends.pick import Wishes
from thalweg.rules import RULES
from thalweg.rules.formula import Formula, compose
from thalweg.rules.options import EMA, Adaptive, ByValue, Cautious, TrustRatio, UpdateClip

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

# ------------------------------------------------------------ who is given these kernels


@dataclass(frozen=True)
class Somewhere:
    """What `pick` looks at of a parameter, on a device that is not here."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    is_cuda: bool = True


FIRST, SECOND = (Somewhere(torch.device("cuda", i)) for i in range(2))
WISHES = {
    "no wish": (Wishes(), "triton", "own kernels for CUDA"),
    "fused": (Wishes(fused=True), "triton", "own kernels for CUDA"),
    "foreach": (Wishes(foreach=True), "torch", "foreach=True asks for torch's operations"),
    "differentiable": (Wishes(is_differentiable=True), "torch", "autograd follows the step"),
}


@pytest.fixture
def elsewhere(monkeypatch):
    monkeypatch.setattr(pick, "Tensor", Somewhere)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(("wishes", "name", "why"), WISHES.values(), ids=WISHES)
def test_parameters_on_cuda_get_own_kernels_unless_torchs_are_wished(wishes, name, why):
    backend, reason = pick.pick([FIRST, FIRST], wishes)
    assert backend.name == name
    assert why in reason


@pytest.mark.usefixtures("elsewhere")
def test_what_own_kernels_cannot_take_runs_on_torch(monkeypatch):
    backend, reason = pick.pick([FIRST, SECOND], Wishes())
    assert (backend.name, "cuda:0 and cuda:1" in reason) == ("torch", True)
    backend, reason = pick.pick([Somewhere(FIRST.device, torch.int8)], Wishes())
    assert (backend.name, "int8" in reason) == ("torch", True)
    monkeypatch.setattr(pick, "find_spec", lambda name: None)
    backend, reason = pick.pick([FIRST], Wishes())
    assert (backend.name, reason) == (
        "torch",
        "triton is not installed, which compiles own kernels",
    )


# ------------------------------------------------------------ in the interpreter


def run_exam(which: str) -> None:
    """Run tests/gpu_exam.py in a process of its own; what fails there is shown here."""
    exam = Path(__file__).with_name("gpu_exam.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(exam), "-m", which, "-p", "no:cacheprovider"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=exam.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_the_exam_in_the_interpreter():
    run_exam("not slow")


@pytest.mark.slow
def test_the_whole_exam_in_the_interpreter():
    run_exam("slow")


# ------------------------------------------------------------ compiled for a GPU of today (sm_90)

SWEEP = {"is_aligned": True, "block": BLOCK}
CONSTANTS = {
    "norm": SWEEP,
    "collect": {"num_slots": 4, "width": WIDTH},
    "settle": {"lanes": LANES, "width": WIDTH},
    "update": SWEEP,
}
"""What each kernel is specialised on; measures are sweeps, and scales need the width."""


def layout(formula: Formula, dtype: str) -> Layout:
    rounding = "stochastic" if dtype == "bfloat16" else "nearest"
    state = "float32" if dtype == "float16" else dtype
    arithmetic = "float64" if dtype == "float64" else "float32"
    return Layout(dtype, dtype, (state,) * len(formula.states), arithmetic, rounding)


def compile_for_sm90(module: ModuleType, name: str, stored: Layout) -> dict[str, Any]:
    """A kernel's PTX and binary."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    is_scale = name.startswith("scale")
    constants = CONSTANTS.get(name, {"width": WIDTH} if is_scale else SWEEP)
    pointers = [i for i, kind in enumerate(ARGUMENTS.values()) if kind.startswith("*")]
    made = triton.compile(
        ASTSource(
            fn=getattr(module, name),
            signature={**ARGUMENTS, **dict.fromkeys(constants, "constexpr")},
            constexprs=constants,
            attrs={(i,): [["tt.divisibility", 16]] for i in pointers},
        ),
        target=GPUTarget("cuda", 90, 32),
        options={**OPTIONS, "num_warps": 4 if "width" in constants else num_warps(stored)},
    )
    return made.asm


def check_kernels(
    rule: str, dtype: str, *options: Any, change: Callable[[Layout], Layout] = lambda made: made
) -> None:
    """Every kernel of a formula becomes a binary, and divides and reads memory as it should."""
    formula = compose(RULES[rule], options)
    stored = change(layout(formula, dtype))
    module = compiled(formula, stored)
    steps = [f"{kind}{k}" for k in range(len(formula.measures)) for kind in ("measure", "scale")]
    for name in (*CONSTANTS, *steps):
        made = compile_for_sm90(module, name, stored)
        ptx = made["ptx"]
        assert made["cubin"][:4] == b"\x7fELF", name
        assert "sm_90" in ptx
        for inexact in ("div.full", "div.approx", "sqrt.approx", "fma.rn.f32"):
            assert inexact not in ptx, f"{name} holds {inexact}"
        if name in ("norm", "update"):
            assert "ld.global.v4.b32" in ptx or "ld.global.v2.b64" in ptx, "16 bytes at a time"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adamw_compiles(dtype):
    check_kernels("adamw", dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("rule", [n for n, row in RULES.items() if not row.couples_tensors])
def test_every_rule_compiles(rule, dtype):
    check_kernels(rule, dtype)


@pytest.mark.slow
def test_every_option_compiles():
    check_kernels(
        "adamw", "float32", ByValue(1.0), Cautious(), UpdateClip(), TrustRatio(), EMA(0.9)
    )
    check_kernels("adamw", "bfloat16", Adaptive(), TrustRatio())


@pytest.mark.slow
def test_master_weights_compile():
    check_kernels(
        "adamw",
        "bfloat16",
        change=lambda made: replace(made, states=("float32",) * 3, rounding="master"),
    )


def test_a_kernel_that_cannot_compile_is_noticed():
    from triton.compiler.errors import CompilationError

    formula = compose(RULES["sgd"])
    module = compiled(formula, layout(formula, "float32"))
    wrong = {**CONSTANTS["update"], "block": 1000}  # no power of two
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONSTANTS, "update", wrong)
        with pytest.raises(CompilationError):
            compile_for_sm90(module, "update", layout(formula, "float32"))
