"""The sets of tensors that are timed, and parameters with gradients made from them."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Shapes = Sequence[tuple[int, ...]]


def one(size: int) -> Shapes:
    """One flat tensor."""
    return [(size,)]


def gpt_like(width: int = 448, layers: int = 8, words: int = 10_000, context: int = 512) -> Shapes:
    """The tensors of a language model: as it comes 148 of them, 24 million elements."""
    vector, square = (width,), (width, width)
    layer = [
        *(vector, vector, (3 * width, width), (3 * width,), square, vector),
        *(vector, vector, (4 * width, width), (4 * width,), (width, 4 * width), vector),
        *([vector] * 6),
    ]
    return [(words, width), (context, width), *(layers * layer), vector, vector]


def alike(count: int = 2_000, size: int = 64) -> Shapes:
    """Many small tensors of one size."""
    return [(size,)] * count


def mixed(count: int = 2_000) -> Shapes:
    """Many tiny tensors of seven shapes."""
    shapes = [(16,), (32,), (8, 16), (64,), (16, 16), (3, 3, 8), (1,)]
    return [shapes[k % len(shapes)] for k in range(count)]


def mlp(widths: Sequence[int] = (64, 64, 64, 10)) -> Shapes:
    """Weights and biases of a small network."""
    return [shape for before, after in pairwise(widths) for shape in ((after, before), (after,))]


def described(shapes: Shapes) -> str:
    """How many tensors and elements, in words."""
    size = sum(map(math.prod, shapes))
    elements = f"{size / 1e6:.3g}M" if size >= 1e6 else f"{size / 1e3:.3g}k"
    return (
        f"{len(shapes):,} tensors ({elements})" if len(shapes) > 1 else f"one tensor ({elements})"
    )


class Set:
    """Parameters of these shapes and a gradient for each; the same numbers for every contender.

    params: the parameters; grads: the gradients, which `attach` puts in place
    """

    def __init__(self, shapes: Shapes, dtype: torch.dtype = torch.float32):
        generator = torch.Generator().manual_seed(0)
        self.params = [
            nn.Parameter(_normal(shape, generator).mul_(0.02).to(dtype)) for shape in shapes
        ]
        self.grads = [_normal(shape, generator).mul_(0.01).to(dtype) for shape in shapes]
        self.attach()

    def attach(self) -> None:
        """Put the gradients in place, the same tensors every time."""
        for p, g in zip(self.params, self.grads, strict=True):
            p.grad = g

    def attach_new(self) -> None:
        """Put new gradient tensors in place, as a backward pass does."""
        for p, g in zip(self.params, self.grads, strict=True):
            p.grad = g.clone()


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)
