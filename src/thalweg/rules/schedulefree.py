"""Schedule-Free: an average of all points so far takes the place of a falling learning rate.

p the point at which gradients are taken · z the point that the rule moves · g gradient · v running
mean of g squared · t step, counted from 1 · weight_sum of all points so far · lr_max largest
learning rate so far

The average x itself is not stored: p = (1 - beta) z + beta x, with the first beta or the momentum.
"""

from thalweg.rules._primitives import div, maximum, minimum, pow, sqrt, where


def schedulefree_sgd_coefficients(
    t, weight_sum, lr_max, lr, momentum, weight_decay, warmup_steps, r, weight_lr_power
):
    rate = lr * minimum(1, div(t, maximum(warmup_steps, 1)))
    lr_max = maximum(lr_max, rate)
    weight = pow(t, r) * pow(lr_max, weight_lr_power)
    weight_sum = weight_sum + weight
    share = where(weight_sum > 0, div(weight, weight_sum), 0)
    return weight_sum, lr_max, share, rate, rate * (1 - momentum * (1 - share)), weight_decay


def schedulefree_sgd_update(p, g, z, share, rate, short, weight_decay):
    g = g + weight_decay * p

    p = p - (share * (p - z) + short * g)
    z = z - rate * g
    return p, z


def schedulefree_adamw_coefficients(
    t, weight_sum, lr_max, lr, beta1, beta2, eps, weight_decay, warmup_steps, r, weight_lr_power
):
    rate = lr * minimum(1, div(t, maximum(warmup_steps, 1)))
    lr_max = maximum(lr_max, rate)
    weight = pow(t, r) * pow(lr_max, weight_lr_power)
    weight_sum = weight_sum + weight
    share = where(weight_sum > 0, div(weight, weight_sum), 0)
    short = rate * (1 - beta1 * (1 - share))
    root = div(1, sqrt(1 - pow(beta2, t)))
    return weight_sum, lr_max, share, rate, short, beta2, 1 - beta2, root, eps, weight_decay


def schedulefree_adamw_update(
    p, g, z, v, share, rate, short, beta2, fresh2, root, eps, weight_decay
):
    v = beta2 * v + fresh2 * g * g
    u = div(g, root * sqrt(v) + eps) + weight_decay * p

    p = p - (share * (p - z) + short * u)
    z = z - rate * u
    return p, z, v
