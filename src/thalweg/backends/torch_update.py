"""One update of one group on whole torch tensors: its coefficients, then tensor by tensor."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thalweg.backends.base import Group, elementwise, evaluate, value_of
from thalweg.backends.numpy import scale_of
from thalweg.backends.spread import whole
from thalweg.backends.torch_store import (
    Order,
    arithmetic_of,
    count,
    kept,
    keys_for,
    no_sums,
    plain,
    store,
    targets_of,
    true_p,
    with_kahan,
)
from thalweg.rules.formula import Measure, input_of
from thalweg.rules.language import Program


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


class GroupUpdate:
    """One update of one group: first its counts and coefficients, then tensor by tensor."""

    def __init__(self, group: Group, grads: Sequence[Tensor | None], order: Order):
        self.group = group
        self.order = order
        self.grads = {i: g for i, g in enumerate(grads) if g is not None}
        count(group, list(self.grads), order.skip)
        self.coefficients, self.scalars = _coefficients(group)
        self._keys = keys_for(group)
        self.clips: list[Any] = []

    def measure(self) -> list[Tensor]:
        """What a rule that couples all tensors needs of these: its sums over them."""
        rows = [self._update(i).measured(g) for i, g in self.grads.items()]
        return [torch.stack(column).sum() for column in zip(*rows, strict=True)]

    def conclude(self, sums: Sequence[Tensor], group: Group) -> None:
        """Complete the coefficients from the sums over all groups.

        group: the one whose hyperparameters decide
        """
        formula = elementwise(self.group.formula)
        rule = formula.rule
        known = {**_shared_scalars(group), **group.hyper}
        known.update({f"sum{k}": value for k, value in enumerate(sums)})
        made = _run(rule.conclude_program, known)
        cut = len(rule.scalars)
        self.scalars = dict(zip(rule.scalars, made[:cut], strict=True))
        names = [name for name in formula.coefficients if name not in self.coefficients]
        self.coefficients.update(zip(names, made[cut:], strict=False))

    def run(self) -> Tensor:
        """Update the tensors; returns their sums of g², step², p² and of elements of g that are not
        finite, (n, 4) in float64."""
        sums = no_sums(self.group)
        for i, g in self.grads.items():
            update = self._update(i)
            sums[i] = update.run(g)
            self.clips += update.clips
            if self.order.skip is not True:
                self._keep_scalars(i)
        return sums

    def _keep_scalars(self, i: int) -> None:
        for name, values in self.scalars.items():
            held = self.group.scalars[name]
            held[i] = kept(held[i], _at(values, i), self.order.skip)

    def _update(self, i: int) -> _Update:
        own = {name: _at(value, i) for name, value in self.coefficients.items()}
        return _Update(self.group, i, self.order, own, self._keys[i])


def conclude_together(updates: Sequence[GroupUpdate]) -> None:
    """Let the groups whose rules couple all tensors share what they measure.

    The group with the largest learning rate decides, so that one at 0 holds up nobody.
    """
    coupled = [u for u in updates if u.group.formula.rule.couples_tensors and u.grads]
    if not coupled:
        return
    columns = zip(*(update.measure() for update in coupled), strict=True)
    sums = [torch.stack(column).sum() for column in columns]
    leader = max(coupled, key=lambda update: float(update.group.hyper["lr"])).group
    for update in coupled:
        update.conclude(sums, leader)


def _shared_scalars(group: Group) -> dict[str, Tensor]:
    """The running scalars of a rule that couples tensors: those of the one that came furthest."""
    return {name: values.max() for name, values in group.scalars.items()}


def _coefficients(group: Group) -> tuple[dict[str, Any], dict[str, Any]]:
    """The formula's coefficients and the rule's new scalars: numbers, or one a tensor, (n,).

    What a rule that couples all tensors concludes later is not among them yet.
    """
    formula = elementwise(group.formula)
    rule = formula.rule
    t = group.steps if group.steps.device.type == "mps" else group.steps.double()
    held = _shared_scalars(group) if rule.couples_tensors else group.scalars
    made = _run(rule.coefficients_program, {"t": t, **held, **group.hyper})
    cut, options = len(rule.scalars), formula.option_values(group.hyper)
    names = list(formula.coefficients)
    own = names[: len(made) - cut] + names[len(names) - len(options) :]
    coefficients = dict(zip(own, [*made[cut:], *options], strict=True))
    return coefficients, dict(zip(rule.scalars, made[:cut], strict=True))


def _run(program: Program, known: dict[str, Any]) -> list[Any]:
    """What a program of coefficients comes to."""
    names = {name: known[name] for name in program.inputs}
    evaluate(program.lines, names, OPERATIONS)
    return [value_of(output, names, OPERATIONS) for output in program.outputs]


def _at(value: Any, i: int) -> Any:
    """A coefficient's number for tensor i."""
    return value[i] if isinstance(value, Tensor) and value.ndim == 1 else value


class _Update:
    """One tensor's update."""

    def __init__(
        self, group: Group, i: int, order: Order, coefficients: dict[str, Any], key: int | None
    ):
        self.formula = elementwise(group.formula)
        self.group = group
        self.order = order
        self.key = key
        self.clips: list[Any] = []
        self.targets = targets_of(group, i)
        self.arithmetic = arithmetic_of(group, self.targets[0])
        self.coefficients = {
            name: value.to(self.arithmetic) if isinstance(value, Tensor) else value
            for name, value in coefficients.items()
        }

    def run(self, gradient: Any) -> Tensor:
        """Make the update; its four sums."""
        raw = plain(self.group, gradient).to(self.arithmetic)
        is_followed = self.group.is_differentiable
        old = [t.clone() if is_followed else t.to(self.arithmetic) for t in self.targets]
        known = self._known(old, self._clipped(raw))
        self.clips = [known[m.name] for m in self.formula.measures if m.clips]
        evaluate(self.formula.lines, known, OPERATIONS)
        new = [value_of(output, known, OPERATIONS) for output in self.formula.outputs]
        step = value_of(self.formula.step, known, OPERATIONS)
        if self.group.rounding == "kahan":
            new = with_kahan(old, new, step, self.targets[0].dtype)
        elif self.group.rounding == "master":
            new.append(new[0])
        if self.order.skip is not True:
            store(self.targets, new, self.key, self.order.skip)
        return self._sums(raw, step, old[0] if self.order.skip is True else new[0])

    def measured(self, gradient: Tensor) -> list[Tensor]:
        """This tensor's sums of what its rule measures over all tensors."""
        raw = plain(self.group, gradient).to(self.arithmetic)
        old = [t.to(self.arithmetic) for t in self.targets]
        rule = self.formula.rule
        program = rule.measure_program
        known = self._known(old, self._clipped(raw), with_measures=False)
        names = ("p", "g", *map(input_of, rule.states), *self.formula.coefficients)
        given = [known[name] for name in names[: len(program.inputs)]]
        made = _run(program, dict(zip(program.inputs, given, strict=True)))
        return [whole(value.double().sum()) for value in made]

    def _clipped(self, raw: Tensor) -> Tensor:
        return self.order.clipped(raw, lambda g: whole(torch.linalg.vector_norm(g)))

    def _known(
        self, old: Sequence[Tensor], g: Tensor, *, with_measures: bool = True
    ) -> dict[str, Any]:
        """The formula's inputs by name, the coefficients that measures come to among them."""
        states = zip(self.formula.states, old[1:], strict=False)
        p = true_p(self.group, old, self.targets[0].dtype)
        known = {"p": p, "g": g, **self.coefficients, **{input_of(n): s for n, s in states}}
        for measure in self.formula.measures if with_measures else ():
            scope = dict(known)
            evaluate(measure.lines, scope, OPERATIONS)
            sums = [whole(value_of(s, scope, OPERATIONS).sum()) for s in measure.sums]
            known[measure.name] = _scale(measure, sums, float(max(1, g.numel())), self.group.hyper)
        return known

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


def _scale(measure: Measure, sums: Sequence[Tensor], size: float, hyper: Any) -> Any:
    """A measure's coefficient; the host's plain arithmetic where that costs no waiting."""
    if all(s.device.type == "cpu" and not s.requires_grad for s in sums):
        plain = {name: float(value) for name, value in hyper.items()}
        return scale_of(measure, [s.item() for s in sums], size, plain)
    by_name = {f"sum{k}": value for k, value in enumerate(sums)}
    known = {**hyper, **measure.fields, **by_name, "size": size}
    return _run(measure.scale_program, known)[0]
