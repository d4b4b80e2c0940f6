"""A model and its optimizers before the first step: who holds which weight, and how it began."""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.facts import Initial, Outsider, Setup, Weight
from thalweg.probes.outsiders import Found, find_outsiders

STOCHASTIC = (
    nn.modules.dropout._DropoutNd,
    nn.modules.batchnorm._BatchNorm,
)
"""Modules that act otherwise in training."""

SPREAD_OUT = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear)
"""Modules whose weights have inputs and units."""

LEAST_DRAWN, LEAST_FRESH = 64, 256
"""Values that it takes to tell how a weight was drawn, and, whatever way that was, that nothing was
done to it since.
"""


def setup(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> Setup:
    """What can be said before anything ran; costs a pass over the weights.

    >>> net = torch.nn.Linear(8, 8)
    >>> setup(net, [torch.optim.SGD([net.bias], lr=0.1)]).weights[0].is_held
    False
    """
    own = owners(model)
    held = held_by(optimizers)
    strangers = [p for i, p in held.items() if i not in own]
    rows = [weight_of(p, *own[id(p)], id(p) in held) for p in unique(model)]
    paces = paces_of(optimizers)
    rows = [
        replace(w, pace=paces.get(id(p), 1.0)) for p, w in zip(unique(model), rows, strict=True)
    ]
    copies = Counter((w.inputs, w.units, w.gain) for w in rows if w.is_fresh)
    weights = tuple(
        replace(w, is_fresh=w.is_fresh and copies[w.inputs, w.units, w.gain] == 1) for w in rows
    )
    found = find_outsiders(model)
    beside = {id(p) for outsider in found for p in outsider.parameters}
    strangers = [p for p in strangers if id(p) not in beside]
    missing = [p for p in unique(model) if p.requires_grad and id(p) not in held]
    return Setup(
        weights=weights,
        foreign=sum(p.numel() for p in strangers),
        foreign_tensors=len(strangers),
        num_masters=num_masters(strangers, missing),
        foreign_reached=any(p.grad is not None for p in strangers),
        outsiders=tuple(outsider_of(each, held) for each in found),
        sensitive=tuple(sensitive(model)),
        optimizer=type(optimizers[0]).__name__ if optimizers else "",
        dropouts=tuple(dropouts(model)),
        unmeasured=tuple(unmeasured(model)),
        momentum=max((momentum_of(g) for o in optimizers for g in o.param_groups), default=0.0),
    )


def unique(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that hold memory, tied ones once."""
    for p in model.parameters():
        if not isinstance(p, nn.parameter.UninitializedParameter):
            yield p


def owners(model: nn.Module) -> dict[int, tuple[str, str, nn.Module]]:
    """Each parameter's name, its module's name, and the module, by id."""
    found: dict[int, tuple[str, str, nn.Module]] = {}
    for module_name, module in model.named_modules():
        for name, p in module._parameters.items():
            if p is not None and id(p) not in found:
                path = f"{module_name}.{name}" if module_name else name
                found[id(p)] = plain(path), plain(module_name), module
    return found


def plain(name: str) -> str:
    """A qualified name without what wrappers put into it."""
    wrappers = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
    return ".".join(part for part in name.split(".") if part not in wrappers)


def held_by(optimizers: Iterable[torch.optim.Optimizer]) -> dict[int, Tensor]:
    """Every parameter of the groups, by id."""
    return {id(p): p for o in optimizers for g in o.param_groups for p in g["params"]}


def other_optimizers(known: Sequence[torch.optim.Optimizer]) -> list[torch.optim.Optimizer]:
    """Optimizers that are alive and not among the known; looks at every object, some 50 ms."""
    mine = {id(o) for o in known}
    kinds = torch.optim.Optimizer
    return [o for o in gc.get_objects() if issubclass(type(o), kinds) and id(o) not in mine]


def num_masters(strangers: list[Tensor], missing: list[nn.Parameter]) -> int:
    """Strangers in a wide type whose twin in the model is narrow."""
    narrow = Counter(tuple(p.shape) for p in missing if p.itemsize < 4)
    wide = Counter(tuple(p.shape) for p in strangers if p.itemsize >= 4)
    return (narrow & wide).total()


def outsider_of(found: Found, held: dict[int, Tensor]) -> Outsider:
    """What sits beside the model, before anything ran."""
    size = sum(p.numel() for p in found.parameters)
    is_held = any(id(p) in held for p in found.parameters)
    return Outsider(found.where, size, is_held, is_in_function=found.is_in_function)


def sensitive(model: nn.Module) -> Iterator[str]:
    """Names of the modules that act otherwise in training."""
    for name, module in model.named_modules():
        with_dropout = isinstance(module, nn.MultiheadAttention | nn.RNNBase)
        share = module.dropout if with_dropout else getattr(module, "p", 1.0)
        if (with_dropout or isinstance(module, STOCHASTIC)) and share > 0:
            yield plain(name)


def dropouts(model: nn.Module) -> Iterator[tuple[str, float]]:
    """Names of the dropout modules, and the share that each drops."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            yield plain(name), float(module.p)


@torch.no_grad()
def unmeasured(model: nn.Module) -> Iterator[str]:
    """Names of the batch norms that have not measured anything yet."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            mean, variance = module.running_mean, module.running_var
            if mean.is_meta or variance is None:
                continue
            if not mean.any() and bool((variance == 1).all()):
                yield plain(name)


@torch.no_grad()
def weight_of(
    p: nn.Parameter, name: str, module_name: str, module: nn.Module, held: bool
) -> Weight:
    """A parameter as it begins."""
    inputs, units = fans(p, module)
    is_looked_at = p.ndim > 1 and p.numel() > 1 and p.is_floating_point()
    values = some(p) if is_looked_at and p.device.type != "meta" else None
    begun = "" if values is None else initial(values)
    is_turned = is_turn(p, module)
    is_known = inputs > 0 or is_table(p, module) or is_turned
    is_bare = p.ndim == 2 and type(module).__module__.partition(".")[0] != "torch"
    width = p.shape[1] if is_turned else (p.shape[0] if is_bare else inputs)
    return Weight(
        name=name,
        module=module_name,
        kind=type(module).__name__,
        size=p.numel(),
        dtype=str(p.dtype).removeprefix("torch."),
        is_trainable=p.requires_grad,
        is_held=held,
        inputs=inputs,
        units=units,
        initial=begun if is_known or begun == "zero" else "",
        gain=gain(values, width) if values is not None and width else 1.0,
        is_fresh=values is not None and (inputs > 0 or is_bare) and is_fresh(values, inputs),
        centre=centre(values) if values is not None and inputs > 0 else 0.0,
    )


def fans(p: Tensor, module: nn.Module) -> tuple[int, int]:
    """Inputs and units of a weight; zeros where it is no matrix. A table has no inputs."""
    if is_table(p, module):
        return 0, p.shape[1]
    if not isinstance(module, SPREAD_OUT) or p.ndim < 2 or not p.is_floating_point():
        return 0, 0
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return p.shape[0] * p[0, 0].numel(), p.shape[1]
    return p[0].numel(), p.shape[0]


def is_table(p: Tensor, module: nn.Module) -> bool:
    """Is it an embedding's? It has no inputs, and may be large."""
    return isinstance(module, nn.Embedding) and p.ndim > 1


def is_turn(p: Tensor, module: nn.Module) -> bool:
    """Is it what a recurrent layer multiplies its state by, from step to step?"""
    if not isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return False
    return any(each is p and "weight_hh" in name for name, each in module._parameters.items())


def some(p: Tensor) -> Tensor:
    """At most 256 rows and 1,024 columns of a weight, in float64 on the CPU."""
    rows = p.detach().flatten(1)
    steps = -(-rows.shape[0] // 256), -(-rows.shape[1] // 1024)
    return rows[:: steps[0], :: steps[1]].double().cpu()


def initial(rows: Tensor) -> Initial:
    """How a weight began."""
    low, high = float(rows.min()), float(rows.max())
    if low == high:
        return "zero" if low == 0 else "constant"
    return "drawn" if is_drawn(rows) else ""


def is_drawn(rows: Tensor) -> bool:
    """Are the elements alike, as drawn from one distribution? Trained weights have strong and weak
    units and inputs: their mean squares differ by more than chance.
    """
    if min(rows.shape) < 4 or rows.numel() < LEAST_DRAWN:
        return False
    squares = rows.square()
    size = float(squares.mean())
    tail = float(squares.square().mean()) / size**2
    if tail > 4.5:
        return False
    within = []
    for dim in (0, 1):
        expected = (tail - 1) / rows.shape[dim]
        within.append(float((squares.mean(dim) / size).var()) < 2.0 * expected + 1e-6)
    return all(within)


def is_fresh(rows: Tensor, inputs: int) -> bool:
    """Are the values just drawn: evenly between two sharp bounds, or from a normal curve? Training
    blurs the bounds, and makes the tails of the curve heavier. Few values must be drawn as torch
    does, up to 1 / sqrt(inputs).

    >>> _ = torch.manual_seed(0)
    >>> layer = nn.Linear(32, 32)
    >>> is_fresh(some(layer.weight), 32), is_fresh(some(layer.weight) ** 5, 32)
    (True, False)
    """
    is_one = float(rows.min()) == float(rows.max())
    if is_one or not is_drawn(rows):
        return False
    if rows.numel() < LEAST_FRESH and not 0.9 < float(rows.abs().max()) * inputs**0.5 < 1.0001:
        return False
    num, size = rows.numel(), float(rows.square().mean())
    tail = float(rows.pow(4).mean()) / size**2
    edge = float(rows.abs().max()) ** 2 / (3 * size)
    is_even = abs(tail - 1.8) < 4 * 1.5 / num**0.5 and abs(edge - 1) < 4 / num**0.5
    is_centred = abs(float(rows.mean())) < 4 * (size / num) ** 0.5
    is_normal = abs(tail - 3) < 4 * (24 / num) ** 0.5 and edge > 1.5
    return is_centred and (is_even or is_normal)


def gain(rows: Tensor, inputs: int) -> float:
    """Variance x inputs; 0 for a weight that is all zero."""
    found = float(rows.square().mean()) * inputs
    return found if math.isfinite(found) else math.inf


def centre(rows: Tensor) -> float:
    """The mean by the root mean square; 0 where that is no number."""
    found = float(rows.mean() / rows.square().mean().sqrt())
    return found if math.isfinite(found) else 0.0


def paces_of(optimizers: Sequence[torch.optim.Optimizer]) -> dict[int, float]:
    """The rate of each parameter by the largest of its optimizer's groups, by id."""
    found: dict[int, float] = {}
    for optimizer in optimizers:
        rates = [float(group.get("lr", 1.0)) for group in optimizer.param_groups]
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            share = rate / max(rates) if max(rates) > 0 else 1.0
            found |= dict.fromkeys(map(id, group["params"]), share)
    return found


def resting(optimizers: Sequence[torch.optim.Optimizer]) -> set[int]:
    """The ids of what stands in groups whose rate is 0, and was so at the start of a schedule."""
    return {
        id(p)
        for optimizer in optimizers
        for group in optimizer.param_groups
        if float(group.get("lr", 1.0)) == 0 and float(group.get("initial_lr", 0.0)) == 0
        for p in group["params"]
    }


def momentum_of(group: dict[str, Any]) -> float:
    """What a group keeps of its mean gradient from step to step; 0 where that is not a number."""
    kept = group["betas"][0] if group.get("betas") else group.get("momentum", 0.0)
    return float(kept) if isinstance(kept, int | float) else 0.0


def rates_of(optimizers: Sequence[torch.optim.Optimizer]) -> tuple[float, float]:
    """The largest rate of the groups, and of those that a schedule began with."""
    now = [float(g.get("lr", 0.0)) for o in optimizers for g in o.param_groups]
    peak = [float(g.get("initial_lr", 0.0)) for o in optimizers for g in o.param_groups]
    return max(now, default=0.0), max([*now, *peak], default=0.0)
