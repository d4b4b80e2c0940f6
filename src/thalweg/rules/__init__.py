"""The one table of update rules: a new rule is two functions in a family file and a row here."""

from __future__ import annotations

import math
from dataclasses import replace

from thalweg.rules import adafactor, adagrad, adam, lion, muon, prodigy, schedulefree, sgd
from thalweg.rules._primitives import absolute, div, maximum, minimum, pow, sign, sqrt, where
from thalweg.rules.matrix import MatrixRule
from thalweg.rules.rule import Hyper, Rule

__all__ = [
    "MATRIX_RULES",
    "RULES",
    "Hyper",
    "MatrixRule",
    "Rule",
    "absolute",
    "div",
    "maximum",
    "minimum",
    "pow",
    "sign",
    "sqrt",
    "where",
]


_OF_MEAN = "share of the mean gradient kept each step: 0.9 remembers about 10 steps"
_OF_SQUARES = "share of the mean square kept each step: 0.999 remembers about 1,000 steps"
_OF_LOOK = "how far from z towards the average gradients are taken: 0 at z, 1 at the average"


def _lr(default: float, meaning: str = "learning rate: every step is multiplied by it") -> Hyper:
    return Hyper("lr", default, meaning=meaning)


def _betas(
    beta1: float, beta2: float, first: str = _OF_MEAN, second: str = _OF_SQUARES
) -> tuple[Hyper, Hyper]:
    return (
        Hyper("beta1", beta1, high=1.0, key="betas", index=0, meaning=first),
        Hyper("beta2", beta2, high=1.0, key="betas", index=1, meaning=second),
    )


def _eps(
    default: float, meaning: str = "keeps the divisor above 0; in the gradient's unit"
) -> Hyper:
    return Hyper("eps", default, meaning=meaning)


def _decay(default: float = 0.0) -> Hyper:
    return Hyper("weight_decay", default, meaning="pull of the parameters towards 0")


_MOMENTUM = Hyper(
    "momentum", 0.9, high=1.0, meaning="share of the buffer kept each step: 0.9 sums about 10 steps"
)
_DAMPENING = Hyper(
    "dampening",
    0.0,
    high=1.0,
    below=False,
    meaning="by how much a gradient after the first one counts less",
)
_ALPHA = Hyper(
    "alpha",
    0.99,
    high=1.0,
    meaning="share of the mean square kept each step: 0.99 remembers about 100 steps",
)
_BETA1, _BETA2 = _betas(0.9, 0.999, first=_OF_LOOK)
_BETA1 = replace(_BETA1, above=True)
_AVERAGING = (
    Hyper("warmup_steps", 0.0, meaning="steps over which the rate rises from 0 to lr"),
    Hyper("r", 0.0, meaning="power of the step by which its point counts: 0 counts all alike"),
    Hyper(
        "weight_lr_power", 2.0, meaning="power of the largest rate so far by which a point counts"
    ),
)

_RISING = Hyper(
    "momentum_decay",
    4e-3,
    meaning="pace at which the momentum rises from half of beta1 to all of it: 0 stays at half",
)

_POLYAK = "Polyak, Some methods of speeding up the convergence of iteration methods, 1964"
_SUTSKEVER = "Sutskever et al., On the importance of initialization and momentum, ICML 2013"
_DUCHI = "Duchi, Hazan and Singer, Adaptive subgradient methods, JMLR 2011"
_HINTON = "Tieleman and Hinton, Lecture 6.5: rmsprop, COURSERA 2012"
_GRAVES = "Graves, Generating sequences with recurrent neural networks, 2013"
_ADAM = "Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015"
_REDDI = "Reddi, Kale and Kumar, On the convergence of Adam and beyond, ICLR 2018"
_ADAMW = "Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019"
_DOZAT = "Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016"
_LIU = "Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020"
_ZEILER = "Zeiler, ADADELTA: an adaptive learning rate method, 2012"
_CHEN = "Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023"
_JORDAN = "Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024"
_SHAZEER = "Shazeer and Stern, Adafactor: adaptive learning rates with sublinear memory, ICML 2018"
_DEFAZIO = "Defazio et al., The road less scheduled, NeurIPS 2024"

_MISHCHENKO = "Mishchenko and Defazio, Prodigy: an expeditiously adaptive learner, ICML 2024"

_MOMENTS = ("exp_avg", "exp_avg_sq")
_ADAM_HYPERS = (_lr(1e-3), *_betas(0.9, 0.999), _eps(1e-8), _decay())
_ADAMW_HYPERS = (*_ADAM_HYPERS[:-1], _decay(1e-2))
_RMSPROP_HYPERS = (_lr(1e-2), _ALPHA, _eps(1e-8), _decay())
_NADAM_HYPERS = (_lr(2e-3), *_betas(0.9, 0.999), _eps(1e-8), _decay())

_ROWS = (
    Rule(
        "sgd",
        sgd.sgd_coefficients,
        sgd.sgd_update,
        (_lr(1e-3), _decay()),
        takes_sparse=True,
        paper="Robbins and Monro, A stochastic approximation method, 1951",
    ),
    Rule(
        "momentum",
        sgd.momentum_coefficients,
        sgd.momentum_update,
        (_lr(1e-3), _MOMENTUM, _DAMPENING, _decay()),
        states=("momentum_buffer",),
        takes_sparse=True,
        paper=_POLYAK,
    ),
    Rule(
        "nesterov",
        sgd.momentum_coefficients,
        sgd.nesterov_update,
        (_lr(1e-3), _MOMENTUM, _DAMPENING, _decay()),
        states=("momentum_buffer",),
        takes_sparse=True,
        paper=_SUTSKEVER,
    ),
    Rule(
        "adagrad",
        adagrad.adagrad_coefficients,
        adagrad.adagrad_update,
        (
            _lr(1e-2),
            Hyper(
                "lr_decay", 0.0, meaning="fall of the rate: it is halved after 1 / lr_decay steps"
            ),
            _eps(1e-10),
            Hyper(
                "initial_accumulator_value",
                0.0,
                meaning="what the sum of squares starts at; in the gradient's unit squared",
            ),
            _decay(),
        ),
        states=("sum",),
        initial={"sum": "initial_accumulator_value"},
        counts_steps=True,
        takes_sparse=True,
        paper=_DUCHI,
    ),
    Rule(
        "rmsprop",
        adagrad.rmsprop_coefficients,
        adagrad.rmsprop_update,
        _RMSPROP_HYPERS,
        states=("square_avg",),
        counts_steps=True,
        paper=_HINTON,
    ),
    Rule(
        "rmsprop_centered",
        adagrad.centered_coefficients,
        adagrad.centered_update,
        _RMSPROP_HYPERS,
        states=("square_avg", "grad_avg"),
        counts_steps=True,
        cancels=True,
        paper=_GRAVES,
    ),
    Rule(
        "rmsprop_momentum",
        adagrad.rmsprop_momentum_coefficients,
        adagrad.rmsprop_momentum_update,
        (*_RMSPROP_HYPERS, _MOMENTUM),
        states=("square_avg", "momentum_buffer"),
        counts_steps=True,
        paper=_HINTON,
    ),
    Rule(
        "rmsprop_centered_momentum",
        adagrad.centered_momentum_coefficients,
        adagrad.centered_momentum_update,
        (*_RMSPROP_HYPERS, _MOMENTUM),
        states=("square_avg", "momentum_buffer", "grad_avg"),
        counts_steps=True,
        cancels=True,
        paper=_GRAVES,
    ),
    Rule(
        "adam",
        adam.adam_coefficients,
        adam.adam_update,
        _ADAM_HYPERS,
        states=_MOMENTS,
        counts_steps=True,
        paper=_ADAM,
    ),
    Rule(
        "adam_amsgrad",
        adam.adam_coefficients,
        adam.amsgrad_update,
        _ADAM_HYPERS,
        states=(*_MOMENTS, "max_exp_avg_sq"),
        counts_steps=True,
        paper=_REDDI,
    ),
    Rule(
        "adamw",
        adam.adam_coefficients,
        adam.adam_update,
        _ADAMW_HYPERS,
        states=_MOMENTS,
        decay="decoupled",
        counts_steps=True,
        paper=_ADAMW,
    ),
    Rule(
        "adamw_amsgrad",
        adam.adam_coefficients,
        adam.amsgrad_update,
        _ADAMW_HYPERS,
        states=(*_MOMENTS, "max_exp_avg_sq"),
        decay="decoupled",
        counts_steps=True,
        paper=_REDDI,
    ),
    Rule(
        "adadelta",
        adagrad.adadelta_coefficients,
        adagrad.adadelta_update,
        (
            _lr(1.0),
            Hyper(
                "rho",
                0.9,
                high=1.0,
                meaning="share of both mean squares kept each step: 0.9 remembers about 10 steps",
            ),
            _eps(1e-6, "added under both roots: the larger, the longer the first steps"),
            _decay(),
        ),
        states=("square_avg", "acc_delta"),
        counts_steps=True,
        paper=_ZEILER,
    ),
    Rule(
        "adamax",
        adam.adamax_coefficients,
        adam.adamax_update,
        (
            _lr(2e-3),
            *_betas(0.9, 0.999, second="share of the largest gradient kept each step"),
            _eps(1e-8, "added to the size of every gradient; in the gradient's unit"),
            _decay(),
        ),
        states=("exp_avg", "exp_inf"),
        counts_steps=True,
        paper=_ADAM,
    ),
    Rule(
        "nadam",
        adam.nadam_coefficients,
        adam.nadam_update,
        (*_NADAM_HYPERS, _RISING),
        states=_MOMENTS,
        scalars={"mu_product": 1.0},
        counts_steps=True,
        paper=_DOZAT,
    ),
    Rule(
        "nadam_constant",
        adam.constant_nadam_coefficients,
        adam.nadam_update,
        _NADAM_HYPERS,
        states=_MOMENTS,
        counts_steps=True,
        paper=_DOZAT,
    ),
    Rule(
        "radam",
        adam.radam_coefficients,
        adam.radam_update,
        _ADAM_HYPERS,
        states=_MOMENTS,
        counts_steps=True,
        paper=_LIU,
    ),
    Rule(
        "lion",
        lion.lion_coefficients,
        lion.lion_update,
        (
            _lr(1e-4, "how far every element moves in a step; in the parameter's unit"),
            *_betas(
                0.9,
                0.99,
                "share of the mean in the direction, the rest is the gradient's",
                "share of the mean gradient kept each step: 0.99 remembers about 100 steps",
            ),
            _decay(),
        ),
        states=("exp_avg",),
        decay="decoupled",
        paper=_CHEN,
    ),
    Rule(
        "schedulefree_sgd",
        schedulefree.schedulefree_sgd_coefficients,
        schedulefree.schedulefree_sgd_update,
        (
            _lr(1.0),
            replace(_MOMENTUM, above=True, meaning=_OF_LOOK),
            _decay(),
            *_AVERAGING,
        ),
        states=("z",),
        scalars={"weight_sum": 0.0, "lr_max": 0.0},
        initial={"z": "p"},
        decay="own",
        counts_steps=True,
        averages_weights=True,
        paper=_DEFAZIO,
    ),
    Rule(
        "schedulefree_adamw",
        schedulefree.schedulefree_adamw_coefficients,
        schedulefree.schedulefree_adamw_update,
        (_lr(2.5e-3), _BETA1, _BETA2, _eps(1e-8), _decay(), *_AVERAGING),
        states=("z", "exp_avg_sq"),
        scalars={"weight_sum": 0.0, "lr_max": 0.0},
        initial={"z": "p"},
        decay="own",
        counts_steps=True,
        averages_weights=True,
        paper=_DEFAZIO,
    ),
)

_PRODIGY = Rule(
    "prodigy",
    prodigy.prodigy_coefficients,
    prodigy.prodigy_update,
    (
        _lr(1.0, "multiplies the rate that is found"),
        *_betas(0.9, 0.999),
        _eps(1e-8),
        _decay(),
        Hyper("d0", 1e-6, above=True, meaning="the first rate: too small is safe"),
        Hyper("d_coef", 1.0, above=True, meaning="multiplies every estimate of the rate"),
        Hyper(
            "growth_rate",
            math.inf,
            low=1.0,
            is_finite=False,
            meaning="by how many times the rate may grow in a step",
        ),
        Hyper(
            "use_bias_correction",
            0.0,
            high=1.0,
            below=False,
            is_switch=True,
            meaning="make up for means that start at 0, as Adam does",
        ),
        Hyper(
            "safeguard_warmup",
            0.0,
            high=1.0,
            below=False,
            is_switch=True,
            meaning="count steps of a warm-up less as evidence",
        ),
    ),
    states=("exp_avg", "exp_avg_sq", "s", "p0"),
    scalars={"d": "d0", "d_max": "d0", "d_numerator": 0.0},
    initial={"p0": "p"},
    measure=prodigy.prodigy_measure,
    conclude=prodigy.prodigy_conclude,
    decay="own",
    counts_steps=True,
    cancels=True,
    paper=_MISHCHENKO,
)

_DECOUPLED = tuple(
    replace(row, name=f"{row.name}_decoupled", decay="decoupled")
    for row in _ROWS
    if row.name in ("nadam", "nadam_constant", "radam")
)

RULES: dict[str, Rule] = {row.name: row for row in (*_ROWS, _PRODIGY, *_DECOUPLED)}

_VECTOR = MatrixRule(
    "adafactor_vector",
    adafactor.vector_update,
    (
        _lr(1e-2),
        Hyper(
            "beta2_decay",
            -0.8,
            low=-math.inf,
            high=0.0,
            below=False,
            meaning="the mean of squares keeps 1 - t ** beta2_decay of itself in update t",
        ),
        Hyper(
            "eps1",
            0.0,
            key="eps",
            index=0,
            or_none=True,
            meaning="least variance, before its root; None: the precision of the numbers",
        ),
        Hyper(
            "eps2",
            1e-3,
            key="eps",
            index=1,
            meaning="a tensor counts as at least this large when lr is scaled by its size",
        ),
        Hyper("d", 1.0, low=1.0, meaning="largest root mean square of a step, before lr"),
        _decay(),
    ),
    states={"variance": adafactor.as_parameter},
    least_dims=0,
    counts_steps=True,
    paper=_SHAZEER,
)

_MATRIX_ROWS = (
    MatrixRule(
        "muon",
        muon.muon_update,
        (
            _lr(1e-3),
            _decay(0.1),
            replace(_MOMENTUM, default=0.95),
            Hyper(
                "ns_a",
                3.4445,
                low=-math.inf,
                key="ns_coefficients",
                index=0,
                meaning="of x in the polynomial that makes a matrix orthogonal",
            ),
            Hyper(
                "ns_b",
                -4.7750,
                low=-math.inf,
                key="ns_coefficients",
                index=1,
                meaning="of x cubed in it",
            ),
            Hyper(
                "ns_c",
                2.0315,
                low=-math.inf,
                key="ns_coefficients",
                index=2,
                meaning="of x to the fifth power in it",
            ),
            _eps(1e-7),
            Hyper(
                "ns_steps",
                5,
                high=100.0,
                is_whole=True,
                meaning="how many times the polynomial is applied",
            ),
        ),
        states={"momentum_buffer": muon.as_parameter},
        switches={
            "nesterov": (True, False),
            "ns_bf16": (True, False),
            "adjust_lr_fn": tuple(muon.SCALES),
        },
        paper=_JORDAN,
    ),
    replace(
        _VECTOR,
        name="adafactor",
        update=adafactor.adafactor_update,
        states={"row_var": adafactor.of_rows, "col_var": adafactor.of_columns},
        least_dims=2,
        below=_VECTOR,
    ),
)

MATRIX_RULES: dict[str, MatrixRule] = {row.name: row for row in _MATRIX_ROWS}
"""The rules of whole tensors, by name."""
