"""Programs that are wired wrongly: loss, mode, optimizer, zeroing, graph, mask (TW305 to TW310)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthbench.structures.parts import (
    ADAM,
    ENTROPY,
    MOMENTUM,
    SGD,
    Batch,
    Built,
    Recurrent,
    Structure,
    by_symbol,
    cancer,
    convnet,
    diabetes,
    digits,
    mlp,
    pictures,
    program,
    stepping,
    text,
    yes_or_no,
)

ENDS: dict[str, Callable[[], Built]] = {
    "a softmax layer before cross-entropy": lambda: program(
        nn.Sequential(mlp(64, 64, 10), nn.Softmax(-1)), digits()
    ),
    "softmax in the loop before cross-entropy": lambda: program(
        mlp(64, 64, 10), digits(), lambda outputs, y: ENTROPY(outputs.softmax(-1), y)
    ),
    "softmax on pictures before cross-entropy": lambda: program(
        nn.Sequential(convnet(), nn.Softmax(1)), pictures(), optimizer=MOMENTUM
    ),
    "softmax over symbols before cross-entropy": lambda: program(
        nn.Sequential(Recurrent(), nn.Softmax(-1)), text(), by_symbol
    ),
    "softmax without a logarithm before nll": lambda: program(
        nn.Sequential(mlp(64, 64, 10), nn.Softmax(-1)), digits(), nn.NLLLoss()
    ),
    "bare outputs before nll": lambda: program(mlp(64, 64, 10), digits(), nn.NLLLoss()),
    "log softmax over the batch": lambda: program(
        nn.Sequential(mlp(64, 64, 10), nn.LogSoftmax(0)), digits(), nn.NLLLoss()
    ),
    "a sigmoid layer before bce with logits": lambda: program(
        nn.Sequential(mlp(30, 32, 1), nn.Sigmoid()), yes_or_no(), nn.BCEWithLogitsLoss()
    ),
    "sigmoid in the loop before bce with logits": lambda: program(
        mlp(30, 32, 1),
        yes_or_no(),
        lambda outputs, y: functional.binary_cross_entropy_with_logits(outputs.sigmoid(), y),
    ),
    "softmax over a single output": lambda: program(
        nn.Sequential(mlp(30, 32, 1), nn.Softmax(-1)), yes_or_no(), nn.BCELoss()
    ),
    "squared distance to class ids": lambda: program(
        mlp(64, 64, 1), digits(), lambda outputs, y: functional.mse_loss(outputs[:, 0], y.float())
    ),
    "squared distance of ten outputs to class ids": lambda: program(
        mlp(64, 64, 10), digits(), lambda outputs, y: ((outputs - y[:, None]) ** 2).mean()
    ),
    "outputs (n, 1) against targets (n,)": lambda: program(
        mlp(10, 32, 1), diabetes(), lambda outputs, y: ((outputs - y[:, 0]) ** 2).mean()
    ),
    "relu behind the last layer of a regression": lambda: program(
        nn.Sequential(mlp(10, 32, 1), nn.ReLU()), diabetes(), nn.MSELoss()
    ),
    "sigmoid for a target of 25 to 346": lambda: program(
        nn.Sequential(mlp(10, 32, 1), nn.Sigmoid()), diabetes(is_raw=True), nn.MSELoss()
    ),
    "relu before cross-entropy": lambda: program(
        nn.Sequential(mlp(64, 64, 10), nn.ReLU()), digits()
    ),
}


# --------------------------------------------------------------------- mode


def _evaluating(model: nn.Module, batches: list[Batch]) -> Built:
    model.eval()
    return program(model, batches)


def never_back() -> Built:
    """Every step ends with an evaluation, after which nobody calls train()."""
    model = mlp(64, 64, 10, dropout=0.3)
    return stepping(model, ADAM(model.parameters()), digits(), after=model.eval)


def evaluates_in_training_mode() -> Built:
    """Batch norm learns from the held-out batch, and its scores depend on the batch."""
    model, batches = convnet(), pictures()

    @torch.no_grad()
    def evaluate() -> None:
        model(batches[-1][0])

    return stepping(model, ADAM(model.parameters()), batches, after=evaluate)


MODES: dict[str, Callable[[], Built]] = {
    "batch norm in evaluation mode": lambda: _evaluating(convnet(), pictures()),
    "batch norm of layers in evaluation mode": lambda: _evaluating(
        mlp(64, 64, 64, 10, norm=nn.BatchNorm1d), digits()
    ),
    "dropout in evaluation mode": lambda: _evaluating(mlp(64, 64, 10, dropout=0.5), digits()),
    "evaluation mode after the first step": never_back,
    "evaluated in training mode": evaluates_in_training_mode,
}


# ------------------------------------------------------ parameters left out


def head_alone() -> Built:
    """Only the last layer is given to the optimizer."""
    model = mlp(64, 64, 64, 10)
    return stepping(model, ADAM(model[-1].parameters()), digits())


def replaced_head() -> Built:
    """The head for these classes comes after the optimizer was made."""
    model = mlp(64, 64, 2)
    optimizer = ADAM(model.parameters())
    model[-1] = nn.Linear(64, 10)
    return stepping(model, optimizer, digits())


def other_copy() -> Built:
    """The optimizer was made of a copy."""
    model = mlp(64, 64, 10)
    return stepping(model, ADAM(copy.deepcopy(model).parameters()), digits())


class Listed(nn.Module):
    """Its hidden layers stand in a list of Python's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(64, 64), nn.Linear(64, 64)]
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


class Scaled(nn.Module):
    """Its scale is a tensor that wants a gradient and is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.scale = mlp(64, 64, 10), torch.ones(10, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) * self.scale


class Remade(nn.Module):
    """A layer is made anew in every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(64, 64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return nn.Linear(32, 10)(self.body(x).relu())


def no_step() -> Built:
    """The optimizer is never called."""
    model = mlp(64, 64, 10)
    optimizer = ADAM(model.parameters())

    def train_step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        value = ENTROPY(model(batch[0]), batch[1])
        value.backward()
        return value

    return Built(model, optimizer, ENTROPY, digits(), train_step)


def zeroed_too_late() -> Built:
    """Gradients are zeroed between backward and step."""
    model = mlp(64, 64, 10)
    optimizer = SGD(model.parameters())

    def train_step(batch: Batch) -> Tensor:
        value = ENTROPY(model(batch[0]), batch[1])
        value.backward()
        optimizer.zero_grad()
        optimizer.step()
        return value

    return Built(model, optimizer, ENTROPY, digits(), train_step)


def rate_of_zero() -> Built:
    """One group has no rate, and never gets one."""
    model = mlp(64, 64, 10)
    groups = [
        {"params": model[0].parameters(), "lr": 0.0},
        {"params": model[-1].parameters()},
    ]
    return stepping(model, ADAM(groups), digits())


LEFT_OUT: dict[str, Callable[[], Built]] = {
    "the optimizer has the head alone": head_alone,
    "the head came after the optimizer": replaced_head,
    "the optimizer has another copy": other_copy,
    "layers in a list": lambda: program(Listed(), digits()),
    "a scale that is no parameter": lambda: program(Scaled(), digits()),
    "a layer made in every forward pass": lambda: program(Remade(), digits()),
    "no step": no_step,
    "zeroed between backward and step": zeroed_too_late,
    "a group with a rate of zero": rate_of_zero,
}


# ---------------------------------------------------------------- gradients


def not_zeroed(optimizer: Callable[..., torch.optim.Optimizer], model: nn.Module, batches) -> Built:
    """No zero_grad anywhere."""
    return stepping(model, optimizer(model.parameters()), batches, is_zeroed=False)


def zeroes_another() -> Built:
    """Zeroes the gradients of a copy."""
    model = mlp(64, 64, 10)
    other = SGD(copy.deepcopy(model).parameters())
    return stepping(
        *(model, SGD(model.parameters()), digits()), before=other.zero_grad, is_zeroed=False
    )


NOT_ZEROED: dict[str, Callable[[], Built]] = {
    "never zeroed, sgd": lambda: not_zeroed(SGD, mlp(64, 64, 10), digits()),
    "never zeroed, adam": lambda: not_zeroed(ADAM, mlp(30, 32, 2), cancer()),
    "never zeroed, convnet": lambda: not_zeroed(MOMENTUM, convnet(), pictures()),
    "zeroes another model": zeroes_another,
}


class Cut(nn.Module):
    """Two parts, between which something happens to the graph."""

    def __init__(self, between: Callable[[Tensor], Tensor]):
        super().__init__()
        self.body, self.head, self._between = mlp(64, 64, 32), mlp(32, 32, 10), between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self._between(self.body(x).relu()))


class Ungraphed(nn.Module):
    """The body runs under no_grad, and the optimizer has it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(64, 64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.body(x)
        return self.head(h.relu())


def remade_loss() -> Built:
    """The loss is read as a number and made into a tensor again."""
    return program(
        mlp(64, 64, 10),
        digits(),
        lambda outputs, y: torch.tensor(ENTROPY(outputs, y).item(), requires_grad=True),
    )


def _hardest(h: Tensor) -> Tensor:
    return functional.one_hot(h.argmax(-1), h.shape[-1]).float()


CUTS: dict[str, Callable[[], Built]] = {
    "detached in the middle": lambda: program(Cut(lambda h: h.detach()), digits()),
    ".data in the middle": lambda: program(Cut(lambda h: h.data * 2), digits()),
    "argmax in the middle": lambda: program(Cut(_hardest), digits()),
    "numpy in the middle": lambda: program(
        Cut(lambda h: torch.from_numpy(h.detach().numpy().clip(0, 4))), digits()
    ),
    "rounded in the middle": lambda: program(Cut(torch.round), digits()),
    "the body under no_grad": lambda: program(Ungraphed(), digits()),
    "the loss made anew from a number": remade_loss,
}


# -------------------------------------------------------------------- masks


def _ignored(batches: list[Batch], is_hit: Callable[[int], bool]) -> list[Batch]:
    return [(x, torch.full_like(y, -100) if is_hit(i) else y) for i, (x, y) in enumerate(batches)]


def _counted(outputs: Tensor, y: Tensor) -> Tensor:
    each = functional.cross_entropy(outputs, y, reduction="none", ignore_index=-100)
    return each.sum() / (y != -100).sum().clamp(min=1)


MASKS: dict[str, Callable[[], Built]] = {
    "all labels masked": lambda: program(
        mlp(64, 64, 10), _ignored(digits(), lambda i: True), nn.CrossEntropyLoss()
    ),
    "all labels of the second batch masked": lambda: program(
        mlp(64, 64, 10), _ignored(digits(), lambda i: i == 1)
    ),
    "all labels masked, counted as one": lambda: program(
        mlp(64, 64, 10), _ignored(digits(), lambda i: True), _counted
    ),
    "all symbols masked": lambda: program(
        Recurrent(), _ignored(text(), lambda i: i % 2 == 0), by_symbol
    ),
}

ROWS = [
    Structure(name, codes, build)
    for codes, group in (
        (("TW305",), ENDS),
        (("TW306",), MODES),
        (("TW307",), LEFT_OUT),
        (("TW308",), NOT_ZEROED),
        (("TW309", "TW307"), CUTS),
        (("TW310", "TW001"), MASKS),
    )
    for name, build in group.items()
]
