"""Optimizers that scale each parameter's step by what its gradients were: AdaGrad to RAdam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack

from thalweg.optim.common import Common, Number, Params
from thalweg.optim.family import Family
from thalweg.optim.optimizer import Optimizer
from thalweg.rules.rule import SWITCH


class Adagrad(Optimizer):
    """AdaGrad: each step is divided by the root of the sum of all squared gradients so far.

    lr: >= 0; lr_decay: >= 0, the rate is lr / (1 + (t - 1) lr_decay); weight_decay: >= 0, joins the
    gradient; initial_accumulator_value: >= 0, where the sum starts; eps: >= 0
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Source: Duchi, Hazan and Singer, JMLR 2011.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.Adagrad([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            "adagrad",
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            **more,
        )


class RMSprop(Optimizer):
    """RMSProp: each step is divided by a running root mean square of the gradient.

    lr, eps, weight_decay: >= 0; alpha: decay of the mean, 0 <= alpha < 1
    momentum: 0 <= momentum < 1, share of the last direction that is kept
    centered: divide by the standard deviation instead; a variance that rounding has made negative
    counts as 0, where torch goes NaN
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Sources: Tieleman and Hinton 2012; Graves 2013 (centered).

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.RMSprop([x], lr=0.01)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            _RMSPROP,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            **more,
        )


def _choose_rmsprop(settings: Mapping[str, Any]) -> str:
    centered = "_centered" if settings["centered"] else ""
    momentum = "_momentum" if settings["momentum"] else ""
    return f"rmsprop{centered}{momentum}"


class Adam(Optimizer):
    """Adam: each parameter's step is scaled by running means of its gradient and of its square.

    lr, eps, weight_decay: >= 0; betas: decay of the two means, each 0 <= beta < 1
    amsgrad: divide by the largest mean of squares so far
    decoupled_weight_decay: decay beside the gradient (AdamW), instead of as a part of it
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Sources: Kingma and Ba, ICLR 2015; Reddi et al., ICLR 2018 (AMSGrad).

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.Adam([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        decoupled_weight_decay: bool = False,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            _ADAM,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            decoupled_weight_decay=decoupled_weight_decay,
            **more,
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay: parameters shrink by lr * weight_decay each step.

    Arguments, ranges and errors as `Adam`; the default weight_decay is torch's, 0.01.
    Source: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.AdamW([x], lr=0.1, weight_decay=0.0)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            _ADAMW,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            **more,
        )


def _choose_adam(settings: Mapping[str, Any]) -> str:
    family = "adamw" if settings["decoupled_weight_decay"] else "adam"
    return f"{family}_amsgrad" if settings["amsgrad"] else family


def _choose_adamw(settings: Mapping[str, Any]) -> str:
    return "adamw_amsgrad" if settings["amsgrad"] else "adamw"


class Adadelta(Optimizer):
    """Adadelta: steps in the units of the parameters, from running means of steps and gradients.

    lr, eps, weight_decay: >= 0; rho: decay of the means, 0 <= rho < 1
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Source: Zeiler, ADADELTA: an adaptive learning rate method, 2012.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.Adadelta([x], lr=1.0)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 4)
    0.9968
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **more: Unpack[Common],
    ):
        super().__init__(
            params, "adadelta", lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, **more
        )


class Adamax(Optimizer):
    """Adamax: Adam with the largest gradient so far (fading) in place of the mean of squares.

    Arguments, ranges and errors as `Adam`. Source: Kingma and Ba, ICLR 2015, section 7.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.Adamax([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **more: Unpack[Common],
    ):
        super().__init__(
            params, "adamax", lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, **more
        )


class NAdam(Optimizer):
    """NAdam: Adam that looks ahead along its momentum.

    lr, eps, weight_decay, momentum_decay: >= 0; betas: each 0 <= beta < 1
    decoupled_weight_decay: decay beside the gradient, instead of as a part of it
    variant: "torch" lets the momentum grow towards beta1 with momentum_decay, as the paper does
    (Keras's is 1.0); "constant" keeps it at beta1 without momentum_decay, as optax does
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Source: Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.NAdam([x], lr=0.1, variant="constant")
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 4)
    0.8526
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        variant: Literal["torch", "constant"] = "torch",
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            _NADAM,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            variant=variant,
            **more,
        )


class RAdam(Optimizer):
    """RAdam: Adam that waits with the division until its mean of squares can be trusted.

    lr, eps, weight_decay: >= 0; betas: each 0 <= beta < 1
    decoupled_weight_decay: decay beside the gradient, instead of as a part of it
    more: clip, options, ...: see `Optimizer`
    Raises UsageError (a ValueError) for a value out of range.
    Source: Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.RAdam([x], lr=0.1)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.8
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        **more: Unpack[Common],
    ):
        super().__init__(
            params,
            _RADAM,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            **more,
        )


def _choose_nadam(settings: Mapping[str, Any]) -> str:
    return _with_decay(_VARIANTS[settings["variant"]], settings)


def _choose_radam(settings: Mapping[str, Any]) -> str:
    return _with_decay("radam", settings)


def _with_decay(name: str, settings: Mapping[str, Any]) -> str:
    """The rule, with its weight decay beside the gradient where that is asked for."""
    return f"{name}_decoupled" if settings["decoupled_weight_decay"] else name


_VARIANTS = {"torch": "nadam", "constant": "nadam_constant"}
_DECAY = {"decoupled_weight_decay": SWITCH}
_ADAMS = ("adam", "adam_amsgrad")
_ADAMWS = ("adamw", "adamw_amsgrad")
_RMSPROP = Family(
    _choose_rmsprop,
    ("rmsprop", "rmsprop_centered", "rmsprop_momentum", "rmsprop_centered_momentum"),
    {"centered": SWITCH},
)
_ADAM = Family(_choose_adam, (*_ADAMS, *_ADAMWS), {"amsgrad": SWITCH, **_DECAY})
_ADAMW = Family(_choose_adamw, _ADAMWS, {"amsgrad": SWITCH})
_NADAM = Family(
    _choose_nadam,
    ("nadam", "nadam_constant", "nadam_decoupled", "nadam_constant_decoupled"),
    {"variant": tuple(_VARIANTS), **_DECAY},
)
_RADAM = Family(_choose_radam, ("radam", "radam_decoupled"), _DECAY)
