"""Networks of the unseen tasks: vectors of viewers and films, a reader, ways past, a narrow middle.

As in `models.py`: hidden layers and a `head`, and depth and width mean the same in each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import Attending, Layers, Shape, block, normal
from benchmarks.healthbench.parts import Data


class Vectors(nn.Module):
    """(n, 2) numbers of a viewer and a film -> (n, outputs): a vector of each, and layers."""

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        width = max(1, shape.width // 4)
        counts = (data.train.x.amax(0).maximum(data.validation.x.amax(0)) + 1).tolist()
        self.viewers, self.films = (nn.Embedding(count, width) for count in counts)
        for embedding in (self.viewers, self.films):
            nn.init.normal_(embedding.weight, std=0.1)
        self.layers = Layers(2 * width, data.num_outputs, shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(torch.cat([self.viewers(x[:, 0]), self.films(x[:, 1])], 1))


class Reader(nn.Module):
    """(n, words) -> (n, outputs): a transformer that sees all words, and the mean of its places."""

    def __init__(self, data: Data, shape: Shape, *, num_words: int = 4096):
        super().__init__()
        self.embedding = nn.Embedding(num_words, shape.width)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.places = nn.Parameter(0.02 * torch.randn(data.train.x.shape[1], shape.width))
        self.hidden = nn.ModuleList(Attending(shape, is_causal=False) for _ in range(shape.depth))
        self.norm = normal(shape.norm, shape.width)
        self.head = nn.Linear(shape.width, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x) + self.places
        for layer in self.hidden:
            h = layer(h)
        return self.head(self.norm(h.mean(1)))


class Past(nn.Module):
    """Two convolutions, and a way past them."""

    def __init__(self, channels: int, shape: Shape):
        super().__init__()
        norm = normal(shape.norm, channels, is_picture=True)
        first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.first = block(first, norm, shape)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(self.first(h))


class Residual(nn.Module):
    """(n, 1, side, side) -> (n, outputs): a convolution, blocks with a way past them, the mean."""

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        channels = max(1, shape.width // 4)
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.hidden = nn.ModuleList(Past(channels, shape) for _ in range(shape.depth))
        self.head = nn.Linear(4 * channels, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for layer in self.hidden:
            h = layer(h)
        return self.head(nn.functional.adaptive_avg_pool2d(h.relu(), 2).flatten(1))


class Narrow(nn.Module):
    """(n, inputs) -> (n, inputs): layers, the middle one of a quarter of the width."""

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        widths = [data.train.x.shape[1], *[shape.width] * shape.depth]
        widths[shape.depth // 2 + 1] = max(1, shape.width // 4)
        self.hidden = nn.ModuleList(
            block(nn.Linear(before, after), normal(shape.norm, after), shape)
            for before, after in pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = layer(x)
        return self.head(x)


NETWORKS: Mapping[str, Callable[[Data, Shape], nn.Module]] = {
    "vectors": Vectors,
    "reader": Reader,
    "passed": Residual,
    "narrow": Narrow,
}
