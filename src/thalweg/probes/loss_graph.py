"""What a loss is made of, read from its graph: which loss, what stands before it, how deep it goes.

A graph keeps its shape after the backward pass, when its tensors are gone; so it does not matter
whether the loss is shown before or after.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from thalweg.facts import Link, LossGraph
from thalweg.probes.axes import class_axis, signed
from thalweg.probes.cosines import is_cosine
from thalweg.probes.graph import (
    FLAT,
    LAYERS,
    PASSING,
    below,
    kind_of,
    leaves,
    number_in,
    orphans,
    past,
    shape_of,
)
from thalweg.probes.margins import hinged
from thalweg.probes.scales import is_unheld
from thalweg.probes.slopes import is_cut
from thalweg.probes.squared import REDUCED, squared

LOSSES = {
    "NllLoss": "nll",
    "NllLoss2D": "nll",
    "BinaryCrossEntropyWithLogits": "bce_with_logits",
    "BinaryCrossEntropy": "bce",
    "SoftMarginLoss": "soft_margin",
    "MseLoss": "squared",
    "HuberLoss": "squared",
    "SmoothL1Loss": "squared",
    "CtcLoss": "ctc",
    "CudnnCtcLoss": "ctc",
}
"""Nodes that are losses."""

UNITS = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "log_sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "Log": "log",
    "Clamp": "clamp",
    "ClampMin": "clamp",
    "Softplus": "softplus",
    "Exp": "exp",
    "Hardtanh": "clamp",
    "HardtanhBackward": "clamp",
    "ThresholdBackward": "relu",
}
"""Nodes that say what a last layer is, in words."""

SCALING = ("Mul", "Div", "Neg", "Sub", "Rsub", "Add")
"""Nodes between a mean over samples and what is spread over them."""

NORMALISED = re.compile(r"Norm|Rsqrt|Std|Var(?!iable)")
SELF_NORMALISED = re.compile(r"^Elu|^Sin$|^Cos$")

NORMS = ("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm", "NativeLayerNorm")
"""Nodes that give values of mean 0 and deviation 1, where no weight comes in."""

TWICE = ("Softmax", "Sigmoid")
"""Units that are not applied to one of their kind."""

PICKING = ("Gather", "Index", "Squeeze", "View", "Diagonal")
"""Nodes that pick the log-probability of one class for each sample."""

MOST_IN_HEAD = 200

MANY, FEW, MOST_FEW = 5, 8, 8
"""Classes from which it is asked whether layers are too narrow for them; units of such layers; and
how many of these are looked at.
"""


def read_loss(loss: Tensor, names: Mapping[int, str], asking: Sequence[Tensor] = ()) -> LossGraph:
    """names: of the weights by id; asking: what the model was given that asks for a gradient. A
    loss without a graph reaches nothing.

    >>> import torch
    >>> net = torch.nn.Linear(3, 2)
    >>> x, y = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    >>> loss = torch.nn.functional.cross_entropy(net(x).softmax(1), y)
    >>> [link.before for link in read_loss(loss, {id(net.weight): "weight"}).links]
    ['log_softmax', 'softmax']
    """
    value = float(loss.detach().float().sum())
    if loss.grad_fn is None:
        return LossGraph(value, (), frozenset(), 0, False)
    found = leaves(loss.grad_fn)
    kinds, depth_of = found.kinds, found.depth_of(names)
    links = tuple(links_of(loss.grad_fn))
    is_normalised = any(NORMALISED.search(kind) or SELF_NORMALISED.search(kind) for kind in kinds)
    return LossGraph(
        value=value,
        links=links,
        reached=frozenset(depth_of),
        depth=max(depth_of.values(), default=0),
        is_normalised=is_normalised,
        depth_of=tuple(depth_of.items()),
        is_times_zero=is_times_zero(loss.grad_fn),
        flat=next((kind.lower() for kind in FLAT if kind in kinds), ""),
        orphans=orphans(found.weights, names),
        is_maximised=is_maximised(loss.grad_fn, value),
        is_repeated="Repeat" in kinds,
        past=past_few(loss.grad_fn, found.weights, names, FEW if is_of_classes(links) else 1),
        is_mean=getattr(loss.grad_fn, "_saved_reduction", 0) == 1,
        is_unheld=is_unheld(loss.grad_fn),
        is_slope_cut=is_cut(loss.grad_fn, names, {id(x) for x in asking}),
    )


def is_times_zero(node: Any) -> bool:
    """Was the whole of it multiplied by 0?"""
    while kind_of(node) in ("Mul", "Div") and len(below(node)) == 1:
        if number_in(node) == 0:
            return True
        node = below(node)[0]
    return False


def is_maximised(node: Any, value: float) -> bool:
    """Is it a mean of log-probabilities times a number, and that below 0 for a cross-entropy? What
    multiplies it must be known, for it may be a reward.
    """
    while shape_of(node) == () and kind_of(node) in ("Mul", "Div", "Neg") and len(below(node)) == 1:
        if kind_of(node) == "Mul" and number_in(node) is None:
            return False
        node = below(node)[0]
    if kind_of(node) in ("NllLoss", "NllLoss2D"):
        return value < 0 and name_of(first_below(node)[0]) == "log_softmax"
    if kind_of(node) not in REDUCED or shape_of(node) != () or len(below(node)) != 1:
        return False
    picked = below(node)[0]
    while kind_of(picked) in PICKING and len(below(picked)) == 1:
        is_many = math.prod(shape_of(picked)) > 1
        picked = below(picked)[0]
        if name_of(picked) == "log_softmax":
            return value < 0 and is_many
    return False


def is_of_classes(links: Sequence[Link]) -> bool:
    """Does a cross-entropy tell many classes apart?"""
    return any(link.loss in ("nll", "log_softmax") and link.width >= MANY for link in links)


def past_few(
    root: Any, weights: Mapping[int, Tensor], names: Mapping[int, str], most: int
) -> tuple[tuple[str, frozenset[str]], ...]:
    """Of each layer with few units, `most` of them, the weights that the loss reaches past it."""
    few = [i for i, p in weights.items() if i in names and min(p.shape[0], p[0].numel()) <= most]
    rows = ((names[i], past(root, i)) for i in few[:MOST_FEW])
    return tuple((name, frozenset(names[i] for i in found if i in names)) for name, found in rows)


# ------------------------------------------------------------ the head


def links_of(root: Any) -> Iterator[Link]:
    """Every loss between the root and the first layers below it, with what stands before it."""
    written = squared(root)
    if written is not None and written.is_by_hand:
        yield link("squared", *first_below(written.difference))
    for node in head_of(root):
        kind = kind_of(node)
        loss = LOSSES.get(kind)
        if loss is not None:
            yield link(loss, *first_below(node), taker=node)
        elif kind == "LogSoftmax":
            before = unclamped(first_below(node)[0])
            yield Link("log_softmax", name_of(before), width_of(node), dim_of(node))
        elif kind in TWICE and name_of(first_below(node)[0]) in (UNITS[kind], "softmax"):
            yield link(UNITS[kind], *first_below(node))
        elif hinged(node) is not None:
            yield Link("hinge", name_of(hinged(node)), width_of(node))
        elif kind in ("Exp", "Logsumexp") and name_of(first_below(node)[0]) == "cosine":
            yield Link("log_softmax", "cosine", width_of(first_below(node)[0]))
        elif kind == "Log":
            yield Link("log", name_of(first_below(node)[0]), width_of(node))
        elif kind == "Sub":
            is_all = written is not None and written.difference is node and written.is_at_once
            yield from difference(node, is_all=is_all)
            yield from poisson(node)
    yield from spread_by_hand(root)


def head_of(root: Any) -> Iterator[Any]:
    """The nodes from the loss down to the first layers, nearest first."""
    seen: set[Any] = set()
    waiting = deque([root])
    while waiting and len(seen) < MOST_IN_HEAD:
        node = waiting.popleft()
        if node in seen or kind_of(node) in LAYERS or hasattr(node, "variable"):
            continue
        seen.add(node)
        yield node
        waiting.extend(below(node))


def first_below(node: Any) -> tuple[Any, str]:
    """The first node below that changes values, and a broadcast on the way."""
    spread = ""
    nodes = below(node)
    while len(nodes) == 1 and kind_of(nodes[0]) in PASSING:
        here = nodes[0]
        nodes = below(here)
        if kind_of(here) == "Expand" and nodes:
            spread = spread or broadcast(shape_of(nodes[0]), shape_of(here))
    return (nodes[0] if nodes else None), spread


def broadcast(small: tuple[int, ...], large: tuple[int, ...]) -> str:
    """ "(8, 1) to (8, 8)" where a shape was spread over another's samples.

    >>> broadcast((8, 1, 5, 5), (8, 8, 5, 5)), broadcast((8, 3, 1), (8, 3, 4))
    ('(8, 1, 5, 5) to (8, 8, 5, 5)', '')
    """
    num = large[0] if large else 0
    if num < 2 or not small:
        return ""
    if small[0] != num:
        is_square = small == (1, num) and large == (num, num)
    elif len(small) == len(large):
        wide = [at for at, (a, b) in enumerate(zip(small, large, strict=True)) if a != b]
        is_one = len(wide) == 1 and small[wide[0]] == 1
        is_square = is_one and set(large[: wide[0] + 1]) == {num}
    else:
        is_square = large == (num, *small)
    return f"{small} to {large}" if is_square else ""


def unclamped(node: Any) -> Any:
    """What probabilities were cut off for safety, where it is such; else the node itself."""
    inner = node
    while name_of(inner) == "clamp":
        inner = first_below(inner)[0]
    return inner if name_of(inner) in ("softmax", "sigmoid") else node


def link(loss: str, node: Any, spread: str, taker: Any = None) -> Link:
    """What stands before a loss; of a log, what it is taken of. taker: the loss's own node"""
    name = name_of(node)
    softmax = node if name in ("softmax", "log_softmax") else None
    if name == "log" or (loss == "nll" and name in ("clamp", "other")):
        inner = node
        for _ in range(4):
            inner = first_below(inner)[0] if inner is not None else None
            if name_of(inner) in ("softmax", "sigmoid"):
                name = "log"
                softmax = inner if softmax is None and name_of(inner) == "softmax" else softmax
    if name == "log" and loss == "nll" and softmax is None:
        name = {"relu": "log_relu", "softplus": "log_softplus"}.get(name_of(shifted(node)), name)
    dim = None
    if softmax is not None:
        axis = class_axis(taker, softmax) if loss == "nll" else None
        dim = dim_of(softmax) if axis is None else dim_beside(softmax, axis)
    return Link(loss, name, width_of(node), dim, spread)


def shifted(log: Any) -> Any:
    """What a logarithm is taken of, with a number added or a bound set for safety."""
    inner = first_below(log)[0]
    while inner is not None and kind_of(inner) in ("Add", "Clamp", "ClampMin"):
        inner = first_below(inner)[0] if len(below(inner)) == 1 else None
    return inner


def name_of(node: Any) -> str:
    """A unit's name; "layer" for a weight's own output, "other" for what is not known."""
    if node is None:
        return "other"
    kind = kind_of(node)
    if is_cosine(node):
        return "cosine"
    if kind in NORMS and all(other is None for other, _ in node.next_functions[1:]):
        return "norm"
    return UNITS.get(kind, "layer" if kind in LAYERS or is_biased(node) else "other")


def is_biased(node: Any) -> bool:
    """Is it a layer's bias being added?"""
    kinds = [kind_of(each) for each in below(node)] if kind_of(node) == "Add" else []
    is_bias = any(hasattr(each, "variable") for each in below(node)) if kinds else False
    return is_bias and any(kind in LAYERS or kind in PASSING for kind in kinds)


def width_of(node: Any) -> int:
    """How many classes or values of a sample a node gives: its second dimension."""
    shape = shape_of(node) if node is not None else ()
    return shape[1] if len(shape) > 1 else 0


def dim_of(node: Any) -> int | None:
    """The dimension of a softmax of two dimensions where that is the samples'; else None."""
    shape = shape_of(node)
    dim = getattr(node, "_saved_dim", None)
    if dim is None or len(shape) != 2:
        return None
    return 0 if signed(dim) in (0, -2) and shape[1] > 1 else None


def dim_beside(node: Any, axis: int) -> int | None:
    """The dimension of a softmax where that is not the axis of the classes; else None."""
    shape = shape_of(node)
    dim = getattr(node, "_saved_dim", None)
    if dim is None or shape[axis] == 1:
        return None
    return None if signed(dim) % len(shape) == axis else signed(dim) % len(shape)


def difference(node: Any, *, is_all: bool) -> Iterator[Link]:
    """A difference that was spread over the samples, or `kl_div` of what is no logarithm. is_all:
    the loss is the mean of its squares or sizes, and not of distances between vectors
    """
    nodes = below(node)
    if len(nodes) != 1:
        return
    spread = broadcast(shape_of(nodes[0]), shape_of(node))
    is_meant = not is_all or kind_of(nodes[0]) == "Unsqueeze"
    if spread and (len(shape_of(node)) == 2 or not is_meant):
        yield Link("difference", name_of(nodes[0]), 0, None, spread)
    inner = nodes[0]
    is_weighted = kind_of(inner) == "Mul" and len(below(inner)) == 1
    if is_weighted and name_of(below(inner)[0]) == "softmax":
        yield Link("kl_div", "softmax", width_of(below(inner)[0]))


def poisson(node: Any) -> Iterator[Link]:
    """exp(x) - t * x, of a Poisson loss that takes logarithms, and what x is."""
    nodes = below(node)
    kinds = [kind_of(each) for each in nodes]
    if kinds != ["Exp", "Mul"] or below(nodes[0]) != below(nodes[1]):
        return
    inner = below(nodes[0])[0]
    inner = first_below(inner)[0] if kind_of(inner) in PASSING else inner
    yield Link("poisson", name_of(inner), width_of(inner))


def spread_by_hand(root: Any) -> Iterator[Link]:
    """A mean or sum over (n, n), of products of a column or row with a constant."""
    node = root
    while kind_of(node) in SCALING and shape_of(node) == () and len(below(node)) == 1:
        node = below(node)[0]
    if kind_of(node) not in REDUCED or shape_of(node) != () or len(below(node)) != 1:
        return
    waiting = below(node)
    shape = shape_of(waiting[0])
    seen: set[Any] = set()
    while waiting and len(seen) < MOST_IN_HEAD:
        node = waiting.pop()
        if node in seen or kind_of(node) not in SCALING:
            continue
        seen.add(node)
        nodes = below(node)
        spread = broadcast(shape_of(nodes[0]), shape) if len(nodes) == 1 else ""
        if kind_of(node) == "Mul" and spread and not hasattr(nodes[0], "variable"):
            yield Link("difference", name_of(nodes[0]), 0, None, spread)
            return
        waiting += [each for each in nodes if shape_of(each) == shape]
