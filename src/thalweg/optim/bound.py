"""Parameter groups bound to a backend: states made, tables built, kept until something changes.

A parameter joins when it gets its first gradient; from then on it has state, and a step in which it
has no gradient leaves it and its count alone.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg.backends.base import Group, Rounding, Runner, is_dense
from thalweg.errors import UsageError
from thalweg.rules.clips import ByNorm, Clip, PerTensor, clip_of, is_in_formula
from thalweg.rules.matrix import AnyFormula, AnyRule, fitting, formula_of, shape_of_state
from thalweg.rules.options import (
    DoubleArithmetic,
    Kahan,
    LowPrecisionState,
    MasterWeights,
    NearestRounding,
    StochasticRounding,
)

if TYPE_CHECKING:
    from thalweg.optim.optimizer import Optimizer

Grads = Sequence[Sequence[Tensor | None]]
HALVES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Members:
    """Which parameters of which parameter group a backend's group holds."""

    group: int
    indices: list[int]


@dataclass(slots=True)
class Bound:
    """What a backend was given, and how to tell that it no longer fits."""

    groups: list[Group]
    members: list[Members]
    params: list[list[Tensor]]
    signatures: list[tuple[Any, ...]]
    is_whole: bool
    runner: Runner
    limits: list[float | None]
    per_tensor: list[float | None]
    skips_nonfinite: bool

    def fits(self, optimizer: Optimizer, grads: Grads) -> bool:
        """Are parameters, their memory, settings and the members still those of the table?"""
        settings = optimizer.param_groups
        if len(settings) != len(self.params) or not self.runner.is_current():
            return False
        for held, group, signature in zip(self.params, settings, self.signatures, strict=True):
            params = group["params"]
            if (
                len(held) != len(params)
                or not all(map(operator.is_, held, params))
                or signature_of(optimizer, group) != signature
            ):
                return False
        return self.is_whole or not self._has_newcomer(grads)

    def _has_newcomer(self, grads: Grads) -> bool:
        known = [set[int]() for _ in self.params]
        for members in self.members:
            known[members.group].update(members.indices)
        return any(
            g is not None and i not in known[k]
            for k, given in enumerate(grads)
            for i, g in enumerate(given)
        )

    def refresh(self, optimizer: Optimizer) -> None:
        """Give every group this step's hyperparameters."""
        for group, members in zip(self.groups, self.members, strict=True):
            settings = optimizer.param_groups[members.group]
            if not settings.get("train_mode", True):
                raise UsageError(
                    "a step was asked for while the parameters show their averages: "
                    "call optimizer.train() first"
                )
            group.hyper = _hyper(group.formula.rule, settings, group.params[0])
            group.sign = -1.0 if settings["maximize"] else 1.0

    def picked(self, grads: Grads) -> Grads:
        """The gradients of each group's members."""
        if self.is_whole and len(self.members) == len(grads):
            return grads
        return [[grads[m.group][i] for i in m.indices] for m in self.members]

    def statistics(self) -> list[dict[str, float]]:
        """What the last step measured, parameter by parameter."""
        place = {}
        for members, rows in zip(self.members, self.runner.per_tensor(), strict=True):
            for i, row in zip(members.indices, rows.tolist(), strict=True):
                place[members.group, i] = row
        return [
            {
                "gradient_norm": place[key][0] ** 0.5,
                "update_norm": place[key][1] ** 0.5,
                "parameter_norm": place[key][2] ** 0.5,
                "num_nonfinite": place[key][3],
            }
            for key in sorted(place)
        ]


def signature_of(optimizer: Optimizer, settings: dict[str, Any]) -> tuple[Any, ...]:
    """All settings that decide which kernel runs a group, and what it shares with others."""
    names = ("options", "clip", "seed", "skip_nonfinite", "differentiable", "fused", "foreach")
    return (optimizer.rule_of(settings), *map(settings.__getitem__, names))


def bind(optimizer: Optimizer, grads: Grads) -> Bound:
    """Make the states that are missing, and build the tables of all that has or had a gradient."""
    with torch.set_grad_enabled(bool(optimizer.defaults["differentiable"])):
        return _bind(optimizer, grads)


def _bind(optimizer: Optimizer, grads: Grads) -> Bound:
    settings = optimizer.param_groups
    segments: dict[Clip | None, int] = {}
    groups: list[Group] = []
    members: list[Members] = []
    num_joined = 0
    for k, (group, given) in enumerate(zip(settings, grads, strict=True)):
        joined = [
            i
            for i, p in enumerate(group["params"])
            if given[i] is not None or optimizer.state.get(p)
        ]
        num_joined += len(joined)
        _check_shapes(group["params"], given)
        clip = clip_of(group["clip"])
        segment = segments.setdefault(None if is_in_formula(clip) else clip, len(segments))
        formula = formula_of(optimizer.rule_of(group), _in_formula(group, clip))
        for indices, fitted in _alike(optimizer, group, joined, formula):
            groups.append(_group(optimizer, k, indices, fitted, segment))
            members.append(Members(k, indices))
    backend, _ = optimizer.backend_and_reason
    return Bound(
        groups=groups,
        members=members,
        params=[list(group["params"]) for group in settings],
        signatures=[signature_of(optimizer, group) for group in settings],
        is_whole=num_joined == sum(len(group["params"]) for group in settings),
        runner=backend.bind(groups),
        limits=[clip.limit if isinstance(clip, ByNorm) else None for clip in segments],
        per_tensor=[clip.limit if isinstance(clip, PerTensor) else None for clip in segments],
        skips_nonfinite=any(group["skip_nonfinite"] for group in settings),
    )


def _check_shapes(params: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
    """Raise UsageError where a gradient has not its parameter's shape: kernels read by address.

    Enough once: torch checks it whenever a gradient is set, and other memory binds anew.
    """
    for p, g in zip(params, grads, strict=True):
        if g is not None and g.shape != p.shape:
            raise UsageError(
                f"a parameter of shape {tuple(p.shape)} has a gradient of shape {tuple(g.shape)}: "
                "call zero_grad() after changing a parameter's data"
            )


def _in_formula(settings: dict[str, Any], clip: Clip | None) -> tuple[Any, ...]:
    """The options that become part of the formula."""
    options = tuple(settings["options"])
    return (*options, clip) if is_in_formula(clip) else options


def _alike(
    optimizer: Optimizer, settings: dict[str, Any], joined: list[int], formula: AnyFormula
) -> list[tuple[list[int], AnyFormula]]:
    """The indices of a group's parameters, those with the same types on one device together, and
    the formula that fits them."""
    alike: dict[Any, tuple[list[int], AnyFormula]] = {}
    for i in joined:
        p = settings["params"][i]
        state = optimizer.state.get(p, {})
        fitted = fitting(formula, p.shape, is_complex=p.is_complex())
        kept = tuple(state[n].dtype for n in fitted.states if isinstance(state.get(n), Tensor))
        alike.setdefault((p.device, p.dtype, fitted, kept), ([], fitted))[0].append(i)
    return list(alike.values())


def _group(
    optimizer: Optimizer, k: int, indices: list[int], formula: AnyFormula, segment: int
) -> Group:
    """One backend group: the parameters at `indices` of parameter group k, with their states."""
    settings = optimizer.param_groups[k]
    params: list[Tensor] = [settings["params"][i] for i in indices]
    rounding = _rounding(params[0], settings["options"])
    shows_steps = formula.rule.counts_steps or rounding == "stochastic"
    counts = [_count(optimizer.state.get(p, {})) for p in params]
    steps = torch.tensor(counts, dtype=torch.float32, device=params[0].device)
    hyper = formula.rule.spread(settings)
    scalars = {
        name: _running(optimizer, params, name, first)
        for name, first in formula.rule.first_scalars(hyper).items()
    }
    for i, p in enumerate(params):
        entries = dict(optimizer.state.get(p, {}))
        wide = torch.promote_types(p.dtype, torch.float32)
        if shows_steps:
            entries["step"] = steps[i]
        for name, values in scalars.items():
            entries[name] = values[i]
        for name in formula.states:
            start = formula.starts_at.get(name)
            first = p if start == "p" else 0.0 if start is None else hyper[start]
            options = () if start == "p" else settings["options"]  # it is weights, not state
            dtype = wide if rounding == "master" else _state_dtype(p, formula.rule, options)
            like = _of_shape(p, shape_of_state(formula, name, p.shape))
            entries[name] = _state(like, entries.get(name), first, dtype)
        if rounding == "kahan":
            entries["kahan_comp"] = _state(p, entries.get("kahan_comp"), 0.0, p.dtype)
        if rounding == "master":
            entries["master"] = _state(p, entries.get("master"), p, wide)
        if entries:
            optimizer.state[p] = entries
    group = Group(
        formula=formula,
        params=params,
        states={},
        steps=steps,
        scalars=scalars,
        keys=[_key(settings, k, i) for i in indices],
        seed=settings["seed"],
        rounding=rounding,
        segment=segment,
        is_double=any(isinstance(o, DoubleArithmetic) for o in settings["options"]),
        is_differentiable=settings["differentiable"],
    )
    group.states = {n: [optimizer.state[p][n] for p in params] for n in group.state_names}
    return group


def _count(state: dict[str, Any]) -> float:
    """The updates so far; where the state does not say, whether there were any."""
    return float(state["step"]) if "step" in state else float(bool(state))


def _running(optimizer: Optimizer, params: Sequence[Tensor], name: str, first: float) -> Tensor:
    """A running scalar of each parameter, as one flat float64 tensor."""
    values = [float(optimizer.state.get(p, {}).get(name, first)) for p in params]
    device = params[0].device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    return torch.tensor(values, dtype=dtype, device=device)


def _state(p: Tensor, kept: Any, first: Tensor | float, dtype: torch.dtype) -> Tensor:
    """A state in the layout of its parameter: the one that was kept, or a new one."""
    if isinstance(kept, Tensor):
        if kept.shape != p.shape:
            raise UsageError(
                f"a state of shape {tuple(kept.shape)} was loaded for a parameter of shape "
                f"{tuple(p.shape)}: this state dict belongs to another model"
            )
        if kept.stride() == p.stride() or not is_dense(p):
            return kept if is_dense(p) or kept.is_contiguous() else kept.contiguous()
        return torch.empty_like(p, dtype=kept.dtype).copy_(kept)
    fresh = torch.zeros_like(p, dtype=dtype, requires_grad=False)
    if isinstance(first, Tensor):
        fresh.copy_(first)
    elif first:
        fresh.fill_(first)
    return fresh.contiguous() if not is_dense(p) else fresh


def _of_shape(p: Tensor, shape: Sequence[int]) -> Tensor:
    """The parameter, or where the shape is another one an empty tensor of its kind."""
    return p if tuple(shape) == tuple(p.shape) else p.new_empty(shape)


def _state_dtype(p: Tensor, rule: AnyRule, options: Sequence[Any]) -> torch.dtype:
    """How a parameter's states are stored: as itself; float16, too short a range, as float32."""
    if rule.cancels:
        return torch.promote_types(p.dtype, torch.float32)
    if any(isinstance(option, LowPrecisionState) for option in options):
        return torch.bfloat16
    return torch.float32 if p.dtype == torch.float16 else p.dtype


def _rounding(p: Tensor, options: Sequence[Any]) -> Rounding:
    for option in options:
        if isinstance(option, Kahan):
            return "kahan"
        if isinstance(option, MasterWeights):
            return "master" if p.dtype in HALVES else "nearest"
        if isinstance(option, NearestRounding):
            return "nearest"
        if isinstance(option, StochasticRounding | LowPrecisionState):
            return "stochastic"
    return "stochastic" if p.dtype == torch.bfloat16 else "nearest"


def _key(settings: dict[str, Any], k: int, i: int) -> int:
    """A number that names a parameter: from its name, else from its place."""
    names = settings.get("param_names")
    text = names[i] if names else f"{k}.{i}"
    number = 0xCBF29CE484222325
    for byte in text.encode():
        number = ((number ^ byte) * 0x100000001B3) & 0x7FFFFFFFFFFFFFFF
    return number


def _hyper(rule: AnyRule, settings: dict[str, Any], like: Tensor) -> dict[str, Any]:
    """This step's hyperparameters: numbers, unless a tensor lives where the parameters do."""
    hyper = rule.spread(settings)
    lr = hyper["lr"]
    if isinstance(lr, Tensor) and not (settings["differentiable"] or lr.device.type != "cpu"):
        hyper["lr"] = lr.item()
    return hyper
