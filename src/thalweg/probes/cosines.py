"""Is a score the cosine of two vectors, each divided by its own length?"""

from __future__ import annotations

from typing import Any

from thalweg.probes.graph import PASSING, below, kind_of

JOINING = ("Cat", "Stack")
ROUND_A_NORM = (*PASSING, "ClampMin", "Clamp", "Add")
"""Nodes between a length and what is divided by it: a bound, or a small number for safety."""


def is_cosine(node: Any) -> bool:
    """Is it a product of two of length 1, or the sum of one? What hides scores may stand before it.

    >>> import torch
    >>> from torch.nn import functional
    >>> a, b = torch.randn(2, 4, 3, requires_grad=True).unbind()
    >>> unit = functional.normalize
    >>> [is_cosine(score.grad_fn) for score in (unit(a) @ unit(b).T, unit(a) @ b.T)]
    [True, False]
    >>> is_cosine(functional.cosine_similarity(a[:, None], b[None], dim=2).grad_fn)
    True
    """
    while kind_of(node) == "MaskedFill" and len(below(node)) == 1:
        node = passed(below(node)[0])
    factors = below(node) if kind_of(node) in ("Mm", "Bmm") else []
    if kind_of(node) == "Sum" and [kind_of(each) for each in below(node)] == ["Mul"]:
        factors = below(below(node)[0])
    return len(factors) == 2 and all(map(is_of_length_one, factors))


def is_of_length_one(node: Any) -> bool:
    """Was it divided by its own norm?"""
    node = passed(node)
    if kind_of(node) in JOINING:
        return all(map(is_of_length_one, below(node)))
    nodes = below(node) if kind_of(node) == "Div" else []
    if len(nodes) != 2:
        return False
    norm = nodes[1]
    while kind_of(norm) in ROUND_A_NORM and len(below(norm)) == 1:
        norm = below(norm)[0]
    if kind_of(norm) == "Sqrt":
        return kind_of(below(norm)[0]) == "Sum"
    return kind_of(norm) == "LinalgVectorNorm"


def passed(node: Any) -> Any:
    """What is below the nodes that change no value."""
    while kind_of(node) in PASSING and len(below(node)) == 1:
        node = below(node)[0]
    return node
