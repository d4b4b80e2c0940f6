"""Adafactor: squared gradients of a matrix, remembered as the means of its rows and its columns.

p parameter · g gradient · r running mean of g squared in each row · c in each column · v their
estimate of every element's · u the step before its rate · t step, counted from 1
"""

import math


def adafactor_update(xp, t, p, g, r, c, lr, beta2_decay, eps1, eps2, d, weight_decay):
    fresh = t**beta2_decay
    r = xp.lerp(r, xp.mean(g * g, -1), fresh)
    c = xp.lerp(c, xp.mean(g * g, -2), fresh)

    eps1 = xp.eps(p) if eps1 is None else eps1
    v = xp.matmul(r, c) / xp.maximum(xp.mean(r, -2), eps1)
    return moved(xp, t, p, g, v, lr, eps1, eps2, d, weight_decay), r, c


def vector_update(xp, t, p, g, v, lr, beta2_decay, eps1, eps2, d, weight_decay):
    fresh = t**beta2_decay
    v = xp.lerp(v, g * g, fresh)

    eps1 = xp.eps(p) if eps1 is None else eps1
    return moved(xp, t, p, g, v, lr, eps1, eps2, d, weight_decay), v


def moved(xp, t, p, g, v, lr, eps1, eps2, d, weight_decay):
    u = g / xp.sqrt(xp.maximum(v, eps1 * eps1))
    u = u / xp.maximum(1, root_mean_square(xp, u) / d)

    rate = xp.maximum(eps2, root_mean_square(xp, p)) * xp.minimum(lr, t**-0.5)
    return (1 - lr * weight_decay) * p - rate * u


def root_mean_square(xp, a):
    return xp.norm(a) / math.sqrt(math.prod(a.shape))


def of_rows(shape):
    return (*shape[:-1], 1)


def of_columns(shape):
    return (*shape[:-2], 1, shape[-1])


def as_parameter(shape):
    return shape
