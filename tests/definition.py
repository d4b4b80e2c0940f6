"""An optimizer beside the NumPy definition: after each step, how far apart they are, in ulp.

Every step starts from where the optimizer stands, so that what is measured is one step's error and
not a path's. An ulp here is eps of the stored type, times the largest of the old value, the new one
and (for a parameter) the step: an element that cancels keeps the error of what it was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.backends import numpy as definition
from thalweg.optim import Optimizer
from thalweg.rules import RULES, Rule

__all__ = [
    "ALLOWED",
    "BACKENDS",
    "SETTINGS",
    "Walk",
    "gradients",
    "make",
    "parameters",
    "settings_of",
]

BACKENDS = {"numba": {}, "torch": {"foreach": True}}
"""A backend's name, and the flags that ask for it."""

SETTINGS = {
    "lr": 0.1,
    "momentum": 0.8,
    "dampening": 0.1,
    "lr_decay": 0.05,
    "initial_accumulator_value": 0.1,
    "weight_decay": 0.05,
    "warmup_steps": 4.0,
    "r": 0.5,
}
"""Every setting with its term in the formula turned on; the others keep their defaults."""


ALLOWED = {"parameter": 128.0, "state": 8.0, "half": 1.0}
"""The largest error in ulp. A parameter's step may be a small difference of large numbers; a number
of 16 bits is rounded once, by at most one ulp.
"""


def settings_of(rule: Rule, **own: float) -> dict[str, float]:
    """The settings of a rule, in its own names."""
    chosen = {**SETTINGS, **own}
    return {row.name: chosen.get(row.name, row.default) for row in rule.hypers}


def make(params: Any, rule: Rule | str, backend: str, **more: Any) -> Optimizer:
    """An optimizer with `SETTINGS` that runs on this backend and no other."""
    rule = RULES[rule] if isinstance(rule, str) else rule
    spelled = {row.setting for row in rule.hypers}
    chosen = {name: value for name, value in SETTINGS.items() if name in spelled}
    optimizer = Optimizer(params, rule, **{**chosen, **BACKENDS[backend], **more})
    assert optimizer.backend.name == backend
    return optimizer


def parameters(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> list[nn.Parameter]:
    """Values over four decades."""
    source = torch.Generator().manual_seed(7)
    return [nn.Parameter(_decades(shape, source, -3.0, 1.0).to(dtype)) for shape in shapes]


def gradients(params: Sequence[Tensor], k: int) -> None:
    """The gradients of step k: over five decades, here and there a zero.

    Coupled weight decay cancels none of them: what is left would be rounding, magnified.
    """
    source = torch.Generator().manual_seed(100 + k)
    for p in params:
        draw = _decades(tuple(p.shape), source, -3.5, 1.5)
        decay = SETTINGS["weight_decay"] * p.detach().double()
        cancels = (draw + decay).abs() < 0.5 * decay.abs()
        is_zero = torch.rand(p.shape, generator=source) < 0.05
        p.grad = torch.where(is_zero, 0.0, torch.where(cancels, -draw, draw)).to(p.dtype)


def _decades(shape: tuple[int, ...], source: Any, low: float, high: float) -> Tensor:
    size = torch.rand(shape, generator=source, dtype=torch.float64) * (high - low) + low
    return torch.randn(shape, generator=source, dtype=torch.float64) * 10.0**size


class Walk:
    """An optimizer over parameters, and the definition that takes each step with it.

    clip: the ByValue that the optimizer was given, if any, as a tuple
    excused: share of a tensor's elements that do not count
    worst: the largest error so far, in ulp, of "p" and every state and running scalar by name
    """

    def __init__(
        self,
        optimizer: Optimizer,
        params: Sequence[Tensor],
        *,
        clip: Any = (),
        excused: float = 0.0,
    ):
        self.optimizer = optimizer
        self.params = list(params)
        self.worst: dict[str, float] = {}
        self.allowed: dict[str, float] = {}
        self._excused = excused
        self._group = optimizer.param_groups[0]
        self._rule = optimizer.rule_of(self._group)
        self._options = (*self._group["options"], *clip)

    def step(self, k: int) -> None:
        """Step k (from 0) of both, and the comparison."""
        gradients(self.params, k)
        expected = [self._expected(p, k + 1) for p in self.params]
        old = [p.detach().clone() for p in self.params]
        self.optimizer.step()
        for p, before, (names, values) in zip(self.params, old, expected, strict=True):
            state = self.optimizer.state[p]
            for name, first, value in zip(
                names, [_numbers(before), *values[1]], values[0], strict=True
            ):
                actual = p if name == "p" else state[name]
                self._note(name, actual, first, value, state)

    def _expected(self, p: Tensor, t: int) -> tuple[tuple[str, ...], Any]:
        """(names, (new values, old values but p's)) by the definition."""
        hyper = {k: float(v) for k, v in self._rule.spread(self._group).items()}
        formula = definition.compose(self._rule, self._options)
        state = self.optimizer.state.get(p, {})
        at = _numbers(p)
        if "kahan_comp" in state:
            at = at + _numbers(state["kahan_comp"])
        at = _numbers(state["master"]) if "master" in state else at
        first = definition.first_states(self._rule, at, self._options, **hyper)
        old = [
            _numbers(state[name]) if name in state else start
            for name, start in zip(formula.states, first, strict=True)
        ]
        first = self._rule.first_scalars(hyper)
        scalars = [float(state.get(name, start)) for name, start in first.items()]
        sign = -1.0 if self._group["maximize"] else 1.0
        g = sign * _numbers(p.grad)
        with np.errstate(all="ignore"):
            new = definition.update(
                self._rule, t, at, g, *old, scalars=scalars, options=self._options, **hyper
            )
        return ("p", *formula.states, *self._rule.scalars), (new, [*old, *scalars])

    def _note(self, name: str, actual: Tensor, old: Any, expected: Any, state: Any) -> None:
        if name == "p" and "master" in state:
            assert torch.equal(actual, state["master"].to(actual.dtype)), "p is its copy, rounded"
            actual = state["master"]
        found = _numbers(actual)
        expected = np.asarray(expected, dtype=np.float64)
        assert found.shape == expected.shape
        assert np.isfinite(found).all()
        size = np.maximum(np.abs(old), np.abs(expected))
        if name == "p":
            size = np.maximum(size, np.abs(expected - old))
            if "kahan_comp" in state:
                found = found + _numbers(state["kahan_comp"])
        kept = torch.finfo(actual.dtype)
        unit = kept.eps * np.maximum(size, kept.tiny)
        error = np.sort((np.abs(found - expected) / unit).ravel())
        counted = error[: error.size - int(self._excused * error.size)]
        self.worst[name] = max(self.worst.get(name, 0.0), float(counted.max(initial=0.0)))
        kind = "half" if actual.dtype.itemsize == 2 else "parameter" if name == "p" else "state"
        self.allowed[name] = ALLOWED[kind]

    def must_agree(self, *, times: float = 1.0) -> None:
        """No error was larger than `ALLOWED`, `times` over."""
        for name, error in self.worst.items():
            allowed = times * self.allowed[name]
            assert error <= allowed, f"{name} is {error:.3g} ulp off, allowed are {allowed:g}"


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy().copy()
