"""Do intervals of quantiles hold as much as they say?"""

from __future__ import annotations

from typing import Any

import torch

from thalweg.tasks.measure import Seen
from thalweg.tasks.reading import Reading


def intervals_of(reading: Reading, seen: Seen) -> dict[str, Any]:
    """The interval from the lowest quantile to the highest on a set, measured.

    levels; expected, coverage: share of the targets that should lie in it, and that does (weighted
    as the rows are); below: share of the targets below each quantile; crossed: share of the rows
    whose quantiles the model gave out of order, which are put in order
    """
    assert seen.outputs is not None
    assert seen.targets is not None
    levels, truth = reading.levels(seen.outputs), seen.targets.reshape(-1, 1)
    share = torch.ones(len(truth)) if seen.weights is None else seen.weights
    share = share.double() / share.double().sum()
    inside = (truth[:, 0] >= levels[:, 0]) & (truth[:, 0] <= levels[:, -1])
    crossed = (seen.outputs.diff(dim=1) < 0).any(dim=1)
    names = reading.quantiles
    below = share @ (truth <= levels).double()
    expected, coverage = round(names[-1] - names[0], 12), float(share @ inside.double())
    return {
        "levels": list(names),
        "expected": expected,
        "coverage": coverage,
        "below": [float(value) for value in below],
        "crossed": float(crossed.double().mean()),
        "sentence": (
            f"{coverage:.1%} of the test rows lie between the quantiles {names[0]:g} and "
            f"{names[-1]:g}, where {expected:.0%} should"
        ),
    }
