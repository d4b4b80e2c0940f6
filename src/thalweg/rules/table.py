"""The one table of update rules: a new rule is two functions in a family file and a row here."""

from __future__ import annotations

import math
from dataclasses import replace

from thalweg.rules import adagrad, adam, lion, prodigy, schedulefree, sgd
from thalweg.rules.hypers import (
    ALPHA,
    AVERAGING,
    BETA1,
    BETA2,
    DAMPENING,
    MOMENTUM,
    MOMENTUM_DECAY,
    betas,
    decay,
    eps,
    lr,
)
from thalweg.rules.rule import Hyper, Rule

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
_DEFAZIO = "Defazio et al., The road less scheduled, NeurIPS 2024"
_MISHCHENKO = "Mishchenko and Defazio, Prodigy: an expeditiously adaptive learner, ICML 2024"

_MOMENTS = ("exp_avg", "exp_avg_sq")
_ADAM_HYPERS = (lr(1e-3), *betas(0.9, 0.999), eps(1e-8), decay())
_ADAMW_HYPERS = (*_ADAM_HYPERS[:-1], decay(1e-2))
_RMSPROP_HYPERS = (lr(1e-2), ALPHA, eps(1e-8), decay())
_NADAM_HYPERS = (lr(2e-3), *betas(0.9, 0.999), eps(1e-8), decay())

_ROWS = (
    Rule(
        "sgd",
        sgd.sgd_coefficients,
        sgd.sgd_update,
        (lr(1e-3), decay()),
        takes_sparse=True,
        paper="Robbins and Monro, A stochastic approximation method, 1951",
    ),
    Rule(
        "momentum",
        sgd.momentum_coefficients,
        sgd.momentum_update,
        (lr(1e-3), MOMENTUM, DAMPENING, decay()),
        states=("momentum_buffer",),
        takes_sparse=True,
        paper=_POLYAK,
    ),
    Rule(
        "nesterov",
        sgd.momentum_coefficients,
        sgd.nesterov_update,
        (lr(1e-3), MOMENTUM, DAMPENING, decay()),
        states=("momentum_buffer",),
        takes_sparse=True,
        paper=_SUTSKEVER,
    ),
    Rule(
        "adagrad",
        adagrad.adagrad_coefficients,
        adagrad.adagrad_update,
        (
            lr(1e-2),
            Hyper(
                "lr_decay", 0.0, meaning="fall of the rate: it is halved after 1 / lr_decay steps"
            ),
            eps(1e-10),
            Hyper(
                "initial_accumulator_value",
                0.0,
                meaning="what the sum of squares starts at; in the gradient's unit squared",
            ),
            decay(),
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
        (*_RMSPROP_HYPERS, MOMENTUM),
        states=("square_avg", "momentum_buffer"),
        counts_steps=True,
        paper=_HINTON,
    ),
    Rule(
        "rmsprop_centered_momentum",
        adagrad.centered_momentum_coefficients,
        adagrad.centered_momentum_update,
        (*_RMSPROP_HYPERS, MOMENTUM),
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
            lr(1.0),
            Hyper(
                "rho",
                0.9,
                high=1.0,
                meaning="share of both mean squares kept each step: 0.9 remembers about 10 steps",
            ),
            eps(1e-6, "added under both roots: the larger, the longer the first steps"),
            decay(),
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
            lr(2e-3),
            *betas(0.9, 0.999, second="share of the largest gradient kept each step"),
            eps(1e-8, "added to the size of every gradient; in the gradient's unit"),
            decay(),
        ),
        states=("exp_avg", "exp_inf"),
        counts_steps=True,
        paper=_ADAM,
    ),
    Rule(
        "nadam",
        adam.nadam_coefficients,
        adam.nadam_update,
        (*_NADAM_HYPERS, MOMENTUM_DECAY),
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
            lr(1e-4, "how far every element moves in a step; in the parameter's unit"),
            *betas(
                0.9,
                0.99,
                "share of the mean in the direction, the rest is the gradient's",
                "share of the mean gradient kept each step: 0.99 remembers about 100 steps",
            ),
            decay(),
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
            lr(1.0),
            replace(MOMENTUM, above=True, meaning=BETA1.meaning),
            decay(),
            *AVERAGING,
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
        (lr(2.5e-3), BETA1, BETA2, eps(1e-8), decay(), *AVERAGING),
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
        lr(1.0, "multiplies the rate that is found"),
        *betas(0.9, 0.999),
        eps(1e-8),
        decay(),
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
            False,
            is_switch=True,
            meaning="make up for means that start at 0, as Adam does",
        ),
        Hyper(
            "safeguard_warmup",
            False,
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
"""Every rule of single elements, by name."""
