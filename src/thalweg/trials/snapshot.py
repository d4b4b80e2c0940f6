"""A model and its optimizer as they stand: to try steps from, and to be found again untouched."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.keys import Purpose, key
from thalweg.loop.phase import Phase
from thalweg.optim.lowering import write_rate
from thalweg.optim.reset import reset_moments
from thalweg.probes.quiet import hushed
from thalweg.state.tree import clone
from thalweg.tasks.draws import put_back, seed_device, seed_draws

LossOf = Callable[[Any], Tensor]
"""The mean loss of a batch, with its graph."""

_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
"""Where torch keeps what looks at an optimizer's steps; a monitor must not count those here."""


class Snapshot:
    """Inside of its `with`, steps may be tried; afterwards all is as it was, to the bit.

    That is: weights, buffers, gradients, modes, the optimizer's state and groups, and the
    generators of torch, NumPy and Python. Call it between two steps of a run.
    loss_of: of a batch, by this very model

    >>> net = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> batch, before = torch.ones(4, 2), net.weight.detach().clone()
    >>> with Snapshot(net, optimizer, lambda x: net(x).square().mean()) as snapshot:
    ...     losses = snapshot.descend([batch] * 10)
    >>> losses[-1] < losses[0], torch.equal(net.weight, before)
    (True, True)
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_of: LossOf):
        self.steps = 0
        self._model = model
        self._optimizer = optimizer
        self._loss_of = loss_of
        self._phase = Phase(model, optimizer)
        self._device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._outer = ExitStack()

    def __enter__(self) -> Snapshot:
        self._tree = clone(self._phase.to_tree())
        self._modes = [(module, module.training) for module in self._model.modules()]
        self._hooks = {name: getattr(self._optimizer, name) for name in _HOOKS}
        self._grads = [(p, p.grad) for p in self._parameters()]
        self._outer.enter_context(put_back())
        self._outer.enter_context(hushed())
        if self._device.type == "cuda":
            self._outer.enter_context(torch.random.fork_rng(devices=[self._device]))
        for name, hooks in self._hooks.items():
            setattr(self._optimizer, name, type(hooks)())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._outer:
            for p, grad in self._grads:
                p.grad = grad
            for name, hooks in self._hooks.items():
                setattr(self._optimizer, name, hooks)
            self.go_back()

    @property
    def found(self) -> list[Tensor | None]:
        """The gradients as they stood."""
        return [grad for _, grad in self._grads]

    def descend(
        self, batches: Iterable[Any], *, factor: float = 1.0, afresh: bool = False, least: float = 0
    ) -> list[float]:
        """The losses before each of so many steps, a batch each, from the snapshot on.

        The model stays where they led, for `loss` to look at. Each descent draws the same numbers
        (dropout). It ends early at a loss that is not finite, or below `least`.
        factor: of the learning rates; afresh: without the optimizer's memory of past gradients
        Raises UsageError for a loss that no weight can learn from.
        """
        self.go_back()
        if not self._model.training:  # else layers that are frozen by intent stay so
            self._model.train()
        if afresh:
            reset_moments(self._optimizer)
        for group in self._optimizer.param_groups:
            write_rate(group, float(group["lr"]) * factor)
        losses: list[float] = []
        for number, batch in enumerate(batches):
            loss = self._differentiated(batch, number)
            losses.append(loss)
            if not math.isfinite(loss) or loss < least:
                break
            self._optimizer.step()
            self.steps += 1
        return losses

    def loss(self, batches: Sequence[Any]) -> Tensor:
        """The loss of each batch, (n,), without learning: in evaluation mode, where it stands."""
        self._model.eval()
        with torch.no_grad():
            losses = [float(self._checked(batch, 0)) for batch in batches]
        self._put_back_modes()
        return torch.tensor(losses, dtype=torch.float64)

    def gradient(self, batch: Any, number: int) -> list[Tensor | None]:
        """The gradient of a batch at the snapshot; number: of the draws that are used."""
        self.go_back()
        self._differentiated(batch, number)
        self.steps += 1
        return [p.grad for p in self._parameters()]

    def _differentiated(self, batch: Any, number: int) -> float:
        """Leave the gradient of a batch in `.grad`, and give its loss."""
        for p in self._parameters():
            p.grad = None
        with torch.enable_grad():
            loss = self._checked(batch, number)
            if not loss.requires_grad:
                raise UsageError(
                    "loss_of gives a loss without a graph, from which no weight can learn: look "
                    "for .detach(), .item() or torch.no_grad() in it (thalweg explain TW309)"
                )
            loss.backward()
        if all(p.grad is None for group in self._optimizer.param_groups for p in group["params"]):
            raise UsageError(
                "the loss reaches none of the weights that the optimizer holds: give the optimizer "
                "this model's parameters (thalweg explain TW307)"
            )
        return float(loss.detach())

    def _checked(self, batch: Any, number: int) -> Tensor:
        """The loss of a batch, with draws of its own."""
        draws = key(Purpose.TRIAL, number)
        seed_draws(draws)
        seed_device(draws, self._device)
        loss = self._loss_of(batch)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{loss!r}"
            raise UsageError(f"loss_of gives {what}: it must give the mean loss, a tensor of one")
        return loss

    def go_back(self) -> None:
        """To the snapshot; the gradients are left for the end."""
        self._phase.restore(self._tree)
        self._put_back_modes()

    def _put_back_modes(self) -> None:
        for module, is_training in self._modes:
            module.training = is_training

    def _parameters(self) -> list[Tensor]:
        """The model's, and what else the optimizer holds; each once."""
        held = [p for group in self._optimizer.param_groups for p in group["params"]]
        return list(dict.fromkeys([*self._model.parameters(), *held]))
