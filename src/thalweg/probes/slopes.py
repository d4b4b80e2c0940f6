"""Is a slope by the inputs in a loss only a number, for want of a graph of its own?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from thalweg.probes.graph import LAYERS, MOST_NODES, below, kind_of, shape_of

TERMS = ("Add", "Sub", "Mul", "Div", "Neg")
"""Nodes between a loss and its terms."""


def is_cut(root: Any, names: Mapping[int, str], asking: Collection[int]) -> bool:
    """Has a term of the loss no weight in its graph, while the loss depends through no layer on
    what the model was given that asks for a gradient? names: of the weights; asking: by id

    >>> import torch
    >>> net = torch.nn.Linear(1, 1)
    >>> x = torch.ones(4, 1, requires_grad=True)
    >>> def loss(create_graph):
    ...     slope = torch.autograd.grad(net(x).sum(), x, create_graph=create_graph)[0]
    ...     return (slope - x.cos()).square().mean() + net(torch.zeros(1, 1)).square().mean()
    >>> names = {id(p): "p" for p in net.parameters()}
    >>> [is_cut(loss(is_kept).grad_fn, names, {id(x)}) for is_kept in (False, True)]
    [True, False]
    """
    if not asking:
        return False
    every = list(walk([root]))
    layers = [node for node in every if kind_of(node) in LAYERS]
    if any(id(getattr(node, "variable", None)) in asking for node in walk(layers)):
        return False
    return any(term is None or not has_weight(term, names) for term in terms_of(root))


def terms_of(root: Any) -> Iterator[Any]:
    """What is added up to a loss; None for a number."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or shape_of(node) != () or kind_of(node) not in TERMS:
            yield node
        elif kind_of(node) in ("Add", "Sub"):
            waiting += [following for following, _ in node.next_functions]
        else:
            waiting += below(node)


def has_weight(term: Any, names: Mapping[int, str]) -> bool:
    """Does a term depend on a weight?"""
    return any(id(getattr(node, "variable", None)) in names for node in walk([term]))


def walk(roots: Iterable[Any]) -> Iterator[Any]:
    """Every node below, each once."""
    seen: set[Any] = set()
    waiting = list(roots)
    while waiting and len(seen) < MOST_NODES:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            yield node
            waiting += below(node)
