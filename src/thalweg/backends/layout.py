"""How a group's arrays are stored, and so which kernel runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.backends.base import BESIDE, Group, Rounding, elementwise
from thalweg.rules.formula import Formula, input_of

SIZES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of an element."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the arrays of a kernel are stored, and how it computes.

    param, grad, states: dtypes as torch spells them, without "torch."
    """

    param: str
    grad: str
    states: tuple[str, ...]
    arithmetic: str
    rounding: Rounding

    @property
    def name(self) -> str:
        arrays = [self.param, self.grad, *self.states]
        short = "_".join(a.replace("bfloat", "b").replace("float", "f") for a in arrays)
        return f"{short}_{self.arithmetic}_{self.rounding}"

    @property
    def is_paired(self) -> bool:
        """Are all arrays bfloat16, so that kernels can take two elements in a word?"""
        stored = {self.param, self.grad, *self.states}
        return stored == {"bfloat16"} and self.arithmetic == "float32"

    def is_by_chance(self, dtype: str) -> bool:
        """Are results stored as this type rounded by chance?"""
        return self.rounding == "stochastic" and dtype == "bfloat16"


def layout_of(group: Group) -> Layout:
    """How a group's tensors are stored, and so which kernel runs it."""
    states = [group.states[name][0] for name in group.state_names]
    param, *others = (_name(plain(t).dtype) for t in (group.params[0], *states))
    is_double = param == "float64" or group.is_double
    return Layout(
        param=param,
        grad=param,
        states=tuple(others),
        arithmetic="float64" if is_double else "float32",
        rounding=group.rounding,
    )


def by_kernel(groups: Sequence[Group]) -> list[tuple[Layout, list[int]]]:
    """The groups, by place, that one kernel runs together: those of one formula and layout."""
    found: dict[tuple[Formula, Layout], list[int]] = {}
    for i, group in enumerate(groups):
        found.setdefault((elementwise(group.formula), layout_of(group)), []).append(i)
    return [(layout, members) for (_, layout), members in found.items()]


def arrays_of(formula: Formula, layout: Layout) -> list[tuple[str, str]]:
    """(name in the formula, dtype) of every array, in the order of the table."""
    beside = [layout.rounding] if layout.rounding in BESIDE else []
    states = [*map(input_of, formula.states), *beside]
    dtypes = (layout.param, layout.grad, *layout.states)
    return list(zip(["p", "g", *states], dtypes, strict=True))


def plain(tensor: Tensor) -> Tensor:
    """The tensor's numbers, without its graph; a complex one as pairs of reals."""
    numbers = tensor.detach()
    return torch.view_as_real(numbers.resolve_conj()) if numbers.is_complex() else numbers


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
