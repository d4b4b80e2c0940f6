"""Small optimizers that pass every check, for faults to be planted in.

They are written for that and not for speed: each step is a few methods, so that a fault is one of
them replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Averaging", "Coupled", "Sound"]


class Sound(torch.optim.Optimizer):
    """Adam with decoupled weight decay; half precision keeps float32 weights in its state."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 0.01,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
    ):
        for name, value in {"lr": lr, "weight_decay": weight_decay}.items():
            if not value >= 0:
                raise ValueError(f"{name} is {value}: allowed is {name} >= 0")
        self.build(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "fused": fused,
                "differentiable": differentiable,
            },
        )

    def build(self, params: Any, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch, which casts state to the parameters' type, and then as it was saved."""
        super().load_state_dict(state_dict)
        params = [p for group in self.param_groups for p in group["params"]]
        for i, p in enumerate(params):
            if i in state_dict["state"]:
                self.state[p] = copy.deepcopy(state_dict["state"][i])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            for group in self.param_groups:
                self.step_group(group)
        return loss

    def step_group(self, group: dict[str, Any]) -> None:
        for p in group["params"]:
            if p.grad is not None:
                self.update(p, group)

    def update(self, p: Tensor, group: dict[str, Any]) -> None:
        grad = self.gradient(p, group)
        state = self.state_of(p)
        state["step"] = self.count(state)
        decayed = state["exact"] if "exact" in state else self.pairs(p)
        decayed = decayed * (1 - group["lr"] * group["weight_decay"])
        value = decayed - self.rate(group) * self.direction(grad, state, group)
        self.write(p, value, state, group)

    def gradient(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        if p.grad.is_sparse:
            raise RuntimeError("sparse gradients are not supported: use a dense embedding")
        grad = self.pairs(p.grad)
        if p.dtype in (torch.float16, torch.bfloat16):
            grad = grad.float()
        return -grad if group["maximize"] else grad

    def pairs(self, t: Tensor) -> Tensor:
        """Complex numbers as pairs of reals."""
        return torch.view_as_real(t) if t.is_complex() else t

    def state_of(self, p: Tensor) -> dict[str, Any]:
        state = self.state[p]
        if not state:
            exact = self.pairs(p)
            if p.dtype in (torch.float16, torch.bfloat16):
                exact = state["exact"] = exact.detach().float()
            state["step"] = torch.tensor(0.0)
            state["mean"] = torch.zeros_like(exact, requires_grad=False)
            state["square"] = torch.zeros_like(exact, requires_grad=False)
        return state

    def count(self, state: dict[str, Any]) -> Any:
        return state["step"] + 1

    def rate(self, group: dict[str, Any]) -> Any:
        return group["lr"]

    def direction(self, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        beta1, beta2 = group["betas"]
        state["mean"] = beta1 * state["mean"] + (1 - beta1) * grad
        state["square"] = beta2 * state["square"] + (1 - beta2) * grad * grad
        return self.normed(state, float(state["step"]), group)

    def normed(self, state: dict[str, Any], step: float, group: dict[str, Any]) -> Tensor:
        beta1, beta2 = group["betas"]
        mean = state["mean"] / (1 - beta1**step)
        square = state["square"] / (1 - beta2**step)
        return mean / self.root(square, group["eps"])

    def root(self, square: Tensor, eps: float) -> Tensor:
        """eps stands inside as well, so that the slope at 0 is finite."""
        return torch.sqrt(square + 1e-30) + eps

    def write(self, p: Tensor, value: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if "exact" in state:
            state["exact"] = value
        self.pairs(p).copy_(value)


class Averaging(Sound):
    """Steps from a base point, and shows the mean of all base points in eval mode.

    In train mode the parameters stand in the middle between the two (schedule-free learning).
    """

    def build(self, params: Any, defaults: dict[str, Any]) -> None:
        super().build(params, {**defaults, "is_training": True})

    def state_of(self, p: Tensor) -> dict[str, Any]:
        state = super().state_of(p)
        if "base" not in state:
            state["base"] = state.get("exact", self.pairs(p)).clone()
            state["average"] = state["base"].clone()
            state["largest_rate"] = 0.0
            state["total"] = 0.0
        return state

    def write(self, p: Tensor, value: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["base"] = state["base"] + value - state.get("exact", self.pairs(p))
        state["largest_rate"] = max(state["largest_rate"], float(group["lr"]))
        state["total"] += state["largest_rate"]
        if state["total"] > 0:
            share = state["largest_rate"] / state["total"]
            state["average"] = state["average"] + share * (state["base"] - state["average"])
        super().write(p, self.middle(state), state, group)

    def middle(self, state: dict[str, Any]) -> Tensor:
        return 0.5 * (state["base"] + state["average"])

    def train(self) -> None:
        self.show(is_training=True)

    def eval(self) -> None:
        self.show(is_training=False)

    @torch.no_grad()
    def show(self, *, is_training: bool) -> None:
        for group in self.param_groups:
            if group["is_training"] != is_training:
                group["is_training"] = is_training
                self.show_group(group)

    def show_group(self, group: dict[str, Any]) -> None:
        for p in group["params"]:
            state = self.state[p]
            if state:
                shown = self.middle(state) if group["is_training"] else state["average"]
                self.pairs(p).copy_(shown)


class Coupled(Sound):
    """The size of all gradients together drives the step of each."""

    def step_group(self, group: dict[str, Any]) -> None:
        params = [p for group in self.param_groups for p in group["params"]]
        grads = [self.gradient(p, group) for p in params if p.grad is not None]
        square = sum(grad.double().square().sum() for grad in grads)
        self._factor = 1.0 + square / (1.0 + square)
        super().step_group(group)

    def rate(self, group: dict[str, Any]) -> Any:
        return group["lr"] * self._factor
