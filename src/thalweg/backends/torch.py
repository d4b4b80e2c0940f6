"""Formulas on whole torch tensors: any device and layout, DTensor, and autograd through the step.

Several sweeps over memory, so slower than own kernels, and right wherever torch itself runs. Where
the tensors live on a device nothing is waited for: the decision to skip is a flag there.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from thalweg.backends.base import CLIP_EPS, Group, Request, Totals, dense, evaluate, value_of
from thalweg.backends.matrix import new_values, spread_as, whole
from thalweg.backends.numpy import scale_of
from thalweg.backends.rounding import draws, keys_of, rounded_by_chance
from thalweg.rules.formula import Formula, input_of
from thalweg.rules.matrix import MatrixRule

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


class Eager:
    """torch's own operations."""

    name = "torch"

    def bind(self, groups: Sequence[Group]) -> EagerRunner:
        return EagerRunner(groups)


class EagerRunner:
    """Groups run tensor by tensor."""

    def __init__(self, groups: Sequence[Group]):
        self._groups = groups
        self._num_segments = 1 + max((group.segment for group in groups), default=0)
        self._totals = Totals()
        self._sums: list[Tensor] = []

    def is_current(self) -> bool:
        return True  # no addresses are kept

    def step(self, grads: Sequence[Sequence[Tensor | None]], request: Request) -> None:
        with torch.set_grad_enabled(any(group.is_differentiable for group in self._groups)):
            self._step(grads, request)

    def _step(self, grads: Sequence[Sequence[Tensor | None]], request: Request) -> None:
        grads = [
            [None if g is None else dense(group.formula.rule, g) for g in given]
            for group, given in zip(self._groups, grads, strict=True)
        ]
        scale = request.inverse_scale
        is_clipped = any(limit is not None for limit in (*request.limits, *request.per_tensor))
        norms: list[Any] = []
        if is_clipped or request.skip_nonfinite or request.measure:
            norms = self._norms(grads, scale)
        skip = _skip_flag(request, norms)
        factors = [_clip_factor(*pair) for pair in zip(request.limits, norms, strict=False)]
        self._sums = []
        for group, given in zip(self._groups, grads, strict=True):
            factor = group.sign * scale * (factors[group.segment] if factors else 1.0)
            limit = request.per_tensor[group.segment]
            sums = _update_group(group, given, factor, limit, skip, request)
            if sums is not None:
                self._sums.append(sums)
        if request.measure:
            self._totals = self._measured(norms, factors, scale)

    def _norms(self, grads: Sequence[Sequence[Tensor | None]], scale: Any) -> list[Any]:
        """Per segment, the norm of its gradients: a float on the CPU, else a 0-d tensor."""
        by_segment: list[list[Tensor]] = [[] for _ in range(self._num_segments)]
        for group, given in zip(self._groups, grads, strict=True):
            by_segment[group.segment] += [g for g in given if g is not None]
        return [scale * norm_of(members) for members in by_segment]

    def _measured(self, norms: Sequence[Any], factors: Sequence[Any], scale: Any) -> Totals:
        sums = torch.cat(self._sums).sum(0) if self._sums else torch.zeros(4)
        total = norms[0] if len(norms) == 1 else abs(scale) * sums[0].sqrt()
        if isinstance(total, Tensor):
            update, param, bad = sums[1].sqrt(), sums[2].sqrt(), sums[3]
        else:
            update, param, bad = math.sqrt(sums[1]), math.sqrt(sums[2]), round(sums[3].item())
        return Totals(
            gradient_norm=total,
            update_norm=update,
            parameter_norm=param,
            clip_factor=factors[0] if len(factors) == 1 else 1.0,
            num_nonfinite=bad,
        )

    def totals(self) -> Totals:
        return self._totals

    def per_tensor(self) -> list[Tensor]:
        return self._sums


def norm_of(grads: Sequence[Tensor]) -> Tensor | float:
    """Euclidean norm of all gradients together, 0 where there are none.

    On the CPU, where reading costs nothing, a float; elsewhere a 0-d tensor, not waited for.
    """
    if not grads or grads[0].device.type == "cpu":
        return _norm_on_cpu(grads)
    norms = torch._foreach_norm(list(grads), 2, torch.float32)  # pyright: ignore[reportPrivateImportUsage]
    return torch.linalg.vector_norm(torch.stack([whole(norm) for norm in norms]))


def _norm_on_cpu(grads: Sequence[Tensor]) -> float:
    """In the gradients' own precision, and in double only where that overflows."""
    wide = [g.coalesce().values() if g.is_sparse else g for g in grads]
    wide = [g.float() if g.dtype in HALVES else g for g in wide]  # float16 ends at 65,504
    norm = math.hypot(*(whole(torch.linalg.vector_norm(g)).item() for g in wide))
    if math.isinf(norm):
        norm = math.hypot(*(whole(torch.linalg.vector_norm(g.double())).item() for g in wide))
    return norm


def _skip_flag(request: Request, norms: Sequence[Any]) -> Any:
    """Whether this step is a no-op: known on the host (a bool), or a 0-d flag on the device."""
    skip = request.skip
    if request.skip_nonfinite:
        for norm in norms:
            if isinstance(norm, Tensor):
                skip = torch.logical_or(torch.as_tensor(skip > 0), ~torch.isfinite(norm))
            else:
                skip = skip or not math.isfinite(norm)
    if isinstance(skip, Tensor) and skip.device.type == "cpu":
        return bool(skip)
    return skip


def _clip_factor(limit: float | None, norm: Any) -> Any:
    if limit is None:
        return 1.0
    factor = limit / (norm + CLIP_EPS)
    if isinstance(factor, Tensor):
        return torch.clamp(factor, max=1.0)
    return factor if not factor > 1.0 else 1.0


def _update_group(
    group: Group,
    grads: Sequence[Tensor | None],
    factor: Any,
    limit: float | None,
    skip: Any,
    request: Request,
) -> Tensor | None:
    """Update one group's tensors; their sums (n, 4) where they are asked for."""
    active = [i for i, g in enumerate(grads) if g is not None]
    is_whole = len(active) == len(grads)
    if skip is not True and active:
        taken = 1.0 if skip is False else 1.0 - torch.as_tensor(skip).to(group.steps.dtype)
        at = slice(None) if is_whole else torch.tensor(active, device=group.steps.device)
        group.steps[at] += taken
    coefficients, scalars = _coefficients(group)
    rows = []
    keys = _keys(group) if group.rounding == "stochastic" else None
    for i, g in enumerate(grads):
        if g is None:
            rows.append(_nothing(group.params[i]))
            continue
        own = {name: _at(value, i) for name, value in coefficients.items()}
        key = None if keys is None else int(keys[i])
        g = _clipped(_plain(group, g), factor, limit, request.inverse_scale)  # noqa: PLW2901
        rows.append(_update(group, i, g, own, skip, key, is_measured=request.measure))
        for name, values in scalars.items():
            if skip is not True:
                old = group.scalars[name]
                new = values[i] if isinstance(values, Tensor) else values
                old[i] = new if skip is False else torch.where(skip, old[i], new)
    return torch.stack(rows) if request.measure and rows else None


def _clipped(g: Tensor, factor: Any, limit: float | None, scale: Any) -> Tensor:
    """The gradient times its factor, which a limit on its own norm may lower."""
    wide = g.float() if g.dtype in HALVES else g
    if limit is not None:
        own = _clip_factor(limit, abs(scale) * whole(torch.linalg.vector_norm(wide)))
        factor = factor * own
    return wide * factor


def _coefficients(group: Group) -> tuple[dict[str, Any], dict[str, Any]]:
    """The formula's coefficients and the rule's new scalars: numbers, or one a tensor, (n,)."""
    formula = group.formula
    if isinstance(formula, MatrixRule):
        return {}, {}
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


def _keys(group: Group) -> Any:
    import numpy as np

    return keys_of(group.seed, np.array(group.keys), group.steps.cpu().numpy())


def _plain(group: Group, tensor: Tensor) -> Tensor:
    """Detached from the graph, unless autograd follows; complex numbers as pairs of reals."""
    plain = tensor if group.is_differentiable else tensor.detach()
    return torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain


def _update(
    group: Group,
    i: int,
    g: Tensor,
    coefficients: dict[str, Any],
    skip: Any,
    key: int | None,
    *,
    is_measured: bool,
) -> Tensor:
    """Update one tensor; its sums of g², step², p² and of elements that are not finite, (4,)."""
    names = [*group.formula.states, *(["kahan_comp"] if group.rounding == "kahan" else [])]
    targets = [_plain(group, t) for t in (group.params[i], *(group.states[n][i] for n in names))]
    wide = torch.float64 if group.is_double or targets[0].dtype == torch.float64 else torch.float32
    old = [t.clone() if group.is_differentiable else t.to(wide) for t in targets]
    g, is_matrix = g.to(wide), isinstance(group.formula, MatrixRule)
    if is_matrix:
        g, *old = map(whole, (g, *old))
    before = [old[0] + old[-1], *old[1:-1]] if group.rounding == "kahan" else old
    if is_matrix and skip is True:
        new, step = before, torch.zeros_like(g)
    elif is_matrix:
        new, step = new_values(group, i, g, before)
    else:
        new, step = _evaluated(group, g, before, coefficients)
    if group.rounding == "kahan":
        wanted = old[-1] - step
        rounded = (old[0] + wanted).to(targets[0].dtype).to(wide)
        new = [rounded, *new[1:], wanted - (rounded - old[0])]
    if skip is not True:
        bits = None if key is None else draws(key, g.numel(), g.device)
        for k, (target, value) in enumerate(zip(targets, new, strict=True)):
            if bits is not None and target.dtype == torch.bfloat16:
                drawn = bits[: value.numel()]
                chances = 0 if k == 0 else k + 1
                value = rounded_by_chance(value.float(), drawn, chances)  # noqa: PLW2901
            value = spread_as(value, target)  # noqa: PLW2901
            kept = value if skip is False else torch.where(skip, target, value.to(target.dtype))
            target.copy_(kept)
    if not is_measured:
        return _nothing(group.params[i])
    moved = torch.zeros_like(step) if skip is True else step
    numbers = [
        (g * g).sum(),
        (moved * moved).sum(),
        (new[0] * new[0]).sum(),
        (~torch.isfinite(g)).sum(),
    ]
    return torch.stack([whole(number).double() for number in numbers])


def _evaluated(
    group: Group, g: Tensor, old: Sequence[Tensor], coefficients: dict[str, Any]
) -> tuple[list[Tensor], Tensor]:
    """(p and states, what p has lost) by an element-wise formula; old: p and its states before."""
    formula = group.formula
    assert isinstance(formula, Formula)
    states = {input_of(name): s for name, s in zip(formula.states, old[1:], strict=True)}
    known = {"p": old[0], "g": g, **coefficients, **states}
    for measure in formula.measures:
        scope = dict(known)
        evaluate(measure.lines, scope, OPERATIONS)
        sums = [whole(value_of(s, scope, OPERATIONS).sum()) for s in measure.sums]
        sizes = {"size": float(max(1, g.numel()))}
        known[measure.name] = _scale(measure, sums, sizes["size"], group.hyper)
    evaluate(formula.lines, known, OPERATIONS)
    new = [value_of(output, known, OPERATIONS) for output in formula.outputs]
    return new, value_of(formula.step, known, OPERATIONS)


def _scale(measure: Any, sums: Sequence[Tensor], size: float, hyper: Any) -> Any:
    """A measure's coefficient; the host's plain arithmetic where that costs no waiting."""
    if all(s.device.type == "cpu" and not s.requires_grad for s in sums):
        plain = {name: float(value) for name, value in hyper.items()}
        return scale_of(measure, [s.item() for s in sums], size, plain)
    program = measure.scale_program
    by_name = {f"sum{k}": value for k, value in enumerate(sums)}
    names = {**hyper, **measure.fields, **by_name, "size": size}
    known = {name: names[name] for name in program.inputs}
    evaluate(program.lines, known, OPERATIONS)
    return value_of(program.outputs[0], known, OPERATIONS)


def _nothing(like: Tensor) -> Tensor:
    return torch.zeros(4, dtype=torch.float64, device=like.device)
