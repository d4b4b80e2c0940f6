"""The classes that a cross-entropy was measured against, found from its gradient.

The gradient of cross-entropy by a sample's outputs is softmax - target: below zero in one place.
So classes are known after the backward pass too, when the loss's graph has let go of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.probes.loss_graph import below, kind_of

MOST_VALUES = 100_000
THROUGH = ("Alias", "View", "Squeeze", "Unsqueeze", "ReshapeAlias", "UnsafeView")
SCALED = ("Mul", "Div")

IGNORED = -100


class Answer:
    """Waits for the gradient of an output (samples, classes), until `close`.

    >>> outputs = torch.zeros(2, 3, requires_grad=True) * 1.0
    >>> answer = Answer(outputs)
    >>> loss = torch.nn.functional.cross_entropy(outputs, torch.tensor([2, 0]))
    >>> loss.backward()
    >>> answer.targets(loss)
    tensor([2, 0])
    """

    def __init__(self, output: Tensor):
        self._node = output.grad_fn
        self._found: Tensor | None = None
        is_able = output.ndim == 2 and output.shape[1] > 1 and output.numel() <= MOST_VALUES
        self._handle = output.register_hook(self._keep) if is_able and self._node else None

    def _keep(self, gradient: Tensor) -> None:
        with torch.no_grad():
            found = gradient.argmin(1)
            self._found = found.masked_fill((gradient == 0).all(1), IGNORED)

    def targets(self, loss: Tensor) -> Tensor | None:
        """The classes; None where the loss is another one, or its backward pass is yet to come."""
        return self._found if self._found is not None and self._is_of(loss) else None

    def _is_of(self, loss: Tensor) -> bool:
        """Is it the cross-entropy of this very output, and nothing but that?"""
        node = _past(loss.grad_fn, SCALED)
        if node is None or kind_of(node) != "NllLoss":
            return False
        node = below(node)[0]
        if kind_of(node) != "LogSoftmax":
            return False
        node = below(node)[0]
        while node is not self._node and kind_of(node) in THROUGH:
            node = below(node)[0]
        return node is self._node

    def close(self) -> None:
        """Let go of the tensors."""
        if self._handle is not None:
            self._handle.remove()
        self._node = self._found = None


def _past(node: Any, kinds: tuple[str, ...]) -> Any:
    while node is not None and kind_of(node) in kinds and len(below(node)) == 1:
        node = below(node)[0]
    return node
