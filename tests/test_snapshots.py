"""The ring of snapshots: copies of recent states, in memory that is used again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from thalweg.errors import UsageError
from thalweg.state.snapshots import Ring
from trees import TREES, same, told


def state_of(number: int, size: int = 8) -> dict[str, Any]:
    weight = torch.full((2, size), float(number))
    return {"w": weight, "tied": weight, "t": weight.mT.clone().mT, "number": number, "raw": b"x"}


def pointers(ring: Ring) -> set[int]:
    """Where the tensors lie that the ring holds; not those that bytes are kept in."""
    held = [tensor for kept in ring._kept for tensor in kept.packed.tensors.values()]
    return {tensor.data_ptr() for tensor in held if tensor.dtype is not torch.uint8}


# Steps that are kept, the size of the ring, and for each question `before(n)` its answer.

ANSWERS: dict[str, tuple[list[int], int, dict[int, int | None]]] = {
    "nothing": ([], 2, {0: None, 9: None}),
    "one": ([5], 2, {5: None, 6: 5, 99: 5}),
    "two": ([5, 8], 2, {5: None, 6: 5, 8: 5, 9: 8}),
    "the oldest is gone": ([5, 8, 11], 2, {8: None, 9: 8, 11: 8, 12: 11}),
    "a ring of one": ([5, 8], 1, {8: None, 9: 8}),
    "a ring of three": ([1, 2, 3, 4], 3, {2: None, 3: 2, 4: 3, 5: 4}),
    "the same step again": ([5, 8, 8], 2, {6: 5, 9: 8}),
    "back to an earlier step": ([5, 8, 6], 2, {6: 5, 9: 6}),
}


@pytest.mark.parametrize(("kept", "size", "answers"), ANSWERS.values(), ids=ANSWERS)
def test_the_newest_before_a_step(kept, size, answers):
    ring = Ring(size)
    for number in kept:
        ring.keep(number, state_of(number))
    for number, answer in answers.items():
        found = ring.before(number)
        assert (found and found[0]) == answer
        if found is not None:
            assert same(found[1], state_of(found[0]))
    assert len(ring) <= size


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_snapshot_is_the_state_to_the_bit(tree):
    ring = Ring()
    for number in range(4):  # new memory, then used again
        ring.keep(number, tree)
        found = ring.before(99)
        assert found is not None
        assert same(found[1], tree)


def test_a_snapshot_is_a_copy():
    ring, state = Ring(), state_of(1)
    state["list"] = [1]
    before = told(state)
    ring.keep(1, state)
    state["w"].zero_()
    state["list"].append(2)
    found = ring.before(2)
    assert found is not None
    assert told(found[1]) == before


def test_no_memory_is_taken_once_the_ring_is_full():
    ring = Ring(2)
    for number in range(2):
        ring.keep(number, state_of(number))
    places = pointers(ring)
    for number in range(2, 9):
        ring.keep(number, state_of(number))
        assert pointers(ring) == places
    ring.drop_from(8)
    ring.keep(8, state_of(8))
    assert pointers(ring) == places, "nor after a roll-back"


CHANGES: dict[str, Any] = {
    "another shape": state_of(1, size=3),
    "another dtype": {"w": torch.ones(2, 8, dtype=torch.float64)},
    "other strides": {"w": torch.ones(8, 2).t()},
    "more tensors": state_of(1) | {"new": torch.ones(3)},
    "fewer tensors": {"w": torch.ones(2, 8)},
    "untied": state_of(1) | {"tied": torch.zeros(2, 8)},
    "no tensors": {"number": 1},
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_a_state_may_change_its_form(changed):
    ring = Ring(1)
    for number, state in enumerate((state_of(1), changed, state_of(3), changed)):
        ring.keep(number, state)
        found = ring.before(99)
        assert found is not None
        assert same(found[1], state)


def test_what_is_dropped_is_not_found():
    ring = Ring(3)
    for number in (1, 4, 7):
        ring.keep(number, state_of(number))
    ring.drop_from(4)
    assert ring.before(99) is not None
    assert ring.before(99)[0] == 1  # pyright: ignore[reportOptionalSubscript]
    ring.drop_from(0)
    assert ring.before(99) is None
    assert len(ring) == 0


@pytest.mark.parametrize("size", [0, -1])
def test_a_ring_keeps_at_least_one(size):
    with pytest.raises(UsageError, match=f"size={size}"):
        Ring(size)


def test_what_cannot_be_kept_leaves_the_ring_as_it_was():
    ring = Ring(1)
    ring.keep(1, state_of(1))
    with pytest.raises(UsageError, match="'a' is of type set"):
        ring.keep(2, {"a": {1}})
    found = ring.before(2)
    assert found is not None
    assert same(found[1], state_of(1))
