"""The tree that a state is: taken apart for a file, and put together again.

A `Tree` is a dict (keys text or int64), list, tuple, text, int, float, bool, None, bytes, or dense
torch tensor. `pack` splits one into a structure that JSON can hold and named tensors, `unpack`
gives it back to the bit. In the structure plain values stand for themselves, a list is an array,
and everything else is an object with one key that says what it is:

    {"dict": {key: ...}}     {"pairs": [[key, ...], ...]}     a dict, with text keys or with others
    {"tuple": [...]}         {"int": "0x..."}                 beyond 64 bits
    {"float": "NaN"}         {"tensor": name, "order": [...]} its dimensions from the slowest on
    {"bytes": name}                                           a tensor of uint8
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import RunError, UsageError
from thalweg.state.careful import MOST_JSON, shown
from thalweg.state.shard import CODES

_KINDS = "dict, list, tuple, str, int, float, bool, None, bytes and dense tensors"

MOST_LEVELS = 64
"""Of containers inside each other: states have some 10; a list that holds itself has no end."""

_INT64 = range(-(1 << 63), 1 << 63)
_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_RESERVED = "__metadata__"  # of the safetensors format

Tree = Any
"""dict[str | int, Tree] | list[Tree] | tuple[Tree, ...] | str | int | float | bool | None | bytes
| Tensor"""


@dataclass(frozen=True, slots=True)
class Packed:
    """A tree taken apart.

    structure: what JSON holds, with the tensors' names in their places
    tensors: by qualified name, each memory once, not copied
    aliases: name -> name in `tensors`, for a tensor that is tied to another
    """

    structure: Any
    tensors: dict[str, Tensor] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


def pack(tree: Tree) -> Packed:
    """The tree as a structure and named tensors; nothing is copied.

    A tensor's name is its path: `phases.main.model.layers.0.weight`. Tensors of one memory, shape,
    strides and dtype are stored once. Parameters come back as tensors and OrderedDicts as dicts;
    strides that are an order of the dimensions are kept, others come back contiguous. Raises
    UsageError where something in the tree is none of these types, and names it by its path.

    >>> pack({"lr": 0.1, "weight": torch.ones(2)})
    Packed(structure={'dict': {'lr': 0.1, 'weight': {'tensor': 'weight'}}}, \
tensors={'weight': tensor([1., 1.])}, aliases={})
    """
    packer = _Packer()
    return Packed(packer.structure(tree, "", 0), packer.tensors, packer.aliases)


def unpack(packed: Packed) -> Tree:
    """The tree that was packed. Raises RunError where a structure is none that `pack` makes.

    Tied tensors come back as one object. The tensors are those of `packed`, not copies.

    >>> unpack(pack({0: [True, 1, 1.0, -0.0, (float("inf"), None)]}))
    {0: [True, 1, 1.0, -0.0, (inf, None)]}
    """
    unpacker = _Unpacker(packed)
    tree = unpacker.tree(packed.structure, "", 0)
    unpacker.check_all_used()
    return tree


def check(tree: Tree) -> None:
    """Raises UsageError where a tree cannot be saved; to be asked when a run starts."""
    size = len(json.dumps(pack(tree).structure))
    if size > MOST_JSON // 4:  # the tensors' names come twice more, in the tables beside it
        raise UsageError(
            f"the state has {size} bytes of text, numbers and names, and a checkpoint takes "
            f"{MOST_JSON // 4}: keep long lists as tensors"
        )


def clone(tree: Tree) -> Tree:
    """The tree with tensors of its own, on the same devices; ties stay ties."""
    packed = pack(tree)
    return unpack(replace(packed, tensors={k: t.clone() for k, t in packed.tensors.items()}))


class _Packer:
    """Walks a tree once."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.aliases: dict[str, str] = {}
        self._stored: dict[tuple[Any, ...], str] = {}

    def structure(self, value: Tree, path: str, level: int) -> Any:
        if level > MOST_LEVELS:
            raise UsageError(
                f"{_at(path)} lies more than {MOST_LEVELS} levels deep, which no checkpoint holds: "
                "make the state flatter (does a list hold itself?)"
            )
        pack_one = _PACKERS.get(type(value))
        if pack_one is None:
            raise UsageError(
                f"{_at(path)} is of type {_type_name(value)}, which no checkpoint holds: "
                f"there are {_KINDS}; make it one of them, or leave it out of the state"
            )
        return pack_one(self, value, path, level)

    def of_items(self, values: list[Tree] | tuple[Tree, ...], path: str, level: int) -> list[Any]:
        return [self.structure(value, _below(path, i), level + 1) for i, value in enumerate(values)]

    def of_dict(self, values: dict[Any, Tree], path: str, level: int) -> dict[str, Any]:
        for key in values:
            if type(key) is not str and not (type(key) is int and key in _INT64):
                raise UsageError(
                    f"{_at(path)} has the key {shown(key)} of type {_type_name(key)}: "
                    "keys in a checkpoint are text, or integers of 64 bits"
                )
        packed = {k: self.structure(v, _below(path, k), level + 1) for k, v in values.items()}
        if all(type(key) is str for key in packed):
            return {"dict": packed}
        return {"pairs": [[key, value] for key, value in packed.items()]}

    def of_tensor(self, value: Tensor, path: str, level: int) -> dict[str, Any]:
        _refuse_unstorable(value, path)
        value = value.detach()
        name = self._name(path)
        known = self._stored.setdefault(_memory(value) or (name,), name)
        if known == name:
            self.tensors[name] = value
        else:
            self.aliases[name] = known
        order = _order(value)
        return {"tensor": name} | ({"order": order} if order else {})

    def of_bytes(self, value: bytes, path: str, level: int) -> dict[str, Any]:
        name = self._name(path)
        held = torch.frombuffer(bytearray(value), dtype=torch.uint8) if value else torch.empty(0)
        self.tensors[name] = held.to(torch.uint8)
        return {"bytes": name}

    def _name(self, path: str) -> str:
        """The path, made unique: {"a": {"b": x}, "a.b": y} has one path twice."""
        plain = path.encode(errors="replace").decode() or "tree"  # half a surrogate pair: "?"
        name, number = plain, 1
        while name in self.tensors or name in self.aliases or name == _RESERVED:
            number += 1
            name = f"{plain}#{number}"
        return name


def _int(packer: _Packer, value: int, path: str, level: int) -> Any:
    return value if value in _INT64 else {"int": hex(value)}


def _float(packer: _Packer, value: float, path: str, level: int) -> Any:
    if math.isfinite(value):
        return value
    return {"float": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _same(packer: _Packer, value: Any, path: str, level: int) -> Any:
    return value


def _tuple(packer: _Packer, value: tuple[Tree, ...], path: str, level: int) -> Any:
    return {"tuple": packer.of_items(value, path, level)}


_PACKERS: dict[type, Callable[[_Packer, Any, str, int], Any]] = {
    dict: _Packer.of_dict,
    OrderedDict: _Packer.of_dict,
    list: _Packer.of_items,
    tuple: _tuple,
    str: _same,
    bool: _same,
    type(None): _same,
    int: _int,
    float: _float,
    bytes: _Packer.of_bytes,
    Tensor: _Packer.of_tensor,
    nn.Parameter: _Packer.of_tensor,
}
"""By exact type: a subclass (an enum, a NumPy number, a distributed tensor) would come back as
something else."""


def _refuse_unstorable(value: Tensor, path: str) -> None:
    what = ""
    if value.layout is not torch.strided or value.is_nested:
        what = "a nested tensor" if value.is_nested else f"of layout {value.layout}"
    elif value.device.type == "meta":
        what = "without values (device meta)"
    elif value.dtype not in CODES:
        what = f"of {value.dtype}"
    if what:
        raise UsageError(
            f"{_at(path)} is a tensor {what}, which no checkpoint holds: make it a dense tensor "
            "of a dtype that safetensors knows, or leave it out of the state"
        )


def _memory(value: Tensor) -> tuple[Any, ...] | None:
    """What two tied tensors have in common; None for an empty one, which shares nothing."""
    if not value.numel():
        return None
    place = (value.device, value.data_ptr(), value.shape, value.stride(), value.dtype)
    return (*place, value.is_conj(), value.is_neg())  # lazy signs: one memory, other values


def _order(value: Tensor) -> list[int] | None:
    """Dimensions from the slowest to the fastest in memory; None: as they are, or no such order."""
    if value.is_contiguous():
        return None
    order = sorted(range(value.ndim), key=lambda i: (-value.stride(i), i))
    return order if value.permute(order).is_contiguous() else None


class _Unpacker:
    """Builds a tree, and believes nothing."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed
        self._used: set[str] = set()
        self._made: dict[tuple[Any, ...], Tensor] = {}

    def tree(self, value: Any, path: str, level: int) -> Tree:
        if level > MOST_LEVELS:
            raise RunError(f"{_at(path)} lies more than {MOST_LEVELS} levels deep")
        if isinstance(value, list):
            return [self.tree(item, _below(path, i), level + 1) for i, item in enumerate(value)]
        if not isinstance(value, dict):
            return _plain(value, path)
        kind = next(iter(value), "nothing")
        unpack_one = _UNPACKERS.get(kind)
        if unpack_one is None or value.keys() - {kind, *_EXTRA.get(kind, ())}:
            raise RunError(f"{_at(path)} is of no known kind: {shown(list(value))}")
        return unpack_one(self, value, path, level)

    def of_dict(self, value: dict[str, Any], path: str, level: int) -> Tree:
        held = _of_type(value["dict"], dict, path)
        return {key: self.tree(item, _below(path, key), level + 1) for key, item in held.items()}

    def of_pairs(self, value: dict[str, Any], path: str, level: int) -> Tree:
        made = {}
        for pair in _of_type(value["pairs"], list, path):
            if type(pair) is not list or len(pair) != 2 or type(pair[0]) not in (str, int):
                raise RunError(f"{_at(path)} holds {shown(pair)} in place of a key and a value")
            key = _plain(pair[0], path)
            if key in made:
                raise RunError(f"{_at(path)} has the key {shown(key)} twice")
            made[key] = self.tree(pair[1], _below(path, key), level + 1)
        return made

    def of_tuple(self, value: dict[str, Any], path: str, level: int) -> Tree:
        # one level, as the list that it is written as
        return tuple(self.tree(_of_type(value["tuple"], list, path), path, level))

    def of_int(self, value: dict[str, Any], path: str, level: int) -> Tree:
        text = _of_type(value["int"], str, path)
        try:
            number = int(text, 16)
        except ValueError:
            number = 0
        if number in _INT64 or hex(number) != text:
            raise RunError(f"{_at(path)} holds {shown(text)} in place of an integer")
        return number

    def of_float(self, value: dict[str, Any], path: str, level: int) -> Tree:
        text = _of_type(value["float"], str, path)
        if text not in _SPELLED:
            raise RunError(f"{_at(path)} holds {shown(text)} in place of a number")
        return _SPELLED[text]

    def of_tensor(self, value: dict[str, Any], path: str, level: int) -> Tree:
        stored = self._take(value["tensor"], path)
        if "order" not in value:
            return self._packed.tensors[stored]
        held = self._packed.tensors[stored]
        order = _order_of(value["order"], held.ndim, path)
        known = (stored, *order)
        if known not in self._made:
            back = sorted(range(held.ndim), key=order.__getitem__)
            self._made[known] = held.permute(order).contiguous().permute(back)
        return self._made[known]

    def of_bytes(self, value: dict[str, Any], path: str, level: int) -> Tree:
        held = self._packed.tensors[self._take(value["bytes"], path)]
        if held.dtype is not torch.uint8 or held.ndim != 1:
            raise RunError(f"{_at(path)} holds {held.dtype} in place of bytes")
        return held.cpu().numpy().tobytes()

    def _take(self, name: Any, path: str) -> str:
        """The name under which a tensor is stored; each place in the tree has a name of its own."""
        name = _of_type(name, str, path)
        stored = self._packed.aliases.get(name, name)
        if stored not in self._packed.tensors or name in self._used:
            why = "twice" if name in self._used else "and it is not there"
            raise RunError(f"{_at(path)} asks for the tensor {shown(name)} {why}")
        self._used.add(name)
        return stored

    def check_all_used(self) -> None:
        for name in (*self._packed.tensors, *self._packed.aliases):
            if name not in self._used:
                raise RunError(f"nothing in the state asks for the tensor {shown(name)}")


_UNPACKERS = {
    name: getattr(_Unpacker, f"of_{name}")
    for name in ("dict", "pairs", "tuple", "int", "float", "tensor", "bytes")
}
_EXTRA = {"tensor": ("order",)}


def _plain(value: Any, path: str) -> Tree:
    is_odd = (type(value) is int and value not in _INT64) or (
        type(value) is float and not math.isfinite(value)
    )
    if is_odd or type(value) not in (str, int, float, bool, type(None)):
        raise RunError(f"{_at(path)} holds {shown(value)}, which no checkpoint writes")
    return value


def _of_type(value: Any, kind: type, path: str) -> Any:
    if type(value) is not kind:
        raise RunError(f"{_at(path)} holds {shown(value)} in place of a {kind.__name__}")
    return value


def _order_of(value: Any, ndim: int, path: str) -> list[int]:
    """Each dimension once."""
    is_order = type(value) is list and all(type(i) is int for i in value)
    if not is_order or sorted(value) != list(range(ndim)):
        raise RunError(f"{_at(path)} holds {shown(value)} in place of {ndim} dimensions")
    return value


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _at(path: str) -> str:
    return shown(path) if path else "the state"


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
