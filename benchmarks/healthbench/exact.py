"""Exact intervals of a share (Clopper and Pearson, 1934)."""

from scipy.stats import beta


def interval(count: int, of: int, *, level: float = 0.95) -> tuple[float, float]:
    """The interval that holds the true share at this level; (0, 1) where nothing was counted.

    >>> [round(end, 3) for end in interval(0, 100)]
    [0.0, 0.036]
    """
    if of == 0:
        return 0.0, 1.0
    outside = (1 - level) / 2
    low = 0.0 if count == 0 else float(beta.ppf(outside, count, of - count + 1))
    high = 1.0 if count == of else float(beta.ppf(1 - outside, count + 1, of - count))
    return low, high
