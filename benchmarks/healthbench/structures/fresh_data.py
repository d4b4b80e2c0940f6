"""Batches and networks for the second blind set: flowers, words, series, sums, scenes, ratings."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn, optim

from benchmarks.healthbench.structures.parts import Batch
from benchmarks.healthbench.structures.unseen_data import classify, cut

PAD = 0
"""The word that fills up short sentences."""


def _draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flowers(*, size: int = 25) -> list[Batch]:
    """Iris: 4 measures, standardised, and 3 classes."""
    bunch = datasets.load_iris()
    order = np.random.default_rng(11).permutation(150)
    x = (bunch.data - bunch.data.mean(0)) / bunch.data.std(0)
    y = torch.tensor(bunch.target[order], dtype=torch.long)
    return cut(torch.tensor(x[order], dtype=torch.float32), y, size)


@cache
def _sentences() -> tuple[Tensor, Tensor]:
    text = (datasets.load_iris().DESCR + datasets.load_wine().DESCR).lower()
    names: dict[str, int] = {}
    lines = [line.split()[:12] for line in text.splitlines() if len(line.split()) > 2] * 3
    ids = torch.full((len(lines), 12), PAD)
    for row, line in enumerate(lines):
        for place, word in enumerate(line):
            ids[row, place] = names.setdefault(word, len(names) % 199 + 1)
    return ids, torch.tensor([len(line) > 7 for line in lines]).long()


def sentences(*, size: int = 32) -> list[Batch]:
    """Words below 200, (B, 12), 0 where there is none; and whether a line is long."""
    x, y = _sentences()
    order = torch.randperm(len(x), generator=_draw(1))
    return cut(x[order], y[order], size)


def series(*, size: int = 20, offset: float = 0.0) -> list[Batch]:
    """Random walks of 3 channels, (B, 3, 40), and which channel rose most, 3 classes."""
    steps = torch.randn(12 * size, 3, 40, generator=_draw(2))
    walks = steps.cumsum(-1) / 4
    return cut(walks + offset, walks[..., -1].argmax(1), size)


def sums(*, size: int = 40) -> list[Batch]:
    """Eight numbers and a smooth function of them, (B, 1), about standard."""
    x = torch.randn(10 * size, 8, generator=_draw(3))
    y = x[:, :3].sin().sum(1) + 0.5 * x[:, 3] * x[:, 4]
    return cut(x, (y / 1.3)[:, None], size)


def counts(*, size: int = 40) -> list[Batch]:
    """Six numbers and a Poisson count, (B, 1), as a float."""
    x = torch.randn(10 * size, 6, generator=_draw(4))
    rate = (0.6 * x[:, 0] - 0.4 * x[:, 1] + 0.5).exp()
    return cut(x, torch.poisson(rate, generator=_draw(5))[:, None], size)


def scenes(*, size: int = 16) -> list[Batch]:
    """Pictures with a bright square, (B, 1, 16, 16), and where it is, (B, 16, 16), 0 or 1."""
    draw = _draw(6)
    x = 0.3 * torch.randn(10 * size, 1, 16, 16, generator=draw)
    y = torch.zeros(10 * size, 16, 16, dtype=torch.long)
    for row in range(10 * size):
        top, left = torch.randint(0, 10, (2,), generator=draw).tolist()
        y[row, top : top + 6, left : left + 6] = 1
    return cut(x + y[:, None], y, size)


def ratings(*, size: int = 64) -> list[Batch]:
    """A user below 50 and a film below 80, (B, 2), and a rating, (B,), about 0."""
    draw = _draw(7)
    users, films = torch.randn(50, 3, generator=draw), torch.randn(80, 3, generator=draw)
    pairs = torch.stack(
        [torch.randint(0, n, (10 * size,), generator=draw) for n in (50, 80)], dim=1
    )
    score = (users[pairs[:, 0]] * films[pairs[:, 1]]).sum(1)
    return cut(pairs, score / 1.7, size)


def tags(*, size: int = 36) -> list[Batch]:
    """Ten numbers and five tags of which any may be true, (B, 5), 0.0 or 1.0."""
    x = torch.randn(10 * size, 10, generator=_draw(8))
    way = torch.randn(10, 5, generator=_draw(9))
    return cut(x, (x @ way > 1).float(), size)


def mlp(*widths: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Layers of these widths, an activation between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), act()]
    return nn.Sequential(*layers[:-1])


def trained(net: nn.Module, batches: list[Batch]) -> nn.Module:
    """The network after a hundred steps, as one that was loaded."""
    program = classify(net, optim.Adam(net.parameters(), 3e-3), batches)
    for at in range(100):
        program.train_step(batches[at % len(batches)])
    return net
