"""Adam and AdamW.

p parameter · g gradient · m running mean of g · v running mean of g squared · t step, counted from
1
"""

from thalweg.rules._primitives import div, pow, sqrt


def adam_coefficients(t, lr, beta1, beta2, eps, weight_decay):
    rate = div(lr, 1 - pow(beta1, t))
    root = div(1, sqrt(1 - pow(beta2, t)))
    return rate, beta1, 1 - beta1, beta2, 1 - beta2, root, eps, weight_decay


def adam_update(p, g, m, v, rate, beta1, fresh1, beta2, fresh2, root, eps, weight_decay):
    g = g + weight_decay * p

    m = beta1 * m + fresh1 * g
    v = beta2 * v + fresh2 * g * g

    p = p - rate * div(m, root * sqrt(v) + eps)
    return p, m, v


def adamw_coefficients(t, lr, beta1, beta2, eps, weight_decay):
    rate = div(lr, 1 - pow(beta1, t))
    root = div(1, sqrt(1 - pow(beta2, t)))
    return rate, beta1, 1 - beta1, beta2, 1 - beta2, root, eps, 1 - lr * weight_decay


def adamw_update(p, g, m, v, rate, beta1, fresh1, beta2, fresh2, root, eps, keep):
    m = beta1 * m + fresh1 * g
    v = beta2 * v + fresh2 * g * g

    p = keep * p - rate * div(m, root * sqrt(v) + eps)
    return p, m, v
