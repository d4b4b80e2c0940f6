"""One update of one group on whole torch tensors: counts, coefficients, the formula, rounding."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from thalweg.backends.base import CLIP_EPS, Group, evaluate, value_of
from thalweg.backends.numpy import scale_of
from thalweg.backends.rounding import draws, keys_of, rounded_by_chance
from thalweg.rules.formula import Measure, input_of

HALVES = (torch.float16, torch.bfloat16)


def _binary(function: Any) -> Any:
    """torch's function of two tensors, for numbers as well."""

    def on_any(a: Any, b: Any) -> Any:
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            like = a if isinstance(a, Tensor) else b
            return function(_as_tensor(a, like), _as_tensor(b, like))
        return function(torch.tensor(a), torch.tensor(b)).item()

    return on_any


def _as_tensor(value: Any, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full_like(like, value)


def _where(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, Tensor):
        return a if condition else b
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = torch.full(condition.shape, a, dtype=torch.float64, device=condition.device)
    return torch.where(condition, a, b)


def _divided(a: Any, b: Any) -> Any:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return operator.truediv(a, b)
    return a / b if b else a * math.inf


def _of_one(on_tensor: Any, on_number: Any) -> Any:
    return lambda a: on_tensor(a) if isinstance(a, Tensor) else on_number(a)


OPERATIONS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "negative": operator.neg,
    "less": operator.lt,
    "greater": operator.gt,
    "less_equal": operator.le,
    "greater_equal": operator.ge,
    "div": _divided,
    "sqrt": _of_one(torch.sqrt, math.sqrt),
    "pow": operator.pow,
    "absolute": abs,
    "sign": _of_one(torch.sign, lambda a: math.copysign(1.0, a) if a else a),
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "where": _where,
}


@dataclass(frozen=True, slots=True)
class Order:
    """What is done to a group's gradients in a step: numbers, or 0-d tensors on a device.

    factor: they count this many times; limit: the largest norm of each one by itself
    scale: 1 / loss scale, a part of factor; skip: this step is a no-op
    """

    factor: Any
    limit: float | None
    scale: Any
    skip: Any


def update_group(group: Group, grads: Sequence[Tensor | None], order: Order) -> Tensor:
    """Update one group's tensors; returns their sums of g², step², p² and of elements of g that are
    not finite, (n, 4) in float64."""
    active = [i for i, g in enumerate(grads) if g is not None]
    _count(group, active, order.skip)
    coefficients, scalars = _coefficients(group)
    keys = _keys(group) if group.rounding == "stochastic" else None
    sums = _nothing(group)
    for i in active:
        own = {name: _at(value, i) for name, value in coefficients.items()}
        update = _Update(group, i, order, own, None if keys is None else int(keys[i]))
        sums[i] = update.run(grads[i])
        if order.skip is not True:
            for name, values in scalars.items():
                new = _kept(group.scalars[name][i], _at(values, i), order.skip)
                group.scalars[name][i] = new
    return sums


def _count(group: Group, active: Sequence[int], skip: Any) -> None:
    """Count an update of the tensors that have a gradient; a skipped one is not counted."""
    if skip is True or not active:
        return
    taken = 1.0 if skip is False else 1.0 - torch.as_tensor(skip).to(group.steps.dtype)
    is_whole = len(active) == len(group.params)
    at = slice(None) if is_whole else torch.tensor(active, device=group.steps.device)
    group.steps[at] += taken


def _coefficients(group: Group) -> tuple[dict[str, Any], dict[str, Any]]:
    """The formula's coefficients and the rule's new scalars: numbers, or one a tensor, (n,)."""
    formula = group.formula
    t = group.steps if group.steps.device.type == "mps" else group.steps.double()
    known: dict[str, Any] = {"t": t, **group.scalars, **group.hyper}
    program = formula.rule.coefficients_program
    names = {name: known[name] for name in program.inputs}
    evaluate(program.lines, names, OPERATIONS)
    made = [value_of(output, names, OPERATIONS) for output in program.outputs]
    cut = len(formula.rule.scalars)
    values = [*made[cut:], *formula.option_values(group.hyper)]
    scalars = dict(zip(formula.rule.scalars, made[:cut], strict=True))
    return dict(zip(formula.coefficients, values, strict=True)), scalars


def _at(value: Any, i: int) -> Any:
    """A coefficient's number for tensor i."""
    return value[i] if isinstance(value, Tensor) and value.ndim == 1 else value


def _keys(group: Group) -> np.ndarray:
    return keys_of(group.seed, np.array(group.keys), group.steps.cpu().numpy())


def _nothing(group: Group) -> Tensor:
    double = torch.float32 if group.steps.device.type == "mps" else torch.float64
    return torch.zeros(len(group.params), 4, dtype=double, device=group.steps.device)


class _Update:
    """One tensor's update."""

    def __init__(
        self, group: Group, i: int, order: Order, coefficients: dict[str, Any], key: int | None
    ):
        formula = self.formula = group.formula
        self.group = group
        self.order = order
        self.coefficients = coefficients
        self.key = key
        self.is_kahan = group.rounding == "kahan"
        names = [*formula.states, *(["kahan_comp"] if self.is_kahan else [])]
        tensors = (group.params[i], *(group.states[name][i] for name in names))
        self.targets = [self._plain(tensor) for tensor in tensors]
        is_double = group.is_double or self.targets[0].dtype == torch.float64
        self.arithmetic = torch.float64 if is_double else torch.float32

    def run(self, gradient: Any) -> Tensor:
        """Make the update; its four sums."""
        raw = self._plain(gradient).to(self.arithmetic)
        is_followed = self.group.is_differentiable
        old = [t.clone() if is_followed else t.to(self.arithmetic) for t in self.targets]
        known = self._known(old, self._clipped(raw))
        evaluate(self.formula.lines, known, OPERATIONS)
        new = [value_of(output, known, OPERATIONS) for output in self.formula.outputs]
        step = value_of(self.formula.step, known, OPERATIONS)
        if self.is_kahan:
            new = self._with_kahan(old, new, step)
        if self.order.skip is not True:
            self._store(new)
        return self._sums(raw, step, old[0] if self.order.skip is True else new[0])

    def _plain(self, tensor: Tensor) -> Tensor:
        """Detached, unless autograd follows; complex numbers as pairs of reals."""
        plain = tensor if self.group.is_differentiable else tensor.detach()
        return torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain

    def _clipped(self, raw: Tensor) -> Tensor:
        """The gradient times its factor, which a limit on its own norm may lower."""
        order, factor = self.order, self.order.factor
        if order.limit is not None:
            norm = abs(order.scale) * whole(torch.linalg.vector_norm(raw))
            factor = factor * clip_factor(order.limit, norm)
        return raw * factor

    def _known(self, old: Sequence[Tensor], g: Tensor) -> dict[str, Any]:
        """The formula's inputs by name, the coefficients that measures come to among them."""
        formula = self.formula
        states = zip(formula.states, old[1:], strict=False)
        known = {"p": old[0], "g": g, **self.coefficients, **{input_of(n): s for n, s in states}}
        if self.is_kahan:
            known["p"] = old[0] + old[-1]
        for measure in formula.measures:
            scope = dict(known)
            evaluate(measure.lines, scope, OPERATIONS)
            sums = [whole(value_of(s, scope, OPERATIONS).sum()) for s in measure.sums]
            known[measure.name] = _scale(measure, sums, float(max(1, g.numel())), self.group.hyper)
        return known

    def _with_kahan(self, old: Sequence[Tensor], new: list[Any], step: Tensor) -> list[Any]:
        """p goes where it can, and what is lacking is kept for the next step."""
        wanted = old[-1] - step
        moved = (old[0] + wanted).to(self.targets[0].dtype).to(self.arithmetic)
        return [moved, *new[1:], wanted - (moved - old[0])]

    def _store(self, new: Sequence[Any]) -> None:
        bits = None
        if self.key is not None:
            bits = draws(self.key, _indices(self.targets[0]))
        for k, (target, value) in enumerate(zip(self.targets, new, strict=True)):
            if bits is not None and target.dtype == torch.bfloat16:
                array = 0 if k == 0 else k + 1  # the gradient is array 1
                value = _by_chance(value, bits, array)  # noqa: PLW2901
            target.copy_(_kept(target, value, self.order.skip))

    def _sums(self, raw: Tensor, step: Tensor, p: Tensor) -> Tensor:
        moved = torch.zeros_like(step) if self.order.skip is True else step
        with torch.no_grad():
            bad = (~torch.isfinite(raw)).sum()
            numbers = [_squares(raw), _squares(moved), _squares(p), bad]
            sums = torch.stack([whole(number).double() for number in numbers])
            sums[0] *= self.order.scale**2
            return sums


def _squares(values: Tensor) -> Tensor:
    """The sum of squares; in double where it would overflow (on a device always: it is free)."""
    if values.device.type == "cpu":
        total = (values * values).sum()
        return total if math.isfinite(whole(total)) else values.double().square().sum()
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    return torch.linalg.vector_norm(values, dtype=dtype).square()


def _kept(old: Tensor, new: Any, skip: Any) -> Any:
    """The new value, unless a flag on the device says that the step is skipped."""
    return new if isinstance(skip, bool) else torch.where(skip, old, new.to(old.dtype))


def _indices(tensor: Tensor) -> Tensor:
    """The place of every element in the whole tensor, also where this rank holds only a part."""
    if not isinstance(tensor, DTensor):
        return torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape)
    shape, starts = compute_local_shape_and_global_offset(
        tensor.shape, tensor.device_mesh, tensor.placements
    )
    device = tensor.to_local().device
    places = torch.zeros(shape, dtype=torch.int64, device=device)
    stride = 1
    for axis in reversed(range(len(shape))):
        along = (starts[axis] + torch.arange(shape[axis], device=device)) * stride
        places = places + along.view([-1 if k == axis else 1 for k in range(len(shape))])
        stride *= tensor.shape[axis]
    return places


def _by_chance(value: Tensor, bits: Tensor, array: int) -> Tensor:
    if not isinstance(value, DTensor):
        return rounded_by_chance(value, bits, array)
    rounded = rounded_by_chance(value.to_local(), bits, array)
    return DTensor.from_local(
        rounded,
        value.device_mesh,
        value.placements,
        shape=value.shape,
        stride=value.stride(),
    )


def _scale(measure: Measure, sums: Sequence[Tensor], size: float, hyper: Any) -> Any:
    """A measure's coefficient; the host's plain arithmetic where that costs no waiting."""
    if all(s.device.type == "cpu" and not s.requires_grad for s in sums):
        plain = {name: float(value) for name, value in hyper.items()}
        return scale_of(measure, [s.item() for s in sums], size, plain)
    by_name = {f"sum{k}": value for k, value in enumerate(sums)}
    program = measure.scale_program
    names = {**hyper, **measure.fields, **by_name, "size": size}
    known = {name: names[name] for name in program.inputs}
    evaluate(program.lines, known, OPERATIONS)
    return value_of(program.outputs[0], known, OPERATIONS)


def clip_factor(limit: float | None, norm: Any) -> Any:
    """What a gradient of this norm is multiplied with, at most 1."""
    if limit is None:
        return 1.0
    factor = limit / (norm + CLIP_EPS)
    if isinstance(factor, Tensor):
        return torch.clamp(factor, max=1.0)
    return factor if not factor > 1.0 else 1.0


def whole(number: Tensor) -> Tensor:
    """A number that may be spread over ranks, as a plain tensor."""
    return number.full_tensor() if isinstance(number, DTensor) else number
