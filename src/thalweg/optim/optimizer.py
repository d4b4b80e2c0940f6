"""The one torch Optimizer: groups and state are torch's, the update is a rule run by a backend."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from thalweg.backends.base import Backend, Group
from thalweg.backends.torch import pick
from thalweg.errors import UsageError
from thalweg.rules import RULES, Rule


class Optimizer(torch.optim.Optimizer):
    """A torch optimizer over one update rule.

    params: parameters, named parameters or dicts of a group, as torch takes them
    rule: a name of `thalweg.rules.RULES`
    hyper: the hyperparameters in torch's public spelling (`betas` for beta1 and beta2)

    A group without any gradient is left alone, as torch does. With `apply` a step whose loss or
    gradients are not finite changes nothing: neither parameters, nor state, nor the count of steps.
    """

    def __init__(self, params: Iterable[Any], rule: str, **hyper: Any):
        self.rule: Rule = RULES[rule]
        self._tables: dict[int, Group] = {}
        self._backend: Backend | None = None
        self.rule.check(**_spread(self.rule, hyper))
        super().__init__(params, hyper)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self._check({**self.defaults, **param_group})
        super().add_param_group(param_group)
        self._forget()

    def _check(self, settings: dict[str, Any]) -> None:
        """Raise UsageError for a group whose settings are out of range, or another rule's."""
        own = {row.name for row in self.rule.hypers}
        for name in _NAMES & settings.keys() - own:
            raise UsageError(
                f"{name} is {settings[name]!r} in a group, but the rule here is {self.rule.name}, "
                f"which has none: give {name} to the optimizer itself"
            )
        self.rule.check(**_spread(self.rule, settings))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch does, but nothing is shared with `state_dict` afterwards."""
        super().load_state_dict(deepcopy(state_dict))
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "rule": self.rule}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()

    @property
    def backend(self) -> Backend:
        """What runs the rule for these parameters."""
        if self._backend is None:
            params = [p for group in self.param_groups for p in group["params"]]
            self._backend, _ = pick(self.rule, params)
        return self._backend

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update from the gradients in `.grad`; returns what the closure returned, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.backend.update(self.rule, self._filled(), skip=None)
        return loss

    @torch.no_grad()
    def apply(self, loss: Tensor) -> dict[str, Tensor | float]:
        """One update, skipped where `loss` or a gradient is not finite; what was measured of it."""
        groups = self._filled()
        norm = self.backend.norm([g for group in groups for g in group.grads])
        if isinstance(norm, float):
            if math.isfinite(norm + loss.item()):
                self.backend.update(self.rule, groups, skip=None)
        else:
            skip = torch.isfinite(norm + loss).logical_not_().to(torch.float32)
            self.backend.update(self.rule, groups, skip)
        return {"gradient_norm": norm}

    def _filled(self) -> list[Group]:
        """The groups that have gradients, each with this step's gradients and hyperparameters."""
        filled = []
        for i, settings in enumerate(self.param_groups):
            params = [p for p in settings["params"] if p.grad is not None]
            if not params:
                continue
            table = self._tables.get(i)
            if table is None or not _same(table.params, params):
                table = self._tables[i] = self._table(params)
            table.grads = [p.grad for p in params]
            table.hyper = _spread(self.rule, settings)
            filled.append(table)
        return filled

    def _table(self, params: list[Tensor]) -> Group:
        """The table of one group; new states start at zero, loaded ones take the right layout."""
        for p in params:
            for name in self.rule.states:
                kept = self.state[p].get(name)
                if kept is None:
                    self.state[p][name] = torch.zeros_like(p)
                elif p.is_contiguous():
                    self.state[p][name] = kept.contiguous()
        states = {name: [self.state[p][name] for p in params] for name in self.rule.states}
        steps, views = self._steps(params) if self.rule.counts_steps else (None, [])
        return Group(
            params=params, grads=[], states=states, steps=steps, step_views=views, hyper={}
        )

    def _steps(self, params: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """These parameters' counts as one flat tensor, whose views are the state's `step`."""
        counts = [float(self.state[p].get("step", 0.0)) for p in params]
        steps = torch.tensor(counts, dtype=torch.float32, device=params[0].device)
        views = list(steps.unbind())
        for p, view in zip(params, views, strict=True):
            self.state[p]["step"] = view
        return steps, views

    def _forget(self) -> None:
        self._tables = {}
        self._backend = None


_NAMES = {*RULES, *(row.name for rule in RULES.values() for row in rule.hypers)}
"""What a group may name: each is a setting of some rule, or (nesterov) chooses one."""


def _same(some: list[Tensor], others: list[Tensor]) -> bool:
    """Do two lists hold the same objects?"""
    return len(some) == len(others) and all(map(operator.is_, some, others))


def _spread(rule: Rule, settings: dict[str, Any]) -> dict[str, Any]:
    """The rule's hyperparameters under its own names: `betas` becomes beta1 and beta2."""
    hyper = {row.name: settings[row.name] for row in rule.hypers if row.name in settings}
    if "betas" in settings:
        betas = settings["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise UsageError(
                f"betas is {betas!r}: it must be a pair of numbers, such as (0.9, 0.999)"
            )
        hyper["beta1"], hyper["beta2"] = betas
    return hyper
