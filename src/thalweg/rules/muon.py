"""Muon: a running mean of gradients, made orthogonal as a matrix before it is subtracted.

p parameters of one shape, one behind the other · g gradients · m running mean of g · x matrices
whose singular values are brought near 1
"""

import math


def muon_update(
    xp,
    t,
    p,
    g,
    m,
    lr,
    weight_decay,
    momentum,
    nesterov,
    ns_a,
    ns_b,
    ns_c,
    eps,
    ns_steps,
    ns_bf16,
    adjust_lr_fn,
):
    m = xp.lerp(m, g, 1 - momentum, out=m)
    x = xp.lerp(g, m, momentum) if nesterov else m

    x = x.reshape(*p.shape[:2], math.prod(p.shape[2:]))
    x = xp.bfloat16(x) if ns_bf16 else x
    x = xp.astype(orthogonal(xp, x, ns_a, ns_b, ns_c, eps, ns_steps), p)

    rate = lr * SCALES[adjust_lr_fn](*x.shape[1:])
    step = xp.multiply(x, rate, out=x).reshape(p.shape)
    return xp.add(step, p, alpha=lr * weight_decay, out=step), m


def orthogonal(xp, x, a, b, c, eps, num_steps):
    """The singular values to between about 0.7 and 1.2, by steps s -> a s + b s^3 + c s^5."""
    is_tall = x.shape[-2] > x.shape[-1]
    x = xp.transpose(x) if is_tall else x
    x = x / xp.maximum(xp.norm(x), eps)

    for _ in range(num_steps):
        squares = xp.matmul(x, xp.transpose(x))
        factor = xp.addmm(squares, squares, squares, beta=b, alpha=c)
        x = xp.addmm(x, factor, x, beta=a, alpha=1)
    return xp.transpose(x) if is_tall else x


def original(rows, columns):
    """More for a matrix of more rows than columns, which moves its outputs less: Jordan 2024."""
    return math.sqrt(max(1, rows / columns))


def match_rms_adamw(rows, columns):
    """A root mean square of 0.2, as AdamW's steps have: Liu et al. 2025."""
    return 0.2 * math.sqrt(max(rows, columns))


SCALES = {None: original, "original": original, "match_rms_adamw": match_rms_adamw}
"""What the learning rate is multiplied by, from a matrix's rows and columns; None is "original"."""


def as_parameter(shape):
    return shape
