"""Rules that divide by the size of past gradients: AdaGrad, RMSProp, Adadelta.

p parameter · g gradient · s sum of g squared · v running mean of g squared · a running mean of g ·
b momentum buffer · d running mean of the steps squared · t step, counted from 1
"""

from thalweg.rules._primitives import div, maximum, sqrt


def adagrad_coefficients(t, lr, lr_decay, eps):
    rate = div(lr, 1 + (t - 1) * lr_decay)
    return rate, eps


def adagrad_update(p, g, s, rate, eps):
    s = s + g * g

    p = p - rate * div(g, sqrt(s) + eps)
    return p, s


def rmsprop_coefficients(t, lr, alpha, eps):
    return lr, alpha, 1 - alpha, eps


def rmsprop_update(p, g, v, lr, alpha, fresh, eps):
    v = alpha * v + fresh * g * g

    p = p - lr * div(g, sqrt(v) + eps)
    return p, v


def centered_coefficients(t, lr, alpha, eps):
    return lr, alpha, 1 - alpha, eps, 0


def centered_update(p, g, v, a, lr, alpha, fresh, eps, zero):
    v = alpha * v + fresh * g * g
    a = alpha * a + fresh * g
    variance = maximum(v - a * a, zero)

    p = p - lr * div(g, sqrt(variance) + eps)
    return p, v, a


def rmsprop_momentum_coefficients(t, lr, alpha, eps, momentum):
    return lr, alpha, 1 - alpha, eps, momentum


def rmsprop_momentum_update(p, g, v, b, lr, alpha, fresh, eps, momentum):
    v = alpha * v + fresh * g * g
    b = momentum * b + div(g, sqrt(v) + eps)

    p = p - lr * b
    return p, v, b


def centered_momentum_coefficients(t, lr, alpha, eps, momentum):
    return lr, alpha, 1 - alpha, eps, momentum, 0


def centered_momentum_update(p, g, v, b, a, lr, alpha, fresh, eps, momentum, zero):
    v = alpha * v + fresh * g * g
    a = alpha * a + fresh * g
    variance = maximum(v - a * a, zero)
    b = momentum * b + div(g, sqrt(variance) + eps)

    p = p - lr * b
    return p, v, b, a


def adadelta_coefficients(t, lr, rho, eps):
    return lr, rho, 1 - rho, eps


def adadelta_update(p, g, v, d, lr, rho, fresh, eps):
    v = rho * v + fresh * g * g
    step = div(sqrt(d + eps), sqrt(v + eps)) * g
    d = rho * d + fresh * step * step

    p = p - lr * step
    return p, v, d
