"""The named primitives of the rule language, as plain numbers understand them.

A rule is written with `+ - *` and these names only. A backend runs a rule by binding the names to
its own versions; with the ones here a rule can be tried by hand, without any package.
"""

import math


def div(a, b):
    """Quotient, correctly rounded."""
    return a / b


def sqrt(a):
    """Square root, correctly rounded."""
    return math.sqrt(a)


def pow(a, b):
    """a to the power b; allowed in coefficients only."""
    return a**b


NAMES = ("div", "pow", "sqrt")
