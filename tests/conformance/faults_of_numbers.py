"""Optimizers with one fault each: layouts, implementations, types of numbers."""

from __future__ import annotations

import torch

from conformance.planted import plant, storage_of
from conformance.sound import Sound

# Layouts and implementations.


class InMemoryOrder(Sound):
    def write(self, p, value, state, group):
        storage_of(p).copy_(value.reshape(-1))


@plant("layouts")
class WritesInMemoryOrder(InMemoryOrder):
    """Right for contiguous parameters only."""


@plant("layouts")
class WritesIntoGaps(Sound):
    def write(self, p, value, state, group):
        super().write(p, value, state, group)
        if p.ndim and p.stride(-1) == 2:
            p.as_strided(p.shape, p.stride(), p.storage_offset() + 1).fill_(0.0)


@plant("layouts")
class ReadsInMemoryOrder(Sound):
    def gradient(self, p, group):
        grad = super().gradient(p, group)
        return grad if grad.is_contiguous() else storage_of(grad).view(grad.shape)


class ReadsExpandedAsZero(Sound):
    """Of a gradient with strides of 0 the first number is read; a law of ours sees it."""

    def gradient(self, p, group):
        grad = super().gradient(p, group)
        if 0 not in grad.stride():
            return grad
        first = torch.zeros_like(p)
        first.view(-1)[0] = grad.flatten()[0]
        return first


@plant("fused_layouts")
class FusedInMemoryOrder(InMemoryOrder):
    def write(self, p, value, state, group):
        writer = super() if group["fused"] else super(InMemoryOrder, self)
        writer.write(p, value, state, group)


@plant("foreach_matches")
class AnotherForeach(Sound):
    def rate(self, group):
        return super().rate(group) * (1 + 1e-7 * bool(group["foreach"]))


@plant("fused_matches")
class FusedCountsAll(Sound):
    """Fused, a parameter without a gradient counts on."""

    def step_group(self, group):
        super().step_group(group)
        for p in group["params"]:
            if group["fused"] and p.grad is None:
                self.state[p]["step"] += 1


@plant("differentiable")
class CutsTheGraph(Sound):
    @torch.no_grad()
    def step_group(self, group):
        super().step_group(group)


@plant("differentiable")
class CutsTheWeights(Sound):
    """A graph is there, and says that the new weights do not depend on the old ones."""

    def write(self, p, value, state, group):
        super().write(p, value.detach() + 0 * value, state, group)


@plant("tensor_lr")
class TurnsRatesIntoNumbers(Sound):
    def build(self, params, defaults):
        super().build(params, {**defaults, "lr": float(defaults["lr"])})


@plant("tensor_lr")
class ReadsTheRateOnce(Sound):
    def build(self, params, defaults):
        super().build(params, defaults)
        self._lr = float(defaults["lr"])

    def rate(self, group):
        return self._lr if torch.is_tensor(group["lr"]) else group["lr"]


# Types of numbers.


@plant("fp16_small_grads_finite")
class EpsInHalfPrecision(Sound):
    def root(self, square, eps):
        return torch.sqrt(square).half() + torch.tensor(eps).half()


@plant("bf16_tracks_fp32", "bf16_weight_decay_acts")
class RoundsEveryStep(Sound):
    def write(self, p, value, state, group):
        super().write(p, value.to(p.dtype).to(value.dtype), state, group)


@plant("float64")
class StateInFloat32(Sound):
    def direction(self, grad, state, group):
        direction = super().direction(grad, state, group)
        state["mean"] = state["mean"].float()
        return direction


@plant("float64")
class UpdatesInFloat32(Sound):
    """Rates are powers of two here, whose product with a float32 number is one again."""

    def direction(self, grad, state, group):
        return super().direction(grad, state, group).float().to(grad.dtype)

    def rate(self, group):
        return 2.0 ** round(torch.log2(torch.tensor(float(group["lr"]) or 1e-30)).item())


@plant("complex")
class ComplexAsOneNumber(Sound):
    """One running square for a complex number, not one for each of its parts."""

    def update(self, p, group):
        self._is_complex = p.is_complex()
        super().update(p, group)

    def root(self, square, eps):
        joined = square.mean(-1, keepdim=True) if self._is_complex else square
        return super().root(joined, eps)


@plant("complex")
class RefusesTooLate(Sound):
    def write(self, p, value, state, group):
        super().write(p, value, state, group)
        if p.is_complex():
            raise RuntimeError("complex parameters are not supported")


@plant("sparse_rejected_or_right")
class RefusesAfterDecay(Sound):
    def gradient(self, p, group):
        if p.grad.is_sparse:
            p.mul_(0.9)
        return super().gradient(p, group)


@plant("sparse_rejected_or_right")
class RefusesUnclearly(Sound):
    def gradient(self, p, group):
        if p.grad.is_sparse:
            raise NotImplementedError("this layout")
        return super().gradient(p, group)


@plant("sparse_rejected_or_right")
class CountsSparseRowsOnce(Sound):
    """Of a row that stands twice in a sparse gradient the last counts."""

    def gradient(self, p, group):
        if not p.grad.is_sparse:
            return super().gradient(p, group)
        dense = torch.zeros_like(p)
        dense[p.grad._indices()[0]] = p.grad._values()
        return dense - 0.5 * (dense == 0)
