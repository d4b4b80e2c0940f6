"""Weights that a model uses and does not own: in lists, dictionaries, attributes and functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import CellType, FunctionType
from typing import Any

from torch import Tensor, nn

from thalweg.probes.graph import LAYERS, below, kind_of

MOST_ITEMS = 256
"""Items of a container that are looked at."""

DEPTH = 3
"""Containers and plain objects within each other."""

MOST_NODES = 8
"""Of the graph of a tensor that is to be a parameter."""

EMPTY = CellType()

OWN = {"_parameters", "_buffers", "_modules", "__dict__"}


@dataclass(frozen=True, slots=True)
class Found:
    """What sits beside the model. where: the attribute; module: None for a bare tensor
    is_in_function: the attribute is a function that uses it
    """

    where: str
    module: nn.Module | None
    parameters: tuple[Tensor, ...]
    is_in_function: bool = False


def find_outsiders(model: nn.Module) -> list[Found]:
    """Modules and trainable tensors that attributes hold and the model does not.

    Only `vars` are read: no property runs. Attributes of one kind in one list are one finding; what
    wraps the model's own weights is none.

    >>> net = nn.Sequential(nn.Linear(2, 2))
    >>> net.more = [nn.Linear(2, 2), nn.Linear(2, 2)]
    >>> [(each.where, len(each.parameters)) for each in find_outsiders(net)]
    [('more', 4)]
    """
    own = {id(p) for p in model.parameters()}
    known = {id(m) for m in model.modules()} | own
    found: dict[str, list[Any]] = {}
    functions: set[str] = set()
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in OWN or key.startswith("_forward") or key.startswith("_backward"):
                continue
            where = f"{name}.{key}" if name else key
            if isinstance(value, FunctionType | partial):
                functions.add(where)
            for item in _inside(value, DEPTH, set()):
                if id(item) not in known:
                    known.add(id(item))
                    found.setdefault(where, []).append(item)
    joined = (_joined(where, items, own, where in functions) for where, items in found.items())
    return [each for each in joined if each.parameters]


def _inside(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """Modules and trainable leaves in a value, its containers and plain objects."""
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, Tensor):
        if value.requires_grad and (value.is_leaf or _is_moved(value)):
            yield value
        elif value.requires_grad:
            yield from _parameters_of(value)
    elif depth > 0 and id(value) not in seen:
        seen.add(id(value))
        for item in _items(value):
            yield from _inside(item, depth - 1, seen)


def _is_moved(tensor: Tensor) -> bool:
    """Is it a parameter that `.to` or `.cuda` has made a computed tensor of?"""
    node = tensor.grad_fn
    return node is not None and node.name().startswith(("ToCopy", "CopyBackwards"))


def _parameters_of(tensor: Tensor) -> Iterator[Tensor]:
    """Of a tensor computed from parameters when the model was made, such as nn.Parameter(...) * 2:
    these. Of what layers gave there are none.
    """
    waiting, found = [tensor.grad_fn], []
    for _ in range(MOST_NODES):
        node = waiting.pop() if waiting else None
        if node is None:
            break
        if kind_of(node) in LAYERS:
            return
        leaf = getattr(node, "variable", None)
        found += [] if leaf is None else [leaf]
        waiting += below(node)
    if not waiting and all(isinstance(each, nn.Parameter) for each in found):
        yield from found


def _items(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | set):
        return list(islice(value, MOST_ITEMS))
    if isinstance(value, dict):  # another mapping may read from a disk
        return list(islice(value.values(), MOST_ITEMS))
    if isinstance(value, FunctionType):
        return [cell.cell_contents for cell in value.__closure__ or () if cell != EMPTY]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    is_plain = hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value)
    home = type(value).__module__.partition(".")[0]
    return list(vars(value).values())[:MOST_ITEMS] if is_plain and home != "torch" else []


def _joined(where: str, items: list[Any], own: set[int], is_in_function: bool) -> Found:
    """What was found in one place. own: weights that the model has all the same"""
    modules = [item for item in items if isinstance(item, nn.Module)]
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    parameters += [item for item in items if isinstance(item, Tensor)]
    others = tuple(p for p in parameters if id(p) not in own)
    return Found(where, modules[0] if modules else None, others, is_in_function)
