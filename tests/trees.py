"""Trees for the tests of checkpoints: a table of odd ones, and a comparison to the bit."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from thalweg.state.shard import CODES

NAN, INF = math.nan, math.inf


def of_dtype(dtype: torch.dtype) -> Tensor:
    """Six elements, with every byte different where the dtype allows it."""
    if dtype is torch.bool:
        return torch.tensor([[True, False, True], [False, False, True]])
    return torch.arange(6 * dtype.itemsize, dtype=torch.uint8).view(dtype).reshape(2, 3)


def tied() -> dict[str, Any]:
    weight = torch.arange(6.0).reshape(2, 3)
    return {"in": weight, "out": weight, "again": [weight.detach(), weight.view(2, 3)]}


def overlapping() -> dict[str, Tensor]:
    """One memory, but not the same tensor: nothing of it is tied."""
    whole = torch.arange(12.0)
    return {"whole": whole, "part": whole[:6], "square": whole[:9].view(3, 3), "t": whole[3:]}


def optimizer() -> dict[str, Any]:
    model = nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    adam.step()
    return {"model": model.state_dict(), "optimizer": adam.state_dict()}


COMPLEX = torch.tensor([1 + 2j, complex(-0.0, INF)], dtype=torch.complex64)
PICTURE = torch.arange(120.0).reshape(2, 3, 4, 5)

TREES: dict[str, Any] = {
    "nothing": {},
    "an empty list": {"x": [], "y": (), "z": {}, "": b"", "t": torch.empty(0)},
    "None": None,
    "one number": 3,
    "one tensor": torch.ones(2),
    "one text": 'größe \U0001f600 \ud800 \x00 \n \u2028 "quoted" \\',
    "int, float, bool": [0, 0.0, False, 1, 1.0, True, -1, -1.0, None],
    "floats": [-0.0, 5e-324, 1.7976931348623157e308, 0.1, 1 / 3, 1e22, 1e16, INF, -INF, NAN],
    "integers": [2**53 + 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**5000, -(10**5000)],
    "bytes": [b"", b"\x00\xff", bytes(range(256)), b"PK\x03\x04"],
    "tuples": ((), ((),), [()], ((1, [2, (3,)]),), {"betas": (0.9, 0.999)}),
    "key order": {"b": 1, "a": 2, "": 3, "B": 4},
    "integer keys": {1: "a", 0: "b", -5: "c", 2**63 - 1: "d", -(2**63): {}},
    "mixed keys": {"0": "text", 0: "number", "1": None},
    "odd keys": {"a.b": 1, "a": {"b": 2}, "\n": 3, "\ud800": 4, "dict": 5, "tensor": {"tensor": 6}},
    "ordered": OrderedDict(b=1, a=torch.ones(1)),
    "kinds as keys": {name: {name: [1]} for name in ("dict", "pairs", "tuple", "int", "tensor")},
    "names that collide": {
        "a.b": torch.zeros(1),
        "a": {"b": torch.ones(1), "b#2": torch.ones(2), "c": [torch.ones(3)], "c.0": b"x"},
        "a.c.0": b"y",
        "__metadata__": torch.ones(4),
        "\ud800": torch.ones(5),
        chr(0xDFFF): torch.ones(6),
        "?": torch.ones(7),
    },
    "deep": [[[[[[[[[[{"x": [torch.ones(1)]}]]]]]]]]]],
    "no dimension": torch.tensor(3.0),
    "empty tensors": [torch.empty(0), torch.empty(2, 0, 3), torch.empty(0, dtype=torch.int64)],
    "many dimensions": torch.ones([1] * 63 + [2]),
    "every dtype": {str(dtype): of_dtype(dtype) for dtype in CODES},
    "odd floats": torch.tensor([0.0, -0.0, INF, -INF, NAN, 1e-45]),
    "complex": [COMPLEX, COMPLEX.conj(), COMPLEX.conj().imag, COMPLEX.real],
    "tied": tied(),
    "overlapping": overlapping(),
    "channels last": PICTURE.to(memory_format=torch.channels_last),
    "turned": [PICTURE.permute(3, 1, 0, 2), torch.arange(6.0).reshape(2, 3).t()],
    "turned and tied": [PICTURE.mT, PICTURE.mT],
    "a slice": [PICTURE[:, 1], PICTURE[..., ::2], torch.ones(1).expand(3, 4)],
    "a parameter": {"p": nn.Parameter(torch.ones(2)), "g": torch.ones(1, requires_grad=True)},
    "an optimizer": optimizer(),
    "text that looks like more": ["NaN", "__import__('os')", '{"dict": {}}', "0x10", "../x", "\\"],
}


def same(first: Any, second: Any) -> bool:
    """Are two trees equal to the bit, the order of keys, types and ties included?"""
    return told(first) == told(second)


def told(tree: Any) -> str:
    """A tree as text in which everything shows that a checkpoint has to keep."""
    return _told(tree, {})


def _told(tree: Any, seen: dict[Any, int]) -> str:
    if isinstance(tree, Tensor):
        return _told_tensor(tree, seen)
    if isinstance(tree, dict):
        return f"{{{', '.join(f'{k!r}: {_told(v, seen)}' for k, v in tree.items())}}}"
    if isinstance(tree, list | tuple):
        return f"{type(tree).__name__}({', '.join(_told(item, seen) for item in tree)})"
    return f"{type(tree).__name__} {hex(tree) if type(tree) is int else repr(tree)}"


def _told_tensor(tensor: Tensor, seen: dict[Any, int]) -> str:
    """Values, dtype, shape, the order of the dimensions in memory, and which one it is tied to."""
    place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
    place = (*place, tensor.is_conj(), tensor.is_neg()) if tensor.numel() else (len(seen),)
    number = seen.setdefault(place, len(seen))
    plain = tensor.detach().resolve_conj().resolve_neg()
    raw = plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    values = raw.hex() if len(raw) <= 64 else xxhash.xxh3_128_hexdigest(raw)
    return f"tensor {number} {tensor.dtype} {list(tensor.shape)} {_layout(tensor)} {values}"


def _layout(tensor: Tensor) -> str:
    order = sorted(range(tensor.ndim), key=lambda i: (-tensor.stride(i), i))
    is_turned = not tensor.is_contiguous() and tensor.permute(order).is_contiguous()
    return str(order) if is_turned else "plain"
