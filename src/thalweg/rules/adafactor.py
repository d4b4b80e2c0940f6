"""Adafactor: squared gradients of a matrix, remembered as the means of its rows and its columns.

p parameters of one shape, one behind the other · g gradients · r running mean of g squared in each
row · c in each column · v their estimate of every element's · u the step before its rate · t step,
counted from 1
"""

import math


def adafactor_update(xp, t, p, g, r, c, lr, beta2_decay, eps1, eps2, d, weight_decay):
    fresh = t**beta2_decay
    of_row, of_column = mean_squares(xp, g)
    r = xp.lerp(r, of_row, fresh)
    c = xp.lerp(c, of_column, fresh)

    eps1 = xp.eps(p) if eps1 is None else eps1
    v = xp.matmul(r / xp.maximum(xp.mean(r, -2), eps1), c)
    return step_of(xp, t, p, g, v, lr, eps1, eps2, d, weight_decay), r, c


def mean_squares(xp, g):
    squares = g * g
    return xp.mean(squares, -1), xp.mean(squares, -2)


def vector_update(xp, t, p, g, v, lr, beta2_decay, eps1, eps2, d, weight_decay):
    fresh = t**beta2_decay
    v = xp.lerp(v, g * g, fresh, out=v)

    eps1 = xp.eps(p) if eps1 is None else eps1
    return step_of(xp, t, p, g, v, lr, eps1, eps2, d, weight_decay), v


def step_of(xp, t, p, g, v, lr, eps1, eps2, d, weight_decay):
    u = xp.maximum(v, eps1 * eps1)
    u = xp.divide(g, xp.sqrt(u, out=u), out=u)

    rate = xp.maximum(eps2, root_mean_square(xp, p)) * xp.minimum(lr, t**-0.5)
    rate = rate / xp.maximum(1, root_mean_square(xp, u) / d)

    step = xp.multiply(u, rate, out=u)
    return xp.add(step, p, alpha=lr * weight_decay, out=step)


def root_mean_square(xp, a):
    return xp.norm(a) / math.sqrt(math.prod(a.shape[1:]))


def of_rows(shape):
    return (*shape[:-1], 1)


def of_columns(shape):
    return (*shape[:-2], 1, shape[-1])


def as_parameter(shape):
    return shape
