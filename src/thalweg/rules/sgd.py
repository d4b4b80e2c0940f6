"""Gradient descent, plain and with momentum.

p parameter · g gradient · b momentum buffer: a running sum of gradients, in which the older count
less
"""


def sgd_coefficients(t, lr, weight_decay):
    return lr, weight_decay


def sgd_update(p, g, lr, weight_decay):
    g = g + weight_decay * p

    p = p - lr * g
    return (p,)


def momentum_coefficients(t, lr, momentum, weight_decay):
    return lr, momentum, weight_decay


def momentum_update(p, g, b, lr, momentum, weight_decay):
    g = g + weight_decay * p
    b = momentum * b + g

    p = p - lr * b
    return p, b


def nesterov_update(p, g, b, lr, momentum, weight_decay):
    g = g + weight_decay * p
    b = momentum * b + g

    p = p - lr * (g + momentum * b)
    return p, b
