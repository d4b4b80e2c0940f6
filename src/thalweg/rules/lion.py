"""Lion: every parameter moves by the same amount, in the direction of an averaged gradient's sign.

p parameter · g gradient · m running mean of g
"""

from thalweg.rules._primitives import sign


def lion_coefficients(t, lr, beta1, beta2):
    return lr, beta1, 1 - beta1, beta2, 1 - beta2


def lion_update(p, g, m, lr, beta1, fresh1, beta2, fresh2):
    direction = sign(beta1 * m + fresh1 * g)
    m = beta2 * m + fresh2 * g

    p = p - lr * direction
    return p, m
