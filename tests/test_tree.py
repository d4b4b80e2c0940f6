"""Trees of values and tensors: apart and together again to the bit, or refused by their path."""

from __future__ import annotations

import enum
import json
from collections import defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.errors import RunError, UsageError
from thalweg.state.tree import MOST_LEVELS, Packed, check, clone, pack, unpack
from trees import INF, NAN, PICTURE, TREES, same, tied


def through_json(packed: Packed) -> Packed:
    return replace(packed, structure=json.loads(json.dumps(packed.structure, allow_nan=False)))


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_tree_comes_back_to_the_bit(tree):
    check(tree)
    assert same(unpack(through_json(pack(tree))), tree)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_clone_is_the_same_in_other_memory(tree):
    copy = clone(tree)
    assert same(copy, tree)
    packed, copied = pack(tree), pack(copy)
    before = {t.data_ptr() for t in packed.tensors.values() if t.numel()}
    assert before.isdisjoint(t.data_ptr() for t in copied.tensors.values() if t.numel())


def test_packing_copies_nothing():
    weight = torch.ones(3, requires_grad=True)
    packed = pack({"weight": weight})
    assert packed.tensors["weight"].data_ptr() == weight.data_ptr()
    assert not packed.tensors["weight"].requires_grad


def test_names_are_paths():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    tree = {
        "phases": {"main": {"model": model.state_dict(), "state": {0: {"exp_avg": torch.ones(1)}}}},
        "loader": [b"x", (torch.ones(1),)],
    }
    assert list(pack(tree).tensors) == [
        *(f"phases.main.model.{name}" for name in model.state_dict()),
        "phases.main.state.0.exp_avg",
        "loader.0",
        "loader.1.0",
    ]


def test_tied_tensors_are_stored_once():
    packed = pack(tied())
    assert list(packed.tensors) == ["in"]
    assert packed.aliases == {"out": "in", "again.0": "in", "again.1": "in"}
    back = unpack(packed)
    assert back["in"] is back["out"] is back["again"][1]


def test_ties_of_a_model_come_back():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

    back = unpack(pack(Tied().state_dict()))
    assert back["embed.weight"] is back["head.weight"]


PLANTED: dict[str, tuple[Any, Any]] = {
    "an int for a float": ([1.0], [1]),
    "an int for a bool": ([True], [1]),
    "the sign of zero": ([0.0], [-0.0]),
    "the sign of a tensor's zero": (torch.tensor([0.0]), torch.tensor([-0.0])),
    "a list for a tuple": ((1,), [1]),
    "another order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "text for an integer key": ({0: 1}, {"0": 1}),
    "another dtype": (torch.zeros(1), torch.zeros(1, dtype=torch.int32)),
    "another shape": (torch.zeros(2), torch.zeros(1, 2)),
    "other strides": (PICTURE, PICTURE.to(memory_format=torch.channels_last)),
    "one bit": (torch.tensor([1.0]), torch.tensor([1.0]).nextafter(torch.tensor([2.0]))),
    "untied": (tied(), {**tied(), "out": tied()["in"]}),
    "no NaN": ([NAN], [INF]),
    "a number less": ([1, 2], [1]),
    "bytes for text": ("a", b"a"),
}


@pytest.mark.parametrize(("first", "second"), PLANTED.values(), ids=PLANTED)
def test_the_comparison_sees_a_planted_difference(first, second):
    assert not same(first, second)
    assert same(first, first)


class Colour(enum.IntEnum):
    RED = 1


def endless() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 0


Pair = namedtuple("Pair", "a b")

REFUSED: dict[str, tuple[Any, str]] = {
    "a set": ({"a": [0, {"b": {1}}]}, "'a.1.b' is of type set"),
    "an object": ({"x": object()}, "'x' is of type object"),
    "a function": ({"x": [print]}, "'x.0' is of type builtin_function_or_method"),
    "a class": ({"x": int}, "'x' is of type type"),
    "a NumPy number": ({"loss": np.float64(1)}, "'loss' is of type numpy.float64"),
    "a NumPy array": ({"a": np.ones(2)}, "'a' is of type numpy.ndarray"),
    "an enum": ({"c": Colour.RED}, "Colour"),
    "a namedtuple": ({"p": Pair(1, 2)}, "Pair"),
    "a default dict": ({"d": defaultdict(list)}, "collections.defaultdict"),
    "a size": ({"s": torch.ones(2).shape}, "torch.Size"),
    "a dtype": ({"d": torch.float32}, "torch.dtype"),
    "a generator": ({"g": torch.Generator()}, "torch._C.Generator"),
    "a module": ({"m": nn.Linear(1, 1)}, "torch.nn.modules.linear.Linear"),
    "complex": ({"z": 1j}, "complex"),
    "a bytearray": ({"b": bytearray(1)}, "bytearray"),
    "the whole": (object(), "the state is of type object"),
    "an odd key": ({"a": {1.5: 0}}, "'a' has the key 1.5 of type float"),
    "True as a key": ({True: 0}, "the state has the key True of type bool"),
    "a large key": ({2**63: 0}, "the key 9223372036854775808 of type int"),
    "a huge key": ({10**5000: 0}, "the key an integer beyond 64 bits of type int"),
    "a tuple as a key": ({"a": {(1, 2): 0}}, "of type tuple"),
    "a list in itself": (endless(), f"more than {MOST_LEVELS} levels"),
    "too deep": (nested(MOST_LEVELS + 1), f"more than {MOST_LEVELS} levels"),
    "a sparse tensor": ({"t": torch.ones(2).to_sparse()}, "layout torch.sparse_coo"),
    "no values": ({"t": torch.ones(2, device="meta")}, "device meta"),
    "complex128": ({"t": torch.ones(2, dtype=torch.complex128)}, "torch.complex128"),
    "a lazy parameter": ({"p": nn.LazyLinear(1).weight}, "UninitializedParameter"),
    "an evil name": ({"a\n\x1b[31m": {"b": {1}}}, r"'a\n\x1b[31m.b' is of type set"),
    "a long name": ({"a" * 500: {1}}, "aaa..."),
    "a long list": ({"a": ["x" * 1_000_000] * 9}, "keep long lists as tensors"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize(("tree", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_saved_is_named(tree, said):
    with pytest.raises(UsageError) as caught:
        check(tree)
    text = str(caught.value)
    assert said in text
    assert text.isprintable()
    assert len(text) < 500


def test_as_deep_as_is_allowed():
    tree = nested(MOST_LEVELS)
    assert same(unpack(through_json(pack(tree))), tree)


ONE = torch.ones(2, 3)

FORGED: dict[str, Packed] = {
    "no kind": Packed({}),
    "an unknown kind": Packed({"object": "os.system"}),
    "two kinds": Packed({"dict": {}, "tuple": []}),
    "a kind and more": Packed({"dict": {}, "order": []}),
    "no dict": Packed({"dict": []}),
    "no tuple": Packed({"tuple": {"dict": {}}}),
    "no pairs": Packed({"pairs": {}}),
    "no pair": Packed({"pairs": [[1]]}),
    "a key twice": Packed({"pairs": [[1, 2], [1, 3]]}),
    "True for a key": Packed({"pairs": [[True, 2]]}),
    "a huge key": Packed({"pairs": [[2**64, 2]]}),
    "a list for a key": Packed({"pairs": [[[], 2]]}),
    "a small integer in hex": Packed({"int": "0x5"}),
    "no integer": Packed({"int": "0xzz"}),
    "an integer with a sign too many": Packed({"int": "+0x10000000000000000"}),
    "another base": Packed({"int": "10000000000000000"}),
    "an integer, plain": Packed(2**64),
    "a number of another spelling": Packed({"float": "nan"}),
    "a number, plain": Packed({"float": 1.0}),
    "infinity, plain": Packed(INF),
    "a tensor that is not there": Packed({"tensor": "a"}),
    "a tensor twice": Packed([{"tensor": "a"}, {"tensor": "a"}], {"a": ONE}),
    "a tensor for nothing": Packed([], {"a": ONE}),
    "an alias for nothing": Packed({"tensor": "a"}, {"a": ONE}, {"b": "a"}),
    "a name that is none": Packed({"tensor": ["a"]}, {"a": ONE}),
    "bytes that are none": Packed({"bytes": "a"}, {"a": ONE}),
    "no order": Packed({"tensor": "a", "order": None}, {"a": ONE}),
    "a short order": Packed({"tensor": "a", "order": [0]}, {"a": ONE}),
    "a dimension twice": Packed({"tensor": "a", "order": [0, 0]}, {"a": ONE}),
    "a foreign dimension": Packed({"tensor": "a", "order": [0, 2]}, {"a": ONE}),
    "truth for a dimension": Packed({"tensor": "a", "order": [False, True]}, {"a": ONE}),
    "a list for a dimension": Packed({"tensor": "a", "order": [[], 1]}, {"a": ONE}),
    "bytes, plain": Packed(b"x"),
    "too deep": Packed(nested(MOST_LEVELS + 1)),
}


@pytest.mark.parametrize("packed", FORGED.values(), ids=FORGED)
def test_a_forged_structure_is_refused(packed):
    with pytest.raises(RunError) as caught:
        unpack(packed)
    assert str(caught.value).isprintable()


def test_the_tree_is_only_read():
    """Nothing of a tree is changed by taking it apart, and the parts are the reader's own."""
    inner: dict[str, Any] = {"list": [1, 2]}
    packed = pack({"inner": inner})
    inner["list"].append(3)
    assert unpack(packed) == {"inner": {"list": [1, 2]}}


def test_the_strides_of_a_turned_tensor():
    turned = PICTURE.to(memory_format=torch.channels_last)
    back = unpack(through_json(pack(turned)))
    assert back.stride() == turned.stride()
    assert back.is_contiguous(memory_format=torch.channels_last)
    plain: Callable[..., Any] = torch.Tensor.contiguous
    assert plain(back).stride() == PICTURE.stride()
