"""Networks of the fresh tasks: forecasts, titles, categories, codes, two towers, matches, noise.

As in `models.py`: hidden layers and a `head`, and depth and width mean the same in each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import Layers, Shape, block, normal
from benchmarks.healthbench.more_models import Past
from benchmarks.healthbench.objectives import LATENTS
from benchmarks.healthbench.parts import Data

TEMPERATURE = 0.1


class Forecaster(nn.Module):
    """(n, hours, values) -> (n, outputs): a recurrent body, and layers behind its last hour."""

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        self.body = nn.GRU(data.train.x.shape[2], shape.width, batch_first=True)
        self.layers = Layers(shape.width, data.num_outputs, shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.body(x)[0][:, -1])


class Titles(nn.Module):
    """(n, pieces) -> (n, outputs): the mean of the pieces' vectors, and layers behind it."""

    def __init__(self, data: Data, shape: Shape, *, num_pieces: int = 2048):
        super().__init__()
        self.embedding = nn.Embedding(num_pieces, shape.width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.layers = Layers(shape.width, data.num_outputs, shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.embedding(x).mean(1) * x.shape[1] ** 0.5)


class Columns(nn.Module):
    """(n, categories and numbers) -> (n, outputs): a vector of each category, beside numbers."""

    def __init__(self, data: Data, shape: Shape, *, num_categories: int = 7):
        super().__init__()
        sizes = (data.train.x[:, :num_categories].amax(0).long() + 1).tolist()
        self.embeddings = nn.ModuleList(nn.Embedding(size, 4) for size in sizes)
        inputs = 4 * len(sizes) + data.train.x.shape[1] - len(sizes)
        self.layers = Layers(inputs, data.num_outputs, shape)
        nn.init.zeros_(self.layers.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        num = len(self.embeddings)
        sizes = [each.num_embeddings - 1 for each in self.embeddings]
        ids = [x[:, i].long().clamp(0, size) for i, size in enumerate(sizes)]
        vectors = [each(i) for each, i in zip(self.embeddings, ids, strict=True)]
        return self.layers(torch.cat([*vectors, x[:, num:]], 1))


class Code(nn.Module):
    """(n, inputs) -> (n, 2 x inputs + 2 x LATENTS): what is drawn, its spread, and the code's means
    and logarithms of variances; the code is drawn at random in training.
    """

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        inputs = data.train.x.shape[1]
        self.encoder = Layers(inputs, 2 * LATENTS, shape)
        self.decoder = Layers(LATENTS, inputs, shape)
        self.spread = nn.Parameter(torch.full((inputs,), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        log_variance = log_variance.clamp(-12, 8)
        code = mean
        if self.training:
            code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        drawn = self.decoder(code)
        return torch.cat([drawn, self.spread.expand_as(drawn), mean, log_variance], -1)


class Towers(nn.Module):
    """(n, 2, inputs) -> (n, 2, width): each view by layers of its own, all of length one but that
    the first ones are divided by the temperature.
    """

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        inputs = data.train.x.shape[2]
        self.first, self.second = (Layers(inputs, 16, shape) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        sides = [self.first(x[:, 0]), self.second(x[:, 1])]
        first, second = (nn.functional.normalize(side, dim=-1, eps=1e-6) for side in sides)
        return torch.stack([first / TEMPERATURE, second], 1)


class Matcher(nn.Module):
    """(n, 1 + candidates) numbers -> (n, candidates): how well each one suits the student."""

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        x = torch.cat([data.train.x, data.validation.x])
        self.students = nn.Embedding(int(x[:, 0].max()) + 1, shape.width)
        self.lecturers = nn.Embedding(int(x[:, 1:].max()) + 1, shape.width)
        self.offsets = nn.Embedding(int(x[:, 1:].max()) + 1, 1)
        for embedding in (self.students, self.lecturers, self.offsets):
            nn.init.normal_(embedding.weight, std=0.1)
        self.layers = Layers(shape.width, shape.width, shape)

    def forward(self, x: Tensor) -> Tensor:
        wanted = self.layers(self.students(x[:, 0]))
        products = self.lecturers(x[:, 1:]) @ wanted[:, :, None]
        return products[..., 0] + self.offsets(x[:, 1:])[..., 0]


class Denoiser(nn.Module):
    """(n, 2, side, side) -> (n, 1, side, side): convolutions with ways past them."""

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        channels = max(1, shape.width // 4)
        self.stem = block(
            nn.Conv2d(2, channels, 3, padding=1),
            normal(shape.norm, channels, is_picture=True),
            shape,
        )
        self.hidden = nn.ModuleList(Past(channels, shape) for _ in range(shape.depth))
        self.head = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for layer in self.hidden:
            h = layer(h)
        return self.head(h)


NETWORKS: Mapping[str, Callable[[Data, Shape], nn.Module]] = {
    "forecaster": Forecaster,
    "titles": Titles,
    "columns": Columns,
    "code": Code,
    "towers": Towers,
    "matcher": Matcher,
    "denoiser": Denoiser,
}
