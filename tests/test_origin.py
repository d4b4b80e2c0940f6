"""Where a number that is not finite came from: planted origins, and nothing left behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thalweg.probes.origin import in_data, trace

NAN, INF = math.nan, math.inf


class Log(nn.Module):
    """Not finite where its input is negative or zero."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


class Root(nn.Module):
    """Finite at zero, where its gradient is not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(x)


class Masked(nn.Module):
    """Scores of -inf that a softmax makes harmless, in modules of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.fill = Fill()
        self.softmax = nn.Softmax(-1)
        self.log = Log()

    def forward(self, x: Tensor) -> Tensor:
        return self.log(self.softmax(self.fill(x)))


class Fill(nn.Module):
    """Masks the last column."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :-1], torch.full_like(x[:, :1], -INF)], 1)


class Nested(nn.Module):
    """Returns a dict of tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"out": (x, {"log": self.log(x)})}


class Split(nn.Module):
    """Its child's output is finite, what it does with it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) / 0.0


class Twice(nn.Module):
    """One module called twice; only the second time goes wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()

    def forward(self, x: Tensor) -> Tensor:
        return self.log(self.log(x))


def total(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output.sum()
    items = output.values() if isinstance(output, dict) else output
    return torch.stack([total(item) for item in items]).sum()


def summed(model: nn.Module, batch: Any) -> Tensor:
    return total(model(batch[0]))


def filled(net: nn.Module, name: str, value: float) -> nn.Module:
    with torch.no_grad():
        dict([*net.named_parameters(), *net.named_buffers()])[name].fill_(value)
    return net


def ones(*changes: tuple[int, int, float], rows: int = 4, columns: int = 3) -> Tensor:
    x = torch.ones(rows, columns)
    for row, column, value in changes:
        x[row, column] = value
    return x


def linear(width: int = 3) -> nn.Linear:
    return nn.Linear(width, width)


def identity(width: int = 3) -> nn.Linear:
    net = nn.Linear(width, width, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.eye(width))
    return net


def tied() -> nn.Module:
    shared = nn.Sequential(identity(), Log())
    return nn.Sequential(nn.Tanh(), shared, shared)


@dataclass
class Case:
    """A planted origin."""

    net: Callable[[], nn.Module]
    inputs: Tensor
    kind: str
    name: str
    samples: tuple[int, ...] = ()
    target: Any = None
    loss_of: Callable[[nn.Module, Any], Any] = summed
    scale: float = 1.0


CASES = {
    "a NaN in the inputs": Case(linear, ones((2, 1, NAN)), "data", "input, column 1", (2,)),
    "two samples with an Inf": Case(
        linear, ones((0, 2, INF), (3, 2, -INF)), "data", "input, column 2", (0, 3)
    ),
    "a NaN in the targets": Case(
        linear, ones(), "data", "target", (1,), target=torch.tensor([0.0, NAN, 0.0, 0.0])
    ),
    "a parameter": Case(lambda: filled(linear(), "bias", NAN), ones(), "parameter", "bias"),
    "a buffer": Case(
        lambda: filled(nn.Sequential(nn.BatchNorm1d(3)), "0.running_mean", NAN),
        ones(),
        "parameter",
        "0.running_mean",
    ),
    "a module": Case(
        lambda: nn.Sequential(identity(), Log()), ones((1, 0, -1.0)), "module", "1", (1,)
    ),
    "a module in a module": Case(
        lambda: nn.Sequential(nn.Sequential(identity(), Log()), nn.Tanh()),
        ones((3, 0, -1.0)),
        "module",
        "0.1",
        (3,),
    ),
    "the parent, not its child": Case(
        lambda: nn.Sequential(Split()), ones(), "module", "0", (0, 1, 2, 3)
    ),
    "nested outputs": Case(Nested, ones((1, 0, -1.0)), "module", "log", (1,)),
    "called twice": Case(Twice, 1 + ones((1, 0, -0.5), (2, 0, -0.5)), "module", "log", (1, 2)),
    "tied modules": Case(tied, ones((2, 0, -1.0)), "module", "1.1", (2,)),
    "in-place ReLU": Case(
        lambda: nn.Sequential(identity(), nn.ReLU(inplace=True), Log()),
        ones((1, 0, -1.0)),
        "module",
        "2",
        (1,),
    ),
    "masked scores do no harm": Case(Masked, ones(), "module", "log", (0, 1, 2, 3)),
    "the model itself": Case(Log, ones((1, 0, -1.0)), "module", "", (1,)),
    "the loss": Case(
        linear, ones(), "loss", "", loss_of=lambda net, batch: torch.log(-net(batch[0]).exp().sum())
    ),
    "a loss with more beside it": Case(
        linear,
        ones(),
        "loss",
        "",
        loss_of=lambda net, batch: (net(batch[0]).sum() * NAN, {"more": 1.0}),
    ),
    "the backward of a module": Case(
        lambda: nn.Sequential(identity(), Root()), ones((1, 0, 0.0)), "gradient", "1"
    ),
    "after an in-place ReLU": Case(
        lambda: nn.Sequential(identity(), nn.ReLU(inplace=True), Root()),
        ones((1, 0, -1.0)),
        "gradient",
        "2",
    ),
    "the loss scale": Case(identity, ones(), "gradient", "", scale=1e39),
    "nothing": Case(linear, ones(), "finite", ""),
    "an error": Case(linear, ones(columns=2), "unknown", ""),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_planted_origin_is_found(case: Case) -> None:
    origin = trace(case.net(), case.loss_of, (case.inputs, case.target), scale=case.scale)
    assert origin.kind == case.kind, origin
    assert origin.name == case.name, origin
    assert origin.samples == case.samples, origin
    assert "\n" not in origin.text
    assert origin.text


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_without_the_fault_it_says_that_all_is_finite(case: Case) -> None:
    """The control of the table above: the same data, and a model and loss that do no wrong."""
    inputs = torch.ones_like(case.inputs)
    net = nn.Linear(inputs.shape[1], 1)
    origin = trace(net, summed, (inputs, torch.zeros(4)))
    assert (origin.kind, origin.name, origin.samples) == ("finite", "", ())


class Everything(nn.Module):
    """Batch norm, dropout, in-place ReLU and one layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.layer = nn.Linear(3, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.relu(self.layer(self.drop(self.norm(x)))))


@pytest.mark.parametrize("fault", ["none", "data", "module", "loss", "error"])
@pytest.mark.parametrize("is_training", [True, False])
def test_nothing_is_left_behind(fault: str, is_training: bool) -> None:
    net = Everything().train(is_training)
    x = torch.randn(4, 3)
    net(x).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    grads = [(p.grad, p.grad.clone()) for p in net.parameters() if p.grad is not None]
    generator = torch.get_rng_state()
    net.drop.train(not is_training)

    def loss_of(model: nn.Module, batch: Any) -> Tensor:
        if fault == "error":
            raise ValueError("as planted")
        out = model(batch[0])
        return out.sum() * (NAN if fault == "loss" else 1.0)

    inputs = x * NAN if fault == "data" else x * 1e38 * 1e5 if fault == "module" else x
    trace(net, loss_of, (inputs, None))

    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    held = [p.grad for p in net.parameters() if p.grad is not None]
    for p, (same, kept) in zip(held, grads, strict=True):
        assert p is same
        assert torch.equal(p, kept)
    for module in net.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert all(not p._backward_hooks for p in net.parameters())
    assert net.training is is_training
    assert net.drop.training is not is_training


def test_anomaly_detection_does_not_stand_in_the_way() -> None:
    net = nn.Sequential(identity(), Root())
    with torch.autograd.set_detect_anomaly(True):
        assert trace(net, summed, (ones((0, 0, 0.0)), None)).kind == "gradient"
        assert torch.is_anomaly_enabled()


def test_a_compiled_model_is_replayed_uncompiled_under_its_own_names() -> None:
    """No compiler runs: the stance is eager before the first call."""
    net = torch.compile(nn.Sequential(identity(), Log()), backend="eager")
    origin = trace(net, summed, (ones((2, 0, -1.0)), None))
    assert (origin.kind, origin.name, origin.samples) == ("module", "1", (2,))


def test_a_sparse_gradient_is_looked_at() -> None:
    net = nn.Embedding(5, 2, sparse=True)
    indices = torch.tensor([1, 2])

    def loss_of(model: nn.Module, batch: Any) -> Tensor:
        return (model(batch[0]) * 0.0).sqrt().sum()

    assert trace(net, loss_of, (indices, None)).kind == "gradient"


@pytest.mark.parametrize(
    ("batch", "name"),
    [
        ({"x": torch.tensor([1.0, NAN]), "y": torch.zeros(2)}, "batch['x']"),
        (({"a": torch.ones(2), "b": torch.tensor([NAN, 1.0])}, torch.zeros(2)), "input['b']"),
        ([torch.ones(2), torch.ones(2), torch.tensor([1.0, INF])], "batch[2]"),
        (torch.tensor([NAN, 1.0]), "batch"),
        ((torch.ones(2), [torch.zeros(2), torch.tensor([INF, 0.0])]), "target[1]"),
    ],
)
def test_any_part_of_a_batch_is_named(batch: Any, name: str) -> None:
    origin = in_data(batch)
    assert origin is not None
    assert origin.name == name
    assert len(origin.samples) == 1


def test_whole_numbers_are_finite() -> None:
    assert in_data((torch.tensor([1, 2]), torch.tensor([True]), "text", None)) is None
