"""Batches, the usual loop and the register of the programs that were written for the blind exam."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn

from benchmarks.healthbench.structures.parts import Batch, Built, Structure

Step = Callable[[Batch], Tensor | Iterator[Tensor]]


class Rows(list[Structure]):
    """Programs, each named by its function: `@ROWS.of("TW305")`, or `@ROWS.of()` where sound."""

    def of(self, *codes: str) -> Callable[[Callable[[], Built]], Callable[[], Built]]:
        def add(build: Callable[[], Built]) -> Callable[[], Built]:
            self.append(Structure(build.__name__.replace("_", " "), codes, build))
            return build

        return add


# ------------------------------------------------------------------ batches


@cache
def _rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    bunch = getattr(datasets, f"load_{name}")()
    order = np.random.default_rng(7).permutation(len(bunch.target))
    return bunch.data[order], bunch.target[order]


def cut(x: Tensor, y: Tensor, size: int) -> list[Batch]:
    """Batches of one size; the rest is left out."""
    return list(zip(x.split(size), y.split(size), strict=True))[: len(x) // size]


def _scaled(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / (x.std(0) + 1e-6)


def _classes(name: str, *, size: int, is_raw: bool) -> list[Batch]:
    x, y = _rows(name)
    x = x if is_raw else _scaled(x)
    return cut(torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.long), size)


def wine(*, size: int = 32, is_raw: bool = False) -> list[Batch]:
    """13 measures, 3 classes; raw columns reach from 0.1 to 1,680."""
    return _classes("wine", size=size, is_raw=is_raw)


def tumours(*, size: int = 32, is_raw: bool = False) -> list[Batch]:
    """30 measures, 2 classes."""
    return _classes("breast_cancer", size=size, is_raw=is_raw)


def glyphs(*, size: int = 48, top: float = 1.0) -> list[Batch]:
    """Pictures of 1 x 8 x 8 with pixels from 0 to `top`, 10 classes."""
    x, y = _rows("digits")
    x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) * (top / 16)
    return cut(x, torch.tensor(y), size)


def flat(*, size: int = 48) -> list[Batch]:
    """The same pictures as rows of 64, about centred."""
    return [((x.flatten(1) - 0.3) / 0.35, y) for x, y in glyphs(size=size)]


def progress(*, size: int = 32, is_raw: bool = False) -> list[Batch]:
    """10 measures and one number to predict, (B,); raw: from 25 to 346."""
    x, y = _rows("diabetes")
    y = y if is_raw else _scaled(y)
    x, y = torch.tensor(_scaled(x)), torch.tensor(y)
    return cut(x.float(), y.float(), size)


def letters(*, window: int = 24, size: int = 16) -> list[Batch]:
    """Windows of English letters below 128 and the letters that follow each."""
    ids = torch.tensor([min(ord(c), 127) for c in datasets.load_diabetes().DESCR * 4])
    starts = torch.randperm(len(ids) - window - 1, generator=torch.Generator().manual_seed(3))
    picked = starts[: 8 * size, None] + torch.arange(window)
    return cut(ids[picked], ids[picked + 1], size)


def waves(*, size: int = 32, length: int = 30) -> list[Batch]:
    """Noisy sines, (B, T, 1), and the next value, (B, 1)."""
    draw = torch.Generator().manual_seed(5)
    count = 8 * size
    phase = torch.rand(count, 1, generator=draw) * 6.28
    speed = 0.2 + torch.rand(count, 1, generator=draw) * 0.5
    values = torch.sin(phase + speed * torch.arange(length + 1))
    values = values + 0.05 * torch.randn(values.shape, generator=draw)
    return cut(values[:, :-1, None], values[:, -1:], size)


# ------------------------------------------------------------------ the loop


def built(model: nn.Module, optimizer, batches: Sequence[Batch], step: Step) -> Built:
    """A program with a step of its own."""
    return Built(model, optimizer, nn.functional.cross_entropy, list(batches), step)


def loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    *,
    is_shown_before: bool = False,
) -> Built:
    """The usual step. is_shown_before: the loss is shown before the backward pass, not after."""

    def after(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(*batch)
        loss.backward()
        optimizer.step()
        return loss

    def before(batch: Batch) -> Iterator[Tensor]:
        loss = loss_of(*batch)
        yield loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return built(model, optimizer, batches, before if is_shown_before else after)


def classify(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]) -> Built:
    """The usual step with the cross-entropy of what the model gives."""
    return loop(model, optimizer, batches, lambda x, y: nn.functional.cross_entropy(model(x), y))


def small(n_in: int, n_out: int, width: int = 48) -> nn.Sequential:
    """Two layers."""
    return nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, n_out))


def convnet() -> nn.Sequential:
    """(n, 1, 8, 8) -> (n, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(384, 10),
    )
