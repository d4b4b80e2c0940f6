"""The short way to torch's engine does what `Tensor.backward` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from thalweg.loop.backward import backward


class Heard(Tensor):
    """A tensor that takes part in torch's operations in its own way."""

    heard: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.heard.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 3))


def inputs() -> Tensor:
    return torch.randn(11, 5, generator=torch.Generator().manual_seed(1))


def classes(model: nn.Module) -> Tensor:
    return functional.cross_entropy(model(inputs()), torch.arange(11) % 3)


def in_bf16(model: nn.Module) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return classes(model)


def in_blocks(model: nn.Module) -> Tensor:
    return checkpoint(model, inputs(), use_reentrant=False).square().mean()


def with_penalty(model: nn.Module) -> Tensor:
    first = torch.autograd.grad(classes(model), [*model.parameters()], create_graph=True)
    return sum((g.square().sum() for g in first), torch.zeros(()))


LOSSES = {
    "classes": classes,
    "bf16": in_bf16,
    "in blocks": in_blocks,
    "of a gradient": with_penalty,
    "float64": lambda model: classes(model).double(),
}


def grads(loss_of: Callable[[nn.Module], Tensor], way: Callable[[Tensor], None]) -> list[Tensor]:
    """After two passes, so that the second adds."""
    model, seen = net(), []
    model[0].weight.register_hook(lambda g: g * 2)
    model[3].bias.register_post_accumulate_grad_hook(seen.append)
    for _ in range(2):
        way(loss_of(model))
    assert len(seen) == 2
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("loss_of", LOSSES.values(), ids=LOSSES)
def test_the_gradients_are_equal_to_the_bit(loss_of):
    ours, torchs = grads(loss_of, backward), grads(loss_of, Tensor.backward)
    assert len(ours) == len(torchs) == 6
    assert all(map(torch.equal, ours, torchs))


@pytest.mark.parametrize(
    "loss",
    [torch.ones(()), torch.ones(3, requires_grad=True) * 2],
    ids=["of no parameter", "no scalar"],
)
def test_what_has_no_gradient_is_refused_in_torchs_words(loss):
    with pytest.raises(RuntimeError) as torchs:
        loss.backward()
    with pytest.raises(RuntimeError) as ours:
        backward(loss)
    assert str(ours.value) == str(torchs.value)


def test_a_graph_is_used_once():
    loss = classes(net())
    backward(loss)
    with pytest.raises(RuntimeError, match="second time"):
        backward(loss)


def test_a_tensor_with_a_way_of_its_own_is_asked():
    Heard.heard.clear()
    backward(torch.ones(3, requires_grad=True).sum().as_subclass(Heard))
    assert "backward" in Heard.heard
