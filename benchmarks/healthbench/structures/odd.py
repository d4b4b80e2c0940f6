"""Sound programs whose loss, graph or layers look as if they were wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from benchmarks.healthbench.structures.parts import (
    ADAM,
    ENTROPY,
    SGD,
    Batch,
    Built,
    Residual,
    Structure,
    Transformer,
    by_symbol,
    cancer,
    convnet,
    diabetes,
    digits,
    mlp,
    pictures,
    program,
    text,
    yes_or_no,
)


def taught() -> Built:
    """Learns from a larger network's answers, made without a graph."""
    teacher, model = mlp(64, 128, 10).eval(), mlp(64, 32, 10)

    def train_step(batch: Batch) -> Tensor:
        x, _ = batch
        with torch.no_grad():
            wanted = teacher(x).softmax(-1)
        optimizer.zero_grad()
        value = functional.kl_div(model(x).log_softmax(-1), wanted, reduction="batchmean")
        value.backward()
        optimizer.step()
        return value

    optimizer = ADAM(model.parameters())
    return Built(model, optimizer, nn.KLDivLoss(), digits(), train_step)


def against_each_other() -> Built:
    """The judge's step sees the maker's pictures detached, as it should."""
    maker, judge = mlp(8, 32, 64), mlp(64, 32, 1)
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    of_maker, of_judge = ADAM(maker.parameters()), ADAM(judge.parameters())
    loss = nn.BCEWithLogitsLoss()

    def train_step(batch: Batch) -> Tensor:
        x, ones, zeros = batch[0], torch.ones(len(batch[0]), 1), torch.zeros(len(batch[0]), 1)
        made = maker(torch.randn(len(x), 8))
        of_judge.zero_grad()
        value = loss(judge(x), ones) + loss(judge(made.detach()), zeros)
        value.backward()
        of_judge.step()
        of_maker.zero_grad()
        loss(judge(made), ones).backward()
        of_maker.step()
        return value

    return Built(model, of_judge, loss, digits(), train_step, [of_maker])


class Rounded(nn.Module):
    """Rounds in the forward pass, and lets the gradient through."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(64, 64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return self.head(h + (h.round() - h).detach())


class Recomputed(nn.Module):
    """Its body is computed twice, to save memory."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(64, 64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = checkpoint(self.body, x, use_reentrant=False)
        assert isinstance(h, Tensor)
        return self.head(h.relu())


class Gated(nn.Module):
    """A sigmoid and a softmax inside, before more layers."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.body, self.head = nn.Linear(64, 64), mlp(64, 64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gate(x).sigmoid() * self.body(x) + x.softmax(-1))


def some_masked() -> Built:
    """Four of five symbols are masked, never all."""
    batches = [(x, torch.where(torch.arange(16) % 5 == 0, y, -100)) for x, y in text()]
    return program(Transformer(), batches, by_symbol)


def one_hot(y: Tensor) -> Tensor:
    return functional.one_hot(y, 10).float()


def _two_views(model: nn.Module, batches: list[Batch]) -> Built:
    """Two forward passes a step; the second one's answer is the first one's target."""
    usual = program(model, batches)

    def train_step(batch: Batch) -> Tensor:
        x, y = batch
        usual.optimizer.zero_grad()
        first, second = model(x), model(x + 0.1 * torch.randn_like(x))
        value = ENTROPY(first, y) + ((second - first.detach()) ** 2).mean()
        value.backward()
        usual.optimizer.step()
        return value

    usual.train_step = train_step
    return usual


@torch.no_grad()
def _with_prior(model: nn.Sequential) -> nn.Module:
    *_, bias = model.parameters()
    bias.copy_(torch.tensor([math.log(0.37), math.log(0.63)]))
    return model


BUILDS: dict[str, Callable[[], Built]] = {
    "a teacher": taught,
    "maker and judge": against_each_other,
    "rounded with a gradient": lambda: program(Rounded(), digits()),
    "recomputed": lambda: program(Recomputed(), digits()),
    "gates inside": lambda: program(Gated(), digits()),
    "log softmax and nll": lambda: program(
        nn.Sequential(mlp(64, 64, 10), nn.LogSoftmax(-1)), digits(), nn.NLLLoss()
    ),
    "log softmax and cross-entropy": lambda: program(
        nn.Sequential(mlp(64, 64, 10), nn.LogSoftmax(-1)), digits()
    ),
    "sigmoid and bce": lambda: program(
        nn.Sequential(mlp(30, 32, 1), nn.Sigmoid()), yes_or_no(), nn.BCELoss()
    ),
    "label smoothing": lambda: program(
        mlp(64, 64, 10), digits(), nn.CrossEntropyLoss(label_smoothing=0.1)
    ),
    "weighted classes": lambda: program(
        mlp(30, 32, 2), cancer(), nn.CrossEntropyLoss(weight=torch.tensor([3.0, 1.0]))
    ),
    "some labels masked": some_masked,
    "squared distance to one-hot": lambda: program(
        mlp(64, 64, 10), digits(), lambda outputs, y: ((outputs - one_hot(y)) ** 2).mean()
    ),
    "many labels at once": lambda: program(
        mlp(64, 64, 10),
        digits(),
        lambda outputs, y: functional.binary_cross_entropy_with_logits(outputs, one_hot(y)),
    ),
    "both flat": lambda: program(
        mlp(10, 32, 1), diabetes(), lambda outputs, y: ((outputs[:, 0] - y[:, 0]) ** 2).mean()
    ),
    "poisson": lambda: program(
        mlp(10, 32, 1), [(x, y + 3) for x, y in diabetes()], nn.PoissonNLLLoss()
    ),
    "a positive target behind softplus": lambda: program(
        nn.Sequential(mlp(10, 32, 1), nn.Softplus()),
        [(x, y / 100) for x, y in diabetes(is_raw=True)],
        nn.MSELoss(),
    ),
    "two views": lambda: _two_views(mlp(64, 64, 10), digits()),
    "raw columns before a batch norm": lambda: program(
        nn.Sequential(nn.BatchNorm1d(30), mlp(30, 32, 2)), cancer(is_raw=True)
    ),
    "30 residual layers": lambda: program(Residual(64, 10, 30), digits()),
    "16 layers with batch norm": lambda: program(
        mlp(64, *[64] * 16, 10, norm=nn.BatchNorm1d), digits()
    ),
    "12 convolutions with batch norm": lambda: program(convnet(depth=12), pictures()),
    "leaky relu": lambda: program(mlp(64, 64, 64, 10, activation=nn.LeakyReLU), digits()),
    "silu": lambda: program(mlp(64, 64, 64, 10, activation=nn.SiLU), digits()),
    "one wide layer": lambda: program(mlp(64, 2048, 10), digits()),
    "orthogonal weights": lambda: program(
        nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(64, 64)), nn.Linear(64, 10)),
        digits(),
    ),
    "a low rate": lambda: program(
        mlp(64, 64, 10), digits(), optimizer=partial(torch.optim.AdamW, lr=1e-5)
    ),
    "a single sample a batch": lambda: program(
        mlp(64, 64, 10), [(x[:1], y[:1]) for x, y in digits()], optimizer=SGD
    ),
    "a bias set to the classes' shares": lambda: program(_with_prior(mlp(30, 32, 2)), cancer()),
}

ROWS = [Structure(name, (), build) for name, build in BUILDS.items()]
