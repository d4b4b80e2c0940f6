"""Optimizers with one fault each: construction, groups and what a step does."""

from __future__ import annotations

import warnings

import torch

from conformance.planted import plant
from conformance.sound import Averaging, Coupled, Sound

# Construction and groups.


@plant("repr_and_defaults")
class LateDefault(Sound):
    """A default that no group has."""

    def build(self, params, defaults):
        super().build(params, defaults)
        self.defaults["momentum"] = 0.0


@plant("repr_and_defaults", raises=NotImplementedError)
class CannotSayWhatItIs(Sound):
    def __repr__(self):
        raise NotImplementedError


@plant("construct_errors")
class TakesOneTensor(Sound):
    def build(self, params, defaults):
        super().build([params] if isinstance(params, torch.Tensor) else params, defaults)


@plant("construct_errors")
class TakesNothing(Sound):
    def build(self, params, defaults):
        params = params if torch.is_tensor(params) else list(params)
        super().build([torch.zeros(1)] if params == [] else params, defaults)


@plant("rejects_bad_hyperparameters")
class TakesAnyRate(Sound):
    def __init__(self, params, lr=0.01, **settings):
        super().__init__(params, abs(lr), **settings)


@plant("rejects_bad_hyperparameters", raises=RuntimeError)
class ComplainsWrongly(Sound):
    def __init__(self, params, lr=0.01, **settings):
        if lr < 0:
            raise RuntimeError("lr")
        super().__init__(params, lr, **settings)


@plant("named_parameters")
class ForgetsNames(Sound):
    def build(self, params, defaults):
        super().build([p[1] if isinstance(p, tuple) else p for p in params], defaults)


@plant("groups_equal_separate", "lr_mutation_takes_effect", "group_override_of_every_default")
class IgnoresGroupRate(Sound):
    def rate(self, group):
        return self.defaults["lr"]


@plant("groups_equal_separate", couples_tensors=True)
class FreezesAllWithOne(Coupled):
    """A group at lr = 0 stops every group."""

    def rate(self, group):
        rates = [group["lr"] for group in self.param_groups]
        return min(rates) * self._factor


@plant("lr_mutation_takes_effect")
class MovesAtRateZero(Sound):
    def rate(self, group):
        return max(group["lr"], 1e-4)


@plant("lr_mutation_takes_effect", averages_weights=True)
class StandsAtRateZero(Averaging):
    """What is excused of an averaging rule, and does not need to be."""

    def write(self, p, value, state, group):
        if group["lr"] > 0:
            super().write(p, value, state, group)


@plant("coupling_as_declared", couples_tensors=True)
class CouplesNothing(Sound):
    """Sound as it is; the row that declares it coupled is the fault."""


@plant("coupling_as_declared", "groups_equal_separate", "post_accumulate_grad_hook")
class CoupledInSecret(Coupled):
    """A coupled rule whose row does not say so."""


@plant("flags_as_declared")
class AveragingInSecret(Averaging):
    """An averaging rule whose row does not say so."""


@plant("group_override_of_every_default")
class IgnoresGroupEps(Sound):
    def root(self, square, eps):
        return super().root(square, self.defaults["eps"])


@plant("group_override_of_every_default")
class ChangesSettingsOnTheWay(Sound):
    def add_param_group(self, param_group):
        super().add_param_group({"weight_decay": 0.0, **param_group, "eps": 1e-6})


@plant("maximize_in_group")
class IgnoresGroupMaximize(Sound):
    def gradient(self, p, group):
        return super().gradient(p, {**group, "maximize": self.defaults["maximize"]})


@plant("add_param_group_midway")
class KnowsFirstGroupsOnly(Sound):
    def build(self, params, defaults):
        super().build(params, defaults)
        self._first = [*self.param_groups]

    def step_group(self, group):
        if any(group is first for first in self._first):
            super().step_group(group)


# Steps.


@plant("add_param_group_midway", "freeze_unfreeze_step_count")
class OneCountForAll(Sound):
    """A step count of the optimizer in place of one for each parameter."""

    def step_group(self, group):
        self._num_steps = getattr(self, "_num_steps", 0) + (group is self.param_groups[0])
        super().step_group(group)

    def count(self, state):
        return torch.tensor(float(self._num_steps))


@plant("flags_as_declared", matrices_only=True)
class TakesVectors(Sound):
    """Sound as it is; the row that excuses it from all but matrices is the fault."""


@plant("flags_as_declared", matrices_only=True)
class WarnsAndDropsVectors(Sound):
    def build(self, params, defaults):
        matrices = [p for p in params if p.ndim > 1]
        if len(matrices) < len(params):
            warnings.warn("vectors stay where they are", stacklevel=2)
        super().build(matrices, defaults)


@plant("freeze_unfreeze_step_count", shares_count=True)
class CountsEachAlone(Sound):
    """Sound as it is; the row that excuses its count is the fault."""


@plant("closure", raises=RuntimeError)
class ClosureWithoutGradients(Sound):
    def step(self, closure=None):
        with torch.no_grad():
            loss = None if closure is None else closure()
        super().step()
        return loss


@plant("closure")
class KeepsTheLoss(Sound):
    def step(self, closure=None):
        super().step(closure)


@plant("none_grad_is_noop", "freeze_unfreeze_step_count")
class DecaysWithoutGradient(Sound):
    def step_group(self, group):
        super().step_group(group)
        for p in group["params"]:
            if p.grad is None:
                p.mul_(0.999)


@plant("freeze_unfreeze_step_count")
class StopsAtAMissingGradient(Sound):
    def step_group(self, group):
        if all(p.grad is not None for p in group["params"]):
            super().step_group(group)


@plant("grad_not_mutated")
class DecaysTheGradient(Sound):
    def gradient(self, p, group):
        p.grad.add_(p, alpha=group["weight_decay"])
        return super().gradient(p, {**group, "weight_decay": 0.0})


@plant("grad_not_mutated")
class NegatesTheGradient(Sound):
    def gradient(self, p, group):
        return p.grad.neg_() if group["maximize"] else super().gradient(p, group)


@plant("grad_not_mutated_bf16")
class DropsHalfGradients(Sound):
    def write(self, p, value, state, group):
        super().write(p, value, state, group)
        if p.dtype == torch.bfloat16:
            p.grad = None


@plant("param_identity_and_no_graph")
class MovesTheParameter(Sound):
    """The new values lie elsewhere."""

    def write(self, p, value, state, group):
        super().write(p, value, state, group)
        p.data = p.data.clone(memory_format=torch.contiguous_format)


class KeepsFirstGradient(Sound):
    """Reads a gradient when the first part of the batch has arrived; a law of ours sees it."""

    def build(self, params, defaults):
        super().build(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                p.register_post_accumulate_grad_hook(self.read)

    def read(self, p):
        if not hasattr(p, "first"):
            p.first = p.grad.clone()

    def gradient(self, p, group):
        first = p.first
        del p.first
        return first


@plant("zero_grad")
class AlwaysDropsGradients(Sound):
    def zero_grad(self, set_to_none=True):
        super().zero_grad(set_to_none=True)


@plant("empty_tensor_and_scalar")
class StopsAtAnEmptyTensor(Sound):
    def step_group(self, group):
        if all(p.numel() for p in group["params"]):
            super().step_group(group)


@plant("empty_tensor_and_scalar")
class ForgetsScalars(Sound):
    def update(self, p, group):
        if p.ndim:
            super().update(p, group)


@plant("hooks", "profiler_name")
class NotHooked(Sound):
    """torch wraps a step that does not say it is wrapped already."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            self.step_group(group)

    step.hooked = True


@plant("goes_downhill", "trajectory_vs_reference")
class Climbs(Sound):
    def direction(self, grad, state, group):
        return -super().direction(grad, state, group)


@plant("trajectory_vs_reference")
class EpsInsideTheRoot(Sound):
    def root(self, square, eps):
        return torch.sqrt(square + eps * eps)


@plant("trajectory_vs_reference")
class RoundsTheRoot(Sound):
    """Off by some parts in 10 million."""

    def root(self, square, eps):
        return super().root(square, eps).float().double()


@plant("dcp_init_is_noop", "lr_zero_start")
class DecaysAtRateZero(Sound):
    def update(self, p, group):
        super().update(p, {**group, "weight_decay": 0.0})
        p.mul_(1 - 0.01 * max(group["weight_decay"], 1e-2))


@plant("lr_zero_start")
class NotANumberAtRateZero(Sound):
    def rate(self, group):
        lr = torch.as_tensor(group["lr"], dtype=torch.float64)
        return lr * lr / lr


@plant("lr_zero_start")
class StuckAfterRateZero(Sound):
    """Once zero, the rate stays zero."""

    def step_group(self, group):
        self._is_stuck = getattr(self, "_is_stuck", False) or group["lr"] == 0
        super().step_group(group)

    def rate(self, group):
        return 0.0 if self._is_stuck else super().rate(group)


@plant("lr_schedulers")
class PutsTheRateBack(Sound):
    def step_group(self, group):
        super().step_group(group)
        group["lr"] = self.defaults["lr"]


@plant("onecycle_momentum")
class HidesMomentum(Sound):
    """A momentum under a name that schedulers do not look for."""

    def build(self, params, defaults):
        renamed = {**defaults}
        renamed["beta1"], renamed["beta2"] = renamed.pop("betas")
        super().build(params, renamed)

    def direction(self, grad, state, group):
        return super().direction(grad, state, {**group, "betas": (group["beta1"], group["beta2"])})


@plant("post_accumulate_grad_hook")
class RestsInBackward(Sound):
    def step_group(self, group):
        if torch._C._current_graph_task_id() == -1:
            super().step_group(group)


@plant("grad_scaler")
class SaysItUnscales(Sound):
    """A scaler leaves unscaling and skipping to such an optimizer."""

    _step_supports_amp_scaling = True
