"""The named primitives of the rule language, as plain numbers understand them.

A rule is written with `+ - *`, comparisons and these names only. A backend runs a rule by spelling
the names its own way; with the ones here a rule can be tried by hand,
without any package.
"""

import math


def div(a, b):
    """Quotient, correctly rounded; by zero it is infinite, or NaN for 0 / 0 (IEEE 754)."""
    return a / b if b else a * math.inf


def sqrt(a):
    """Square root, correctly rounded."""
    return math.sqrt(a)


def pow(a, b):
    """a >= 0 to the power b; allowed in coefficients only."""
    return a**b if a or b >= 0 else math.inf


def absolute(a):
    """The size of a, without its sign."""
    return abs(a)


def sign(a):
    """1 for positive a, -1 for negative a, else a itself (0 and NaN)."""
    return 1.0 if a > 0 else -1.0 if a < 0 else a


def maximum(a, b):
    """The larger of the two; NaN where either is NaN."""
    return a if a > b or a != a else b


def minimum(a, b):
    """The smaller of the two; NaN where either is NaN."""
    return a if a < b or a != a else b


def where(condition, a, b):
    """a where the condition holds, else b; both are computed."""
    return a if condition else b


ARITIES = {
    "div": 2,
    "sqrt": 1,
    "pow": 2,
    "absolute": 1,
    "sign": 1,
    "maximum": 2,
    "minimum": 2,
    "where": 3,
}
"""Every primitive and its number of arguments."""
