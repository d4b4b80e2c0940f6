"""Adam and its descendants.

p parameter · g gradient · m running mean of g · v running mean of g squared · u running maximum of
the size of g · top largest v so far · mu_product all momenta so far, multiplied · t step, counted
from 1
"""

from thalweg.rules._primitives import absolute, div, maximum, pow, sqrt, where


def adam_coefficients(t, lr, beta1, beta2, eps):
    rate = div(lr, 1 - pow(beta1, t))
    root = div(1, sqrt(1 - pow(beta2, t)))
    return rate, beta1, 1 - beta1, beta2, 1 - beta2, root, eps


def adam_update(p, g, m, v, rate, beta1, fresh1, beta2, fresh2, root, eps):
    m = beta1 * m + fresh1 * g
    v = beta2 * v + fresh2 * g * g

    p = p - rate * div(m, root * sqrt(v) + eps)
    return p, m, v


def amsgrad_update(p, g, m, v, top, rate, beta1, fresh1, beta2, fresh2, root, eps):
    m = beta1 * m + fresh1 * g
    v = beta2 * v + fresh2 * g * g
    top = maximum(top, v)

    p = p - rate * div(m, root * sqrt(top) + eps)
    return p, m, v, top


def adamax_coefficients(t, lr, beta1, beta2, eps):
    rate = div(lr, 1 - pow(beta1, t))
    return rate, beta1, 1 - beta1, beta2, eps


def adamax_update(p, g, m, u, rate, beta1, fresh1, beta2, eps):
    m = beta1 * m + fresh1 * g
    u = maximum(beta2 * u, absolute(g) + eps)

    p = p - rate * div(m, u)
    return p, m, u


def nadam_coefficients(t, mu_product, lr, beta1, beta2, eps, momentum_decay):
    now = beta1 * (1 - 0.5 * pow(0.96, t * momentum_decay))
    next = beta1 * (1 - 0.5 * pow(0.96, (t + 1) * momentum_decay))
    mu_product = mu_product * now

    on_gradient = div(lr * (1 - now), 1 - mu_product)
    on_mean = div(lr * next, 1 - mu_product * next)
    root = div(1, sqrt(1 - pow(beta2, t)))
    return mu_product, on_gradient, on_mean, beta1, 1 - beta1, beta2, 1 - beta2, root, eps


def constant_nadam_coefficients(t, lr, beta1, beta2, eps):
    on_gradient = div(lr * (1 - beta1), 1 - pow(beta1, t))
    on_mean = div(lr * beta1, 1 - pow(beta1, t + 1))
    root = div(1, sqrt(1 - pow(beta2, t)))
    return on_gradient, on_mean, beta1, 1 - beta1, beta2, 1 - beta2, root, eps


def nadam_update(p, g, m, v, on_gradient, on_mean, beta1, fresh1, beta2, fresh2, root, eps):
    m = beta1 * m + fresh1 * g
    v = beta2 * v + fresh2 * g * g

    p = p - div(on_gradient * g + on_mean * m, root * sqrt(v) + eps)
    return p, m, v


def radam_coefficients(t, lr, beta1, beta2, eps):
    last = div(2, 1 - beta2) - 1
    length = last - div(2 * t * pow(beta2, t), 1 - pow(beta2, t))
    ratio = div((length - 4) * (length - 2) * last, (last - 4) * (last - 2) * length)
    rectifier = sqrt(maximum(ratio, 0) * (1 - pow(beta2, t)))

    rate = div(lr, 1 - pow(beta1, t))
    rectified = where(length > 5, rate * rectifier, 0)
    plain = where(length > 5, 0, rate)
    return rectified, plain, beta1, 1 - beta1, beta2, 1 - beta2, eps, 0


def radam_update(p, g, m, v, rectified, plain, beta1, fresh1, beta2, fresh2, eps, zero):
    m = beta1 * m + fresh1 * g
    v = beta2 * v + fresh2 * g * g

    p = p - where(rectified > zero, rectified * div(m, sqrt(v) + eps), plain * m)
    return p, m, v
