"""Later optimizers: Lion, LAMB, Prodigy, Schedule-Free."""

from __future__ import annotations

import math
from typing import Unpack, cast

import torch

from thalweg.optim.common import Common, Number, Params
from thalweg.optim.optimizer import Optimizer
from thalweg.optim.settings import options_of
from thalweg.rules.options import TrustRatio


class Lion(Optimizer):
    """Lion: every parameter moves by lr, in the direction of an averaged gradient's sign.

    lr, weight_decay: >= 0 (lr about a tenth of AdamW's, weight_decay ten times); betas: how far the
    sign looks back and how far the mean does, each 0 <= beta < 1
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Source: Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.Lion([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        **more: Unpack[Common],
    ):
        super().__init__(params, "lion", lr=lr, betas=betas, weight_decay=weight_decay, **more)


class LAMB(Optimizer):
    """LAMB: AdamW whose step of each tensor is as long as lr times the tensor itself.

    Arguments, ranges and errors as `Adam`; the decay is decoupled and part of the measured step.
    A group with `options` of its own is scaled only where TrustRatio() is among them.
    Source: You et al., Large batch optimization for deep learning, ICLR 2020.

    >>> import torch, thalweg
    >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = thalweg.LAMB([x], lr=0.1, weight_decay=0.0)
    >>> (x**2).sum().backward()
    >>> before = x.detach().clone()
    >>> optimizer.step(); round((before - x).norm().item(), 3)
    0.5
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        **more: Unpack[Common],
    ):
        given = [option for option in options_of(more.get("options", ())) if option != TrustRatio()]
        more["options"] = (*given, TrustRatio())
        super().__init__(
            params, "adamw", lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, **more
        )


class Prodigy(Optimizer):
    """Prodigy: AdamW that finds its learning rate; leave lr at 1, with a cosine schedule or none.

    lr: >= 0, multiplies the rate that is found; betas: each 0 <= beta < 1; eps, weight_decay: >= 0
    d0: > 0, the first rate; d_coef: > 0, multiplies every estimate; growth_rate: >= 1, the most by
    which the rate may grow in a step; use_bias_correction: as Adam does it
    safeguard_warmup: steps of a warm-up do not count as evidence
    The rate found stands in the state as `d`. Groups share it; a group with lr 0 stays.
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Source: Mishchenko and Defazio, Prodigy: an expeditiously adaptive parameter-free learner, 2024.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.Prodigy([x])
    >>> for _ in range(100):
    ...     optimizer.zero_grad(); (x**2).sum().backward(); optimizer.step()
    >>> abs(x.item()) < 0.5
    True
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = math.inf,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            "prodigy",
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            d0=d0,
            d_coef=d_coef,
            growth_rate=growth_rate,
            use_bias_correction=use_bias_correction,
            safeguard_warmup=safeguard_warmup,
            **more,
        )


class Averages:
    """train() and eval() of an optimizer whose parameters are not its answer.

    Gradients are taken at p; the answer is the average x. In between stands z, and
    p = (1 - momentum) z + momentum x. Training needs p, everything else x.
    """

    def eval(self) -> None:
        """Show the averages: the parameters become x."""
        _switch(cast(Optimizer, self), is_training=False)

    def train(self) -> None:
        """Go on training: the parameters become the points where gradients are taken."""
        _switch(cast(Optimizer, self), is_training=True)


@torch.no_grad()
def _switch(optimizer: Optimizer, *, is_training: bool) -> None:
    for group in optimizer.param_groups:
        if group["train_mode"] == is_training:
            continue
        momentum = group["momentum"] if "momentum" in group else group["betas"][0]
        share = 1 - momentum if is_training else 1 - 1 / momentum
        for p in group["params"]:
            if "z" in optimizer.state.get(p, ()):
                p.lerp_(optimizer.state[p]["z"].to(p.dtype), share)
        group["train_mode"] = is_training


class ScheduleFreeSGD(Averages, Optimizer):
    """SGD whose averaged parameters need no falling learning rate.

    lr, weight_decay: >= 0; momentum: 0 < momentum < 1, how far gradients are taken from the average
    warmup_steps: >= 0, steps in which the rate rises; r: >= 0, points count by step to the power r
    weight_lr_power: >= 0, and by the largest rate so far to this power
    Call `eval()` before looking at the parameters, `train()` before training on; a `descend` does.
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Source: Defazio et al., The road less scheduled, NeurIPS 2024.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.ScheduleFreeSGD([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); optimizer.eval(); round(x.item(), 3)
    0.8
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            "schedulefree_sgd",
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
            **more,
        )


class ScheduleFreeAdamW(Averages, Optimizer):
    """AdamW whose averaged parameters need no falling learning rate.

    lr, eps, weight_decay: >= 0; betas: the first, 0 < beta1 < 1, says how far gradients are taken
    from the average, the second is the decay of the mean of squares
    Other arguments, and `eval()` and `train()`, as `ScheduleFreeSGD`.
    Source: Defazio et al., The road less scheduled, NeurIPS 2024.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.ScheduleFreeAdamW([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); optimizer.eval(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            "schedulefree_adamw",
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            r=r,
            weight_lr_power=weight_lr_power,
            **more,
        )
