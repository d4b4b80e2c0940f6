"""The optimizers that sit the conformance tests: one row each.

A new optimizer is one row. What its mathematics excludes is a flag of the row, and the tests show
that the excused behaviour differs; what its constructor does not offer is a skip with a reason.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Literal

import pytest
import torch
from torch import nn

import thalweg
from thalweg.rules import Hyper, Rule

__all__ = ["SUBJECTS", "Rates", "Subject", "every_storage", "every_subject"]

SWITCHES = ("foreach", "fused", "differentiable")
"""How a step is computed; at most one of them is on."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """Learning rates that lead to the known minima, falling to zero along a line."""

    quadratic: float = 0.1
    rosenbrock: float = 0.05
    logistic: float = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """An optimizer class with its settings, its reference and its flags.

    reference: the class with the same mathematics, followed in float64 within `tolerance`
    reference_settings: its settings; None: the subject's own
    matrices_only: the rule is for matrices; others are refused, or go to another rule with one
        warning
    couples_tensors: one number measured over all parameters drives the step
    averages_weights: has train() and eval(); the average moves on when the learning rate is zero
    shares_count: one count of steps for all parameters of a group, not one for each
    keeps_no_state: a step does not depend on earlier ones
    gradient_scale: what gradients that are c times as large do to the path: nothing, moves that
        are c times as large, or neither; with `scale_settings`
    minimum_atol: how close 800 steps with `rates` must come to a known minimum
    """

    name: str
    build: type[torch.optim.Optimizer]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: type[torch.optim.Optimizer] | None = None
    reference_settings: Mapping[str, Any] | None = None
    tolerance: float = 1e-12
    matrices_only: bool = False
    couples_tensors: bool = False
    averages_weights: bool = False
    shares_count: bool = False
    keeps_no_state: bool = False
    gradient_scale: Literal["invariant", "linear", "neither"] = "neither"
    scale_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rates: Rates = Rates()
    minimum_atol: float = 1e-3

    def make(self, params: Any, **more: Any) -> Any:
        """The optimizer over `params`; one that averages weights is in train mode."""
        optimizer = self.build(params, **{**self.settings, **more})
        if self.averages_weights:
            optimizer.train()
        return optimizer

    def start(self, dtype: torch.dtype = torch.float32, **more: Any) -> tuple[list[Any], Any]:
        """Fresh parameters and the optimizer over them."""
        params = self.fresh(dtype)
        return params, self.make(params, **more)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((6, 4), (4, 6)) if self.matrices_only else ((6, 4), (6,), (), (3, 2, 2, 2))

    def fresh(self, dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
        source = torch.Generator().manual_seed(0)
        draws = [torch.randn(s, generator=source, dtype=torch.float64) for s in self.shapes]
        return [nn.Parameter(draw.to(dtype)) for draw in draws]

    def model(self) -> nn.Sequential:
        torch.manual_seed(3)
        bias = not self.matrices_only
        return nn.Sequential(nn.Linear(5, 7, bias=bias), nn.Tanh(), nn.Linear(7, 3, bias=bias))

    @property
    def lr(self) -> float:
        given = self.settings.get("lr")
        if given is None:
            given = self.make(self.fresh()).defaults.get("lr", 1e-2)
        return float(given)

    def takes(self, name: str) -> bool:
        """Is `name` a setting of the constructor, its own or one it passes on?"""
        accepted = inspect.signature(self.build).parameters
        if name in accepted:
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
            return False
        builders = [c.__init__ for c in self.build.__mro__ if "__init__" in vars(c)]
        passed_on = any(name in inspect.signature(b).parameters for b in builders)
        return passed_on or name in self.make(self.fresh()).defaults

    def must_take(self, name: str) -> None:
        """Skip the test if the constructor has no such setting."""
        if not self.takes(name):
            pytest.skip(f"{self.name} has no {name}")

    def undecayed(self) -> dict[str, float]:
        """Settings that turn weight decay off."""
        return {"weight_decay": 0.0} if self.takes("weight_decay") else {}

    def only(self, switch: str, value: bool = True) -> dict[str, bool]:
        """Settings with this one of the switches, and no other, set to `value`."""
        others = {name: False for name in SWITCHES if self.takes(name)}
        return {**others, switch: value}

    def product_atol(self) -> float:
        """What other strides may change: products of matrices in bfloat16 round differently."""
        return 0.02 * self.lr if self.matrices_only else 0.0


def signum_coefficients(lr, momentum):
    return lr, momentum, 1 - momentum


def signum_update(p, g, m, lr, momentum, fresh):
    m = momentum * m + fresh * g

    p = p - lr * sign(m)  # noqa: F821  (the language's own)
    return p, m


class Signum(thalweg.Optimizer):
    """A user's own rule: every parameter moves by lr, in the direction of a running mean."""

    def __init__(self, params: Any, lr: float = 1e-3, momentum: float = 0.9, **more: Any):
        super().__init__(params, SIGNUM, lr=lr, momentum=momentum, **more)


SIGNUM = Rule(
    "signum",
    signum_coefficients,
    signum_update,
    (Hyper("lr", 1e-3), Hyper("momentum", 0.9, high=1.0)),
)

SGD = {"build": thalweg.SGD, "reference": torch.optim.SGD, "gradient_scale": "linear"}
ADAM = {"gradient_scale": "invariant", "scale_settings": {"eps": 0.0}}
RMSPROP = {"build": thalweg.RMSprop, "reference": torch.optim.RMSprop, **ADAM}

SUBJECTS: tuple[Subject, ...] = (
    Subject(
        name="sgd",
        **SGD,
        settings={"lr": 0.1},
        keeps_no_state=True,
        rates=Rates(0.1, 0.05, 5.0),
    ),
    Subject(
        name="momentum",
        **SGD,
        settings={"lr": 0.1, "momentum": 0.9},
        rates=Rates(0.05, 0.01, 1.0),
    ),
    Subject(
        name="nesterov",
        **SGD,
        settings={"lr": 0.1, "momentum": 0.9, "nesterov": True},
        rates=Rates(0.05, 0.01, 1.0),
    ),
    Subject(
        name="dampened",
        **SGD,
        settings={"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
        rates=Rates(0.05, 0.01, 1.0),
        minimum_atol=0.05,  # weight decay moves the minimum
    ),
    Subject(
        name="adagrad",
        build=thalweg.Adagrad,
        reference=torch.optim.Adagrad,
        **ADAM,
        rates=Rates(1, 1, 1),
    ),
    Subject(name="rmsprop", **RMSPROP),
    Subject(name="rmsprop_centered", **RMSPROP, settings={"centered": True}),
    Subject(name="rmsprop_momentum", **RMSPROP, settings={"momentum": 0.9}),
    Subject(
        name="rmsprop_centered_momentum",
        **RMSPROP,
        settings={"centered": True, "momentum": 0.9},
    ),
    Subject(name="adam", build=thalweg.Adam, reference=torch.optim.Adam, **ADAM),
    Subject(
        name="adam_amsgrad",
        build=thalweg.Adam,
        reference=torch.optim.Adam,
        settings={"amsgrad": True},
        **ADAM,
    ),
    Subject(name="adamw", build=thalweg.AdamW, reference=torch.optim.AdamW, **ADAM),
    Subject(
        name="adamw_amsgrad",
        build=thalweg.AdamW,
        reference=torch.optim.AdamW,
        settings={"amsgrad": True},
        **ADAM,
    ),
    Subject(
        name="adadelta",
        build=thalweg.Adadelta,
        reference=torch.optim.Adadelta,
        rates=Rates(30, 10, 30),
    ),
    Subject(name="adamax", build=thalweg.Adamax, reference=torch.optim.Adamax, **ADAM),
    Subject(name="nadam", build=thalweg.NAdam, reference=torch.optim.NAdam, **ADAM),
    Subject(name="nadam_constant", build=thalweg.NAdam, settings={"variant": "constant"}, **ADAM),
    Subject(
        name="radam",
        build=thalweg.RAdam,
        reference=torch.optim.RAdam,
        gradient_scale="linear",  # in its first five steps, before it divides
    ),
    Subject(
        name="adafactor",
        build=thalweg.Adafactor,
        reference=torch.optim.Adafactor,
        gradient_scale="invariant",
        scale_settings={"eps": (0.0, 1e-3)},
        rates=Rates(0.1, 0.1, 0.1),
    ),
    Subject(
        name="muon",
        build=thalweg.Muon,
        reference=torch.optim.Muon,
        matrices_only=True,
        gradient_scale="invariant",
    ),
    Subject(
        name="muon_like_adamw",
        build=thalweg.Muon,
        reference=torch.optim.Muon,
        settings={"adjust_lr_fn": "match_rms_adamw", "nesterov": False},
        matrices_only=True,
        gradient_scale="invariant",
    ),
    Subject(
        name="muon_exact",
        build=thalweg.Muon,
        settings={"ns_bf16": False},
        matrices_only=True,
        gradient_scale="invariant",
    ),
    Subject(name="lion", build=thalweg.Lion, gradient_scale="invariant"),
    Subject(name="lamb", build=thalweg.LAMB, **ADAM, minimum_atol=0.01),
    Subject(
        name="prodigy",
        build=thalweg.Prodigy,
        couples_tensors=True,
        **ADAM,
        rates=Rates(1, 1, 1),
        minimum_atol=0.05,
    ),
    Subject(
        name="schedulefree_sgd",
        build=thalweg.ScheduleFreeSGD,
        averages_weights=True,
        gradient_scale="linear",
        rates=Rates(0.1, 0.1, 10.0),
        minimum_atol=0.03,
    ),
    Subject(
        name="schedulefree_adamw",
        build=thalweg.ScheduleFreeAdamW,
        averages_weights=True,
        minimum_atol=0.03,
    ),
    Subject(name="signum", build=Signum, gradient_scale="invariant", minimum_atol=0.01),
)

every_subject = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda row: row.name)

KERNELS_IN_FP16 = ("sgd", "momentum", "adamw", "rmsprop_centered", "lion", "schedulefree_adamw")
"""One rule of every form of state, each with a kernel of its own to compile."""

NO_KERNELS = ("adafactor", "muon", "muon_like_adamw", "muon_exact", "prodigy")

every_storage = pytest.mark.parametrize(
    "subject",
    [
        pytest.param(
            row, marks=[] if row.name in (*KERNELS_IN_FP16, *NO_KERNELS) else pytest.mark.slow
        )
        for row in SUBJECTS
    ],
    ids=lambda row: row.name,
)
"""For float16: how its numbers are loaded and stored is one text for all rules, and what is
computed between is float32's, which every rule sits. So the other kernels are slow ones."""
