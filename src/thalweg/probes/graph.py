"""Walking a graph of autograd: kinds of nodes, what lies below them, the weights at its leaves.

A graph keeps its shape after the backward pass, when its tensors are gone.
"""

from __future__ import annotations

import gc
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

PASSING = {
    *(
        "View",
        "UnsafeView",
        "ReshapeAlias",
        "Alias",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Permute",
    ),
    *("T", "Slice", "Index", "Select", "Clone", "ToCopy", "MaskedSelect", "Gather", "AsStrided"),
    *("Unbind", "Split", "SplitWithSizes", "Cat", "Stack", "Contiguous", "IndexSelect", "Expand"),
    *("Detach", "CopyBackwards", "Narrow", "Chunk", "NativeDropout", "Unflatten", "Flatten"),
}
"""Nodes that change no value."""

LAYERS = {
    *("Addmm", "Mm", "Convolution", "MkldnnConvolution", "CudnnConvolution", "Linear", "Baddbmm"),
    *("MkldnnLinear", "MkldnnRnnLayer", "CudnnRnn", "Embedding", "EmbeddingBag", "ThnnConv2D"),
    *("SlowConv2D", "ConvDepthwise2D", "MiopenConvolution", "Trilinear"),
}
"""Nodes that hold a weight."""

FLAT = ("Round", "Floor", "Ceil", "Trunc", "Sign")
"""Functions that are flat nearly everywhere, so that no gradient comes through."""

MOST_NODES = 50_000


def kind_of(node: Any) -> str:
    """ "NllLossBackward0" is "NllLoss"; a function of one's own keeps its whole name."""
    name = node.name()
    return re.sub(r"Backward\d+$", "", name) if name[-1].isdigit() else name


def below(node: Any) -> list[Any]:
    """The nodes that a node was computed from."""
    return [following for following, _ in node.next_functions if following is not None]


def shape_of(node: Any) -> tuple[int, ...]:
    """Of what the node gave."""
    return tuple(int(n) for n in node._input_metadata[0].shape) if node._input_metadata else ()


def number_in(node: Any) -> float | None:
    """What a "Mul" or "Div" multiplies by, where that is one number and still kept: the backward
    pass lets go of it.
    """
    try:
        other = node._saved_other
    except (AttributeError, RuntimeError):
        return None
    if other is None or (isinstance(other, Tensor) and other.numel() != 1):
        return None
    number = float(other)
    if kind_of(node) == "Div":
        return 1 / number if number else None
    return number


@dataclass(frozen=True, slots=True)
class Leaves:
    """What a graph ends in. depths: the least number of layers between its root and each leaf, by
    id; kinds: of the nodes seen; weights: the parameters that layers multiply by, by id
    """

    depths: dict[int, int]
    kinds: set[str]
    weights: dict[int, Tensor]

    def depth_of(self, names: Mapping[int, str]) -> dict[str, int]:
        """The same by name, of those that have one."""
        return {names[i]: depth for i, depth in self.depths.items() if i in names}


def leaves(root: Any) -> Leaves:
    """Of everything that a root was computed from.

    >>> layer = nn.Linear(3, 2)
    >>> found = leaves(layer(layer.weight).sum().grad_fn)
    >>> found.depths[id(layer.bias)], list(found.weights) == [id(layer.weight)]
    (1, True)
    """
    found = Leaves({}, set(), {})
    seen: set[Any] = set()
    waiting = deque([(root, 0)])
    while waiting and len(seen) < MOST_NODES:
        node, depth = waiting.popleft()
        if node in seen:
            continue
        seen.add(node)
        kind = kind_of(node)
        found.kinds.add(kind)
        if hasattr(node, "variable"):
            found.depths.setdefault(id(node.variable), depth)
        elif kind in LAYERS:
            found.weights.update({id(p): p for p in weights_of(node)})
            waiting.extend((following, depth + 1) for following in below(node))
        else:
            waiting.extendleft((following, depth) for following in below(node))
    return found


def weights_of(node: Any) -> list[Tensor]:
    """The matrices among the parameters of a layer's node."""
    found = []
    for following in below(node):
        leaf = following
        while kind_of(leaf) in ("T", "Transpose") and len(below(leaf)) == 1:
            leaf = below(leaf)[0]
        variable = getattr(leaf, "variable", None)
        if isinstance(variable, nn.Parameter) and variable.ndim > 1:
            found.append(variable)
    return found


def past(root: Any, weight: int) -> set[int]:
    """The ids of the leaves that are reached without going through the layers of a weight."""
    found: set[int] = set()
    seen: set[Any] = set()
    waiting = [root]
    while waiting and len(seen) < MOST_NODES:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        elif kind_of(node) not in LAYERS or all(id(p) != weight for p in weights_of(node)):
            waiting.extend(below(node))
    return found


def orphans(weights: Mapping[int, Tensor], names: Mapping[int, str]) -> int:
    """The size of those weights that nothing but their graph holds, no module, list or optimizer.
    names: of the model's; where there are others it looks at every object, some 50 ms
    """
    strangers = [p for i, p in weights.items() if i not in names]
    if not strangers:
        return 0
    held: set[int] = set()
    for holder in gc.get_referrers(*strangers):
        if holder is not weights and holder is not strangers:
            held |= {id(each) for each in gc.get_referents(holder)}
    return sum(p.numel() for p in strangers if id(p) not in held)
