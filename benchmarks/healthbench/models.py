"""The networks of the tasks: layers for tables, convolutions, bags of trigrams, language models.

All are alike in their parts: hidden layers, each with a normalisation, an activation and dropout,
and a `head`. What a recipe calls depth and width means the same in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.healthbench.sets import NUM_TRIGRAMS

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}


@dataclass(frozen=True)
class Shape:
    """Of a network. norm: none, batch or layer; body: of a language model, gru, lstm or
    attention."""

    depth: int = 2
    width: int = 64
    norm: str = "none"
    activation: str = "relu"
    dropout: float = 0.0
    body: str = "gru"


class Layers(nn.Module):
    """(n, inputs) -> (n, outputs): hidden layers, one behind the other, or around each a way past.

    is_residual: every hidden layer but the first adds to what it was given
    """

    def __init__(self, inputs: int, outputs: int, shape: Shape, *, is_residual: bool = False):
        super().__init__()
        widths = [inputs, *[shape.width] * shape.depth]
        self.hidden = nn.ModuleList(
            block(nn.Linear(before, after), normal(shape.norm, after), shape)
            for before, after in pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], outputs)
        self._is_residual = is_residual

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.hidden):
            x = x + layer(x) if self._is_residual and i else layer(x)
        return self.head(x)


class Convnet(nn.Module):
    """(n, 1, 14, 14) -> (n, outputs): convolutions, the first two of which halve the picture."""

    def __init__(self, outputs: int, shape: Shape):
        super().__init__()
        base = max(1, shape.width // 8)
        channels = [1, base, *[2 * base] * (shape.depth - 1)]
        self.hidden = nn.ModuleList(
            block(
                nn.Conv2d(before, after, 3, stride=2 if i < 2 else 1, padding=1),
                normal(shape.norm, after, is_picture=True),
                shape,
            )
            for i, (before, after) in enumerate(pairwise(channels))
        )
        side = 7 if shape.depth == 1 else 4
        self.head = nn.Linear(channels[-1] * side * side, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.hidden:
            x = layer(x)
        return self.head(x.flatten(1))


class Bag(nn.Module):
    """(n, trigrams) -> (n, outputs): the mean of their vectors, and layers behind it."""

    def __init__(self, outputs: int, shape: Shape):
        super().__init__()
        self.embedding = nn.Embedding(NUM_TRIGRAMS, shape.width)
        self.layers = Layers(shape.width, outputs, shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.embedding(x).mean(1) * x.shape[1] ** 0.5)


class Language(nn.Module):
    """(n, t) -> (n, t, symbols): what comes next, by a recurrent or an attending body."""

    def __init__(self, symbols: int, shape: Shape):
        super().__init__()
        self.embedding = nn.Embedding(symbols, shape.width)
        if shape.body == "attention":
            self.places = nn.Parameter(0.02 * torch.randn(64, shape.width))
        bodies = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
        self.hidden = nn.ModuleList(
            Attending(shape)
            if shape.body == "attention"
            else bodies[shape.body](shape.width, shape.width, batch_first=True)
            for _ in range(shape.depth)
        )
        self.norm = nn.LayerNorm(shape.width) if shape.norm == "layer" else nn.Identity()
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.width, symbols)
        self._shape = shape

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(x)
        if self._shape.body == "attention":
            h = h + self.places[: x.shape[1]]
        for layer in self.hidden:
            h = layer(h) if self._shape.body == "attention" else layer(h)[0]
        return self.head(self.dropout(self.norm(h)))


class Attending(nn.Module):
    """A block of a transformer: (n, t, width) -> the same, each place seeing those before it, or
    all of them.
    """

    def __init__(self, shape: Shape, *, heads: int = 2, is_causal: bool = True):
        super().__init__()
        width = shape.width
        self.first, self.second = (normal(shape.norm, width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.activation = ACTIVATIONS[shape.activation]()
        self.dropout = nn.Dropout(shape.dropout)
        self._heads, self._is_causal = heads, is_causal

    def forward(self, h: Tensor) -> Tensor:
        n, t, width = h.shape
        shape = (n, t, self._heads, width // self._heads)
        q, k, v = (
            part.view(shape).transpose(1, 2) for part in self.qkv(self.first(h)).chunk(3, -1)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self._is_causal)
        h = h + self.dropout(self.out(mixed.transpose(1, 2).reshape(n, t, width)))
        return h + self.dropout(self.down(self.activation(self.up(self.second(h)))))


def block(linear: nn.Module, norm: nn.Module, shape: Shape) -> nn.Sequential:
    """A hidden layer."""
    parts = [linear, norm, ACTIVATIONS[shape.activation](), nn.Dropout(shape.dropout)]
    return nn.Sequential(*(part for part in parts if not isinstance(part, nn.Identity)))


def normal(kind: str, width: int, *, is_picture: bool = False) -> nn.Module:
    """A normalisation over so many channels, or none."""
    if kind == "batch":
        return nn.BatchNorm2d(width) if is_picture else nn.BatchNorm1d(width)
    if kind == "layer":
        return nn.GroupNorm(1, width) if is_picture else nn.LayerNorm(width)
    return nn.Identity()


def inner_layers(model: nn.Module) -> Iterator[nn.Linear | nn.Conv2d]:
    """The layers with weights before the head, in order."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not name.endswith("head"):
            yield module


def head_of(model: nn.Module) -> nn.Linear:
    """The last layer."""
    *_, head = (m for name, m in model.named_modules() if name.endswith("head"))
    assert isinstance(head, nn.Linear)
    return head
