"""The table of matrix rules: a new one is a function in a family file and a row here."""

from __future__ import annotations

import math
from dataclasses import replace

from thalweg.rules import adafactor, muon
from thalweg.rules.hypers import MOMENTUM, decay, eps, lr
from thalweg.rules.matrix import MatrixRule
from thalweg.rules.rule import Hyper

_JORDAN = "Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024"
_SHAZEER = "Shazeer and Stern, Adafactor: adaptive learning rates with sublinear memory, ICML 2018"

_VECTOR = MatrixRule(
    "adafactor_vector",
    adafactor.vector_update,
    (
        lr(1e-2),
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
        decay(),
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
            lr(1e-3),
            decay(0.1),
            replace(MOMENTUM, default=0.95),
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
            eps(1e-7),
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
