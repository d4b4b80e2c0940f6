"""Prodigy: Adam that finds its learning rate, from how far it has come against the gradients.

p parameter · start where p began · g gradient · m running mean of d g · v running mean of (d g)
squared · s running sum of gradients, weighted by d · d the distance to the solution, as estimated
so far: the learning rate · d_max its largest estimate · d_numerator running sum of the progress
that the estimate is made from · t step, counted from 1
"""

from thalweg.rules._primitives import absolute, div, maximum, minimum, pow, sqrt, where


def prodigy_coefficients(
    t,
    d,
    d_max,
    d_numerator,
    lr,
    beta1,
    beta2,
    weight_decay,
    d0,
    use_bias_correction,
    safeguard_warmup,
):
    correction = where(use_bias_correction > 0, div(sqrt(1 - pow(beta2, t)), 1 - pow(beta1, t)), 1)
    rate = d * lr * correction
    gain = div(d, d0) * rate
    weight = div(d, d0) * where(safeguard_warmup > 0, d, rate)

    counts = where(lr > 0, 1, 0)
    kept = where(lr > 0, sqrt(beta2), 1)
    fresh1 = d * (1 - beta1)
    fresh2 = d * d * (1 - beta2)
    return (
        d,
        d_max,
        d_numerator,
        rate,
        rate * weight_decay,
        gain,
        counts,
        kept,
        counts * weight,
        beta1,
        fresh1,
        beta2,
        fresh2,
    )


def prodigy_measure(
    p, g, m, v, s, start, rate, shrink, gain, counts, kept, weight, beta1, fresh1, beta2, fresh2
):
    s = kept * s + weight * g
    return gain * g * (start - p), counts * absolute(s)


def prodigy_conclude(sum0, sum1, d, d_max, d_numerator, lr, beta2, eps, d0, d_coef, growth_rate):
    numerator = sqrt(beta2) * d_numerator + sum0
    estimate = where(sum1 > 0, d_coef * div(numerator, sum1), d)
    first = where(d > d0, d, maximum(d, estimate))
    largest = maximum(d_max, estimate)
    next = minimum(largest, growth_rate * first)

    moves = where(lr > 0, sum1 > 0, lr > 0)
    d_numerator = where(moves, numerator, d_numerator)
    d_max = where(moves, largest, d_max)
    d = where(moves, next, d)
    return d, d_max, d_numerator, d * eps


def prodigy_update(
    p,
    g,
    m,
    v,
    s,
    start,
    rate,
    shrink,
    gain,
    counts,
    kept,
    weight,
    beta1,
    fresh1,
    beta2,
    fresh2,
    floor,
):
    m = beta1 * m + fresh1 * g
    v = beta2 * v + fresh2 * g * g
    s = kept * s + weight * g

    p = p - (rate * div(m, sqrt(v) + floor) + shrink * p)
    return p, m, v, s, start
