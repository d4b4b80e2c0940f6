"""Which way a loss pushes latents: a divergence from the standard normal pulls them to it.

By a mean m its gradient is c m, by a logarithm of variance v it is c (exp(v) - 1) / 2; the rest of
the loss adds what has little to do with either. So c is had by least squares; below 0 the
divergence is subtracted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from thalweg.probes.graph import kind_of
from thalweg.probes.loss_graph import first_below, head_of

FEWEST_ROWS, MOST_VALUES = 8, 1_000_000


class Latents:
    """Keeps pairs of outputs of one shape, and their gradients, until `close`. outputs: all that
    the model gave

    >>> m, v = (torch.randn(2, 64, 4, requires_grad=True) * 0.1).unbind()
    >>> latents = Latents([m, v])
    >>> loss = (1 + v - m**2 - v.exp()).sum() + m.sum()
    >>> loss.backward()
    >>> latents.saw_loss(loss)
    >>> latents.pull() < -100
    True
    """

    def __init__(self, outputs: Sequence[Tensor]):
        self._pairs = [(m, v) for m, v in pairwise(outputs) if is_pair(m, v)]
        self._gradients: dict[int, Tensor] = {}
        self._handles = [t.register_hook(self._keep(t)) for t in self._tensors()]
        self._pair: tuple[Tensor, Tensor] | None = None

    def _tensors(self) -> Iterator[Tensor]:
        """Each once."""
        yield from {id(t): t for pair in self._pairs for t in pair}.values()

    def _keep(self, tensor: Tensor) -> Any:
        key = id(tensor)

        def look(gradient: Tensor) -> None:
            self._gradients[key] = gradient.detach()

        return look

    def saw_loss(self, loss: Tensor) -> None:
        """Which pair is it whose second is exponentiated in this loss?"""
        if not self._pairs or loss.grad_fn is None:
            return
        under = [first_below(n)[0] for n in head_of(loss.grad_fn) if kind_of(n) == "Exp"]
        found = [pair for pair in self._pairs if any(n is pair[1].grad_fn for n in under)]
        self._pair = found[0] if len(found) == 1 else None

    @torch.no_grad()
    def pull(self) -> float:
        """c by its standard error; 0 where it cannot be told."""
        if self._pair is None or any(id(t) not in self._gradients for t in self._pair):
            return 0.0
        m, v = (t.detach().double() for t in self._pair)
        given = torch.cat([centred(m), centred((v.exp() - 1) / 2)])
        slopes = torch.cat([centred(self._gradients[id(t)].double()) for t in self._pair])
        size = float(given.square().sum())
        c = float((given * slopes).sum()) / size if size > 0 else 0.0
        error = float((slopes - c * given).square().mean() / size) ** 0.5 if size > 0 else 0.0
        return c / max(error, 1e-9 * abs(c)) if c else 0.0

    def close(self) -> None:
        """Let go of the tensors."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._pairs.clear()
        self._gradients.clear()
        self._pair = None


def is_pair(m: Tensor, v: Tensor) -> bool:
    """Can they be means and logarithms of variances, (samples, latents)?"""
    is_able = all(t.grad_fn is not None and t.dtype == torch.float32 for t in (m, v))
    is_small = m.ndim == 2 and len(m) >= FEWEST_ROWS and m.numel() <= MOST_VALUES
    return is_able and is_small and m.shape == v.shape


def centred(values: Tensor) -> Tensor:
    """Less the means of the columns."""
    return values - values.mean(0)
