"""The comparators: each fails on a planted difference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from conformance.compare import (
    all_finite,
    any_moved,
    assert_close,
    assert_equal,
    assert_same_trees,
    has_state,
    run,
    same_bits,
    set_gradients,
)
from conformance.test_state import leaves
from conformance.test_trajectory import displacement_error

ONE = torch.ones(3)
NEXT = torch.nextafter(ONE, 2 * ONE)

DIFFERENT = {
    "by a bit": ([ONE], [NEXT]),
    "by one element": ([ONE], [torch.tensor([1.0, 1.0, 2.0])]),
    "in length": ([ONE, ONE], [ONE]),
    "in shape": ([ONE], [torch.ones(1, 3)]),
    "in type": ([ONE], [ONE.double()]),
    "by a nan": ([ONE], [math.nan * ONE]),
    "in the second tensor": ([ONE, ONE], [ONE, NEXT]),
}


@pytest.mark.parametrize(("some", "others"), DIFFERENT.values(), ids=DIFFERENT)
def test_differences_are_seen(some, others):
    assert_equal(some, some, "itself")
    assert same_bits(some, some)
    assert not same_bits(some, others)
    with pytest.raises((AssertionError, ValueError)):
        assert_equal(some, others, "another")


def test_the_sign_of_zero_is_a_bit():
    zero = torch.zeros(1)
    assert not same_bits([zero], [-zero])
    assert_equal([zero], [-zero], "as numbers they are equal")


def test_a_tolerance_ends_where_it_says():
    one, other = torch.ones(1), torch.tensor([1.001])
    assert_close([one], [other], "within", rtol=2e-3, atol=0.0)
    with pytest.raises(AssertionError, match="beyond"):
        assert_close([one], [other], "beyond", rtol=5e-4, atol=0.0)


TREE = {"a": [1, torch.ones(2)], "b": {"c": "text"}}
OTHER_TREES = {
    "a number": {"a": [2, torch.ones(2)], "b": {"c": "text"}},
    "a tensor": {"a": [1, torch.zeros(2)], "b": {"c": "text"}},
    "a key": {"a": [1, torch.ones(2)], "b": {"d": "text"}},
    "a length": {"a": [1], "b": {"c": "text"}},
    "a string": {"a": [1, torch.ones(2)], "b": {"c": "other"}},
}


@pytest.mark.parametrize("other", OTHER_TREES.values(), ids=OTHER_TREES)
def test_other_trees_are_seen(other):
    assert_same_trees(TREE, TREE, "tree")
    with pytest.raises(AssertionError, match="tree"):
        assert_same_trees(other, TREE, "tree")


def test_every_leaf_is_visited():
    paths = [path for path, _ in leaves(TREE, "tree")]
    assert paths == ["tree.a.0", "tree.a.1", "tree.b.c"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_seen(value):
    assert all_finite([ONE])
    assert not all_finite([ONE, torch.tensor([1.0, value])])


def test_a_move_is_seen():
    assert not any_moved([ONE, ONE], [ONE, ONE])
    assert any_moved([ONE, NEXT], [ONE, ONE])


def test_state_is_seen():
    p = nn.Parameter(torch.ones(2))
    plain, heavy = torch.optim.SGD([p], lr=0.1), torch.optim.SGD([p], lr=0.1, momentum=0.9)
    for optimizer in (plain, heavy):
        run(optimizer, [p], [0])
    assert not has_state(plain)
    assert has_state(heavy)


def test_gradients_differ_from_step_to_step_only():
    params = [nn.Parameter(torch.zeros(5)) for _ in range(2)]
    set_gradients(params, 0)
    first = [p.grad for p in params]
    set_gradients(params, 1)
    second = [p.grad for p in params]
    set_gradients(params, 0)
    assert same_bits(first, [p.grad for p in params])
    assert not same_bits(first, second)
    assert not same_bits(first[:1], first[1:])


def test_an_error_counts_in_displacements():
    start, there = torch.zeros(2), torch.tensor([3.0, 4.0])
    assert displacement_error([there], [there], [start]) == 0.0
    assert displacement_error([1.01 * there], [there], [start]) == pytest.approx(0.01, rel=1e-4)
