"""The matrix products that fill a training step, and a piece of them small enough to be timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

TINY = 5e7
"""Floating-point operations of a step below which nothing is measured: less than a millisecond,
most of it not arithmetic.
"""

MOST_PRODUCTS = 3
PICTURE = 32 * 32
"""Positions of a convolution where the data does not say."""

Shape = tuple[int, int, int]
"""Rows, inputs and outputs of a product."""

Measure = Callable[[Callable[[], object]], float]
"""Runs what it is given; seconds."""


@dataclass(frozen=True, slots=True)
class Work:
    """operations: floating-point operations of a step; shapes: its largest products."""

    operations: float
    shapes: tuple[Shape, ...]

    @property
    def is_tiny(self) -> bool:
        return self.operations < TINY

    @property
    def size(self) -> str:
        return f"a step of {self.operations / 1e9:.2g} GFLOP"

    def cut(self, most: float) -> Work:
        """Similar work of at most `most` operations: each product gives up the same share."""
        share = most / max(most, sum(map(_operations, self.shapes)))
        shapes = tuple(_cut(shape, share * _operations(shape)) for shape in self.shapes)
        return Work(sum(map(_operations, shapes)), shapes)


def work_of(model: nn.Module, samples: int, positions: int = PICTURE) -> Work:
    """Counted from the weights: each row meets each element of a matrix, a convolution's once at
    each of `positions`. A step computes the product and two gradients of it.
    """
    shapes = sorted(_shapes(model, samples, positions), key=_operations, reverse=True)
    return Work(sum(map(_operations, shapes)), tuple(shapes[:MOST_PRODUCTS]))


def products(work: Work, dtype: torch.dtype = torch.float32) -> Callable[[], list[Tensor]]:
    """A function that computes the products of a step; its operands are the same each time."""
    operands = [[side.to(dtype) for side in _operands(shape)] for shape in work.shapes]

    def run() -> list[Tensor]:
        found = []
        for x, w, g in operands:
            found += [functional.linear(x, w), g @ w, g.t() @ x]
        return found

    return run


def trial_step(work: Work) -> Callable[[], None]:
    """A function like a step: the products, and between them small operations that also wait for
    every thread. Each layer is normalised, rectified and updated.
    """
    operands = [_operands(shape) for shape in work.shapes]

    def run() -> None:
        for x, w, g in operands:
            y = functional.relu(functional.layer_norm(functional.linear(x, w), g.shape[1:]))
            torch.matmul(g * y, w)
            w.add_(g.t() @ x, alpha=0.0)

    return run


def seconds(run: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _shapes(model: nn.Module, samples: int, positions: int) -> Iterator[Shape]:
    looked_up = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    }
    for weight in model.parameters():
        if weight.dim() >= 2 and id(weight) not in looked_up and weight.numel():
            rows = samples * (positions if weight.dim() > 2 else 1)
            yield rows, weight.numel() // len(weight), len(weight)


def _operations(shape: Shape) -> float:
    rows, inputs, outputs = shape
    return 6.0 * rows * inputs * outputs


def _cut(shape: Shape, most: float) -> Shape:
    """The shape with its longest side halved until it is small enough."""
    sides = list(shape)
    while 6.0 * sides[0] * sides[1] * sides[2] > most and max(sides) > 1:
        longest = sides.index(max(sides))
        sides[longest] //= 2
    return sides[0], sides[1], sides[2]


def _operands(shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, weights and the outputs' gradients; torch's own generator is left alone."""
    rows, inputs, outputs = shape
    generator = torch.Generator().manual_seed(0)
    sides = ((rows, inputs), (outputs, inputs), (rows, outputs))
    x, w, g = (torch.randn(side, generator=generator, dtype=torch.float32) for side in sides)
    return x, w, g
