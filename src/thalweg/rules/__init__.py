"""Update rules: each formula once; `table.py` and `matrix_table.py` list them all."""

from __future__ import annotations

from thalweg.rules._primitives import absolute, div, maximum, minimum, pow, sign, sqrt, where
from thalweg.rules.matrix import MatrixRule
from thalweg.rules.matrix_table import MATRIX_RULES
from thalweg.rules.rule import Hyper, Rule
from thalweg.rules.table import RULES

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
