"""The one table of update rules: a new rule is two functions in a family file and a row here."""

from __future__ import annotations

from thalweg.rules.adam import adam_coefficients, adam_update, adamw_coefficients, adamw_update
from thalweg.rules.rule import Hyper, Rule
from thalweg.rules.sgd import (
    momentum_coefficients,
    momentum_update,
    nesterov_update,
    sgd_coefficients,
    sgd_update,
)

__all__ = ["RULES", "Hyper", "Rule"]

_LR = Hyper("lr", 1e-3)
_MOMENTUM = Hyper("momentum", 0.9, high=1.0)
_BETA1 = Hyper("beta1", 0.9, high=1.0)
_BETA2 = Hyper("beta2", 0.999, high=1.0)
_EPS = Hyper("eps", 1e-8)
_DECAY = Hyper("weight_decay", 0.0)

_POLYAK = "Polyak, Some methods of speeding up the convergence of iteration methods, 1964"
_SUTSKEVER = "Sutskever et al., On the importance of initialization and momentum, ICML 2013"
_ADAM = "Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015"
_ADAMW = "Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019"

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            name="sgd",
            states=(),
            coefficients=sgd_coefficients,
            update=sgd_update,
            hypers=(_LR, _DECAY),
            counts_steps=False,
            decay="coupled",
            paper="Robbins and Monro, A stochastic approximation method, 1951",
        ),
        Rule(
            name="momentum",
            states=("momentum_buffer",),
            coefficients=momentum_coefficients,
            update=momentum_update,
            hypers=(_LR, _MOMENTUM, _DECAY),
            counts_steps=False,
            decay="coupled",
            paper=_POLYAK,
        ),
        Rule(
            name="nesterov",
            states=("momentum_buffer",),
            coefficients=momentum_coefficients,
            update=nesterov_update,
            hypers=(_LR, _MOMENTUM, _DECAY),
            counts_steps=False,
            decay="coupled",
            paper=_SUTSKEVER,
        ),
        Rule(
            name="adam",
            states=("exp_avg", "exp_avg_sq"),
            coefficients=adam_coefficients,
            update=adam_update,
            hypers=(_LR, _BETA1, _BETA2, _EPS, _DECAY),
            counts_steps=True,
            decay="coupled",
            paper=_ADAM,
        ),
        Rule(
            name="adamw",
            states=("exp_avg", "exp_avg_sq"),
            coefficients=adamw_coefficients,
            update=adamw_update,
            hypers=(_LR, _BETA1, _BETA2, _EPS, Hyper("weight_decay", 1e-2)),
            counts_steps=True,
            decay="decoupled",
            paper=_ADAMW,
        ),
    )
}
