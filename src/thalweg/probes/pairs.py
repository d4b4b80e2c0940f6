"""Pairs of outputs of one shape, and which way a loss pushes them: means and variances, or twins.

A divergence from the standard normal has by a mean m the gradient c m, by a logarithm of variance v
c (exp(v) - 1) / 2; the rest of a loss adds what has little to do with either. So c is had by least
squares; below 0 the divergence is subtracted. A loss of cosines draws twins together or apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from thalweg.probes.graph import PASSING, below, kind_of
from thalweg.probes.loss_graph import head_of

FEWEST_ROWS, MOST_VALUES, MOST_OUTPUTS = 8, 1_000_000, 4

ALIKE = 0.5
"""A cosine beyond which no margin holds that a pair may have."""


class Pairs:
    """Keeps the last outputs of a step, and their gradients, until `close`.

    >>> m, v = (torch.randn(2, 64, 4, requires_grad=True) * 0.1).unbind()
    >>> pairs = Pairs()
    >>> pairs.add([m, v])
    >>> loss = (1 + v - m**2 - v.exp()).sum() + m.sum()
    >>> loss.backward()
    >>> pairs.saw_loss(loss)
    >>> pairs.pull() < -100
    True
    """

    def __init__(self) -> None:
        self._outputs: list[Tensor] = []
        self._gradients: dict[int, Tensor] = {}
        self._handles: list[Any] = []
        self._latents: tuple[Tensor, Tensor] | None = None
        self._twins: tuple[Tensor, Tensor] | None = None
        self._is_over = False

    def add(self, outputs: Sequence[Tensor]) -> None:
        """What the model gave in a pass."""
        if self._is_over:
            self.close()
        for output in outputs[:MOST_OUTPUTS]:
            if is_able(output) and len(self._outputs) < MOST_OUTPUTS:
                self._outputs.append(output)
                self._handles.append(output.register_hook(self._keep(output)))

    def _keep(self, tensor: Tensor) -> Any:
        key = id(tensor)

        def look(gradient: Tensor) -> None:
            self._gradients[key] = gradient.detach()

        return look

    def step(self) -> None:
        """The next pass is of another step."""
        self._is_over = True

    def saw_loss(self, loss: Tensor) -> None:
        """Which pair is it whose first is squared in this loss and whose second exponentiated, or
        whose cosine is taken?
        """
        if len(self._outputs) < 2 or loss.grad_fn is None:
            return
        pairs = [(a, b) for a, b in pairwise(self._outputs) if a.shape == b.shape]
        nodes = list(head_of(loss.grad_fn))
        raised = [node for node in nodes if kind_of(node) == "Exp"]
        squares = [node for node in nodes if kind_of(node) in ("Pow", "Mul")]
        found = [(m, v) for m, v in pairs if is_taken(m, squares) and is_taken(v, raised)]
        self._latents = found[0] if len(found) == 1 else None
        is_usual = is_of_cosines(loss.grad_fn) and len(self._outputs) == 2 and len(pairs) == 1
        self._twins = pairs[0] if is_usual else None

    @torch.no_grad()
    def pull(self) -> float:
        """c by its standard error; 0 where it cannot be told."""
        if self._latents is None or any(id(t) not in self._gradients for t in self._latents):
            return 0.0
        m, v = (t.detach().double() for t in self._latents)
        given = torch.cat([centred(m), centred((v.exp() - 1) / 2)])
        slopes = torch.cat([centred(self._gradients[id(t)].double()) for t in self._latents])
        size = float(given.square().sum())
        c = float((given * slopes).sum()) / size if size > 0 else 0.0
        error = float((slopes - c * given).square().mean() / size) ** 0.5 if size > 0 else 0.0
        return c / max(error, 1e-9 * abs(c)) if c else 0.0

    @torch.no_grad()
    def unheeded(self) -> int:
        """Pairs that are alike and that the loss leaves alone, where it draws others together and
        none apart; 0 where it is not so.

        >>> a, b = (torch.rand(2, 12, 3, requires_grad=True) + 0.5).unbind()
        >>> pairs = Pairs()
        >>> pairs.add([a, b])
        >>> loss = torch.nn.functional.cosine_embedding_loss(a, b, torch.arange(12) % 2)
        >>> loss.backward()
        >>> pairs.saw_loss(loss)
        >>> pairs.unheeded()
        6
        """
        if self._twins is None or any(id(t) not in self._gradients for t in self._twins):
            return 0
        a, b = (t.detach().double() for t in self._twins)
        gradient = self._gradients[id(self._twins[1])].double()
        one, other = (torch.nn.functional.normalize(t, dim=1) for t in (a, b))
        cosine = (one * other).sum(1)
        rise = (gradient * (one - cosine[:, None] * other)).sum(1)
        is_still = gradient.abs().amax(1) == 0
        is_usual = bool((rise < 0).any()) and not bool((rise[~is_still] > 0).any())
        return int((is_still & (cosine > ALIKE)).sum()) if is_usual else 0

    def close(self) -> None:
        """Let go of the tensors."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._outputs.clear()
        self._gradients.clear()
        self._latents = self._twins = None
        self._is_over = False


def is_able(t: Tensor) -> bool:
    """Can it be one of a pair, (samples, values)?"""
    is_table = t.ndim == 2 and len(t) >= FEWEST_ROWS and t.numel() <= MOST_VALUES
    return is_table and t.grad_fn is not None and t.dtype == torch.float32


def is_taken(tensor: Tensor, nodes: Sequence[Any]) -> bool:
    """Is it this tensor, as it is, that one of some nodes is given, and nothing else?"""
    return any(takes(node, tensor) for node in nodes)


def takes(node: Any, tensor: Tensor) -> bool:
    """The same of one node. A square may be a product with itself."""
    edges = set(node.next_functions)
    while len(edges) == 1:
        node, at = edges.pop()
        if node is tensor.grad_fn and at == tensor.output_nr:
            return True
        if node is None or kind_of(node) not in PASSING:
            return False
        edges = set(node.next_functions)
    return False


def is_of_cosines(loss: Any) -> bool:
    """Is it torch's loss of cosines, of pairs that are alike and of others?"""
    while kind_of(loss) in ("Mul", "Div", "Mean", "Sum") and len(below(loss)) == 1:
        loss = below(loss)[0]
    halves = below(loss) if kind_of(loss) == "Add" else []
    if [kind_of(half) for half in halves] != ["Where", "Where"]:
        return False
    kinds = [[kind_of(node) for node in walk_one(half)] for half in halves]
    return kinds == [["Where", "Sub", "Div"], ["Where", "ClampMin", "Sub", "Div"]]


def walk_one(node: Any) -> Iterator[Any]:
    """From a node down, as long as there is one below, and the first of several."""
    while True:
        yield node
        if len(below(node)) != 1:
            return
        node = below(node)[0]


def centred(values: Tensor) -> Tensor:
    """Less the means of the columns."""
    return values - values.mean(0)
