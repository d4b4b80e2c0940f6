"""What a run's log holds: scores of a part, norms of gradients and weights, dead units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmarks.healthbench.sets import Data, Part

NUM_WATCHED = 128
"""Samples on which units are called dead."""


def gradient_norm(model: nn.Module) -> float:
    """Over all parameters, before clipping."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return float(nn.utils.get_total_norm(grads)) if grads else 0.0


def score(
    outputs: Tensor, data: Data, part: Part, loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, float]:
    """loss, accuracy (r2 of numbers and pictures), balanced_accuracy of classes."""
    found = {"loss": float(loss(outputs, part.y))}
    if data.objective is not None:
        found[data.objective.measure] = float(data.objective.right(outputs, part.y))
        return found
    if data.kind in ("numbers", "pictures"):
        spread = part.y.var(0, unbiased=False).mean()
        found["r2"] = 1 - float(((outputs - part.y) ** 2).mean() / spread)
        return found
    if data.kind == "labels":
        found["accuracy"] = float(((outputs > 0) == (part.y > 0.5)).float().mean())
        return found

    answers = outputs.argmax(-1)
    is_right = (answers == part.y).float()
    found["accuracy"] = float(is_right.mean())
    if data.kind == "classes":
        found["balanced_accuracy"] = float(recalls(answers, part.y, data.num_outputs).mean())
    return found


def recalls(answers: Tensor, y: Tensor, num_classes: int) -> Tensor:
    """Of each class that is there, the share that is named."""
    there = torch.bincount(y, minlength=num_classes)
    right = torch.bincount(y[answers == y], minlength=num_classes)
    return right[there > 0] / there[there > 0]


class Norms:
    """Of each parameter: its gradient's, its own and that of the last update."""

    def __init__(self, model: nn.Module):
        self._model = model
        self._before: dict[str, Tensor] = {}
        self._found: dict[str, float] = {}

    def before(self) -> None:
        """After the backward pass, before the optimizer's step."""
        self._found, self._before = {}, {}
        for name, p in self._model.named_parameters():
            norm = float(p.grad.norm()) if p.grad is not None else 0.0
            self._found[f"gradient_norm:{name}"] = norm
            self._before[name] = p.detach().clone()

    def after(self) -> dict[str, float]:
        """After the step."""
        for name, p in self._model.named_parameters():
            if name in self._before:
                change = p.detach() - self._before[name]
                self._found[f"update_norm:{name}"] = float(change.norm())
            self._found[f"parameter_norm:{name}"] = float(p.detach().norm())
        return self._found


def inactive(model: nn.Module, x: Tensor) -> dict[str, float]:
    """dead:NAME, the share of units that are zero on all samples, saturated:NAME, of the values
    that are at an end; of each module that can be, in evaluation mode
    """
    found: dict[str, float] = {}
    with _hooked(model, found), evaluating(model):
        model(x)
    return found


@contextmanager
def _hooked(model: nn.Module, found: dict[str, float]) -> Iterator[None]:
    def watched(name: str, module: nn.Module) -> Callable[..., None]:
        def see(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            key, share = INACTIVE[type(module)]
            found[f"{key}:{name}"] = share(output)

        return see

    hooks = [
        module.register_forward_hook(watched(name, module))
        for name, module in model.named_modules()
        if type(module) in INACTIVE
    ]
    yield
    for hook in hooks:
        hook.remove()


@contextmanager
def evaluating(model: nn.Module, *, is_set: bool = True) -> Iterator[None]:
    """No gradients, and evaluation mode where it is set; the modes before are put back."""
    modes = {module: module.training for module in model.modules()}
    model.train(not is_set)
    with torch.no_grad():
        yield
    for module, mode in modes.items():
        module.training = mode


def _dead(output: Tensor) -> float:
    """A unit is a channel of a picture, else a place in the last dimension."""
    units = output.transpose(0, 1).flatten(1) if output.dim() == 4 else output.flatten(0, -2).T
    return float((units == 0).all(1).float().mean())


def _ends(low: float, high: float) -> Callable[[Tensor], float]:
    return lambda output: float(((output < low) | (output > high)).float().mean())


INACTIVE: Mapping[type[nn.Module], tuple[str, Callable[[Tensor], float]]] = {
    nn.ReLU: ("dead", _dead),
    nn.Tanh: ("saturated", _ends(-0.99, 0.99)),
    nn.Sigmoid: ("saturated", _ends(0.01, 0.99)),
}
