"""Gradient descent, plain and with momentum.

p parameter · g gradient · b momentum buffer: a running sum of gradients, in which the older count
less · t step, counted from 1
"""

from thalweg.rules._primitives import where


def sgd_coefficients(t, lr):
    return lr


def sgd_update(p, g, lr):
    p = p - lr * g
    return p


def momentum_coefficients(t, lr, momentum, dampening):
    fresh = where(t > 1, 1 - dampening, 1)
    return lr, momentum, fresh


def momentum_update(p, g, b, lr, momentum, fresh):
    b = momentum * b + fresh * g

    p = p - lr * b
    return p, b


def nesterov_update(p, g, b, lr, momentum, fresh):
    b = momentum * b + fresh * g

    p = p - lr * (g + momentum * b)
    return p, b
