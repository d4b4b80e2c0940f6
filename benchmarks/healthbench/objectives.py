"""Losses of the fresh tasks: quantiles, counts, grades, focal, variational, contrastive, ranking.

Some are sums, some fall below zero: of each it is known what a constant answer costs, and below
what it cannot or need not fall, so that all can be judged by the same rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]

QUANTILES = (0.1, 0.5, 0.9)
LATENTS, FINEST = 4, 0.1
"""Numbers that the variational code keeps; the width of a stroke's noise that is fine enough."""

FOCUS = 1.5
BLOCK = 64
"""Pairs that are told from each other: a batch of pairs is scored in blocks of so many."""


@dataclass(frozen=True)
class Objective:
    """loss: of outputs and targets; right: the share that is right, or explained, by `measure`

    chance: the loss of the best constant answer, by the targets; floor: of the loss, by the targets
    """

    loss: Loss
    right: Loss
    chance: Callable[[Tensor], float]
    floor: Callable[[Tensor], float] = lambda y: 0.0
    measure: str = "r2"


def explained(outputs: Tensor, y: Tensor) -> Tensor:
    """r2 over all numbers."""
    return 1 - ((outputs - y) ** 2).mean() / y.var(0, unbiased=False).mean()


def pinball(outputs: Tensor, y: Tensor) -> Tensor:
    """Outputs (n, hours x quantiles), summed over the quantiles."""
    errors = y[:, :, None] - outputs.view(*y.shape, len(QUANTILES))
    shares = torch.tensor(QUANTILES)
    return torch.maximum(shares * errors, (shares - 1) * errors).sum(-1).mean()


def _constant_quantiles(y: Tensor) -> float:
    answer = torch.quantile(y, torch.tensor(QUANTILES), dim=0).T.flatten()
    return float(pinball(answer.expand(len(y), -1), y))


def _of_medians(outputs: Tensor, y: Tensor) -> Tensor:
    return explained(outputs.view(*y.shape, len(QUANTILES))[..., len(QUANTILES) // 2], y)


def focal(outputs: Tensor, y: Tensor) -> Tensor:
    """Summed over the labels; what is known well counts little."""
    entropy = nn.functional.binary_cross_entropy_with_logits(outputs, y, reduction="none")
    return ((1 - (-entropy).exp()) ** FOCUS * entropy).sum(-1).mean()


def _constant_labels(y: Tensor) -> float:
    """Each label's best logit, from a grid."""
    logits = torch.linspace(-4, 4, 321)[:, None]
    costs = sum(
        float(min(focal(logit.expand(len(y), 1), y[:, i : i + 1]) for logit in logits))
        for i in range(y.shape[1])
    )
    return costs


def _labels_right(outputs: Tensor, y: Tensor) -> Tensor:
    return ((outputs > 0) == (y > 0.5)).float().mean()


def poisson(outputs: Tensor, y: Tensor) -> Tensor:
    """Of logarithms of rates, without the term that no answer changes: it may be negative."""
    return (outputs.exp() - y * outputs).mean()


def _constant_count(y: Tensor) -> float:
    return float(y.mean() - y.mean() * y.mean().log())


def _exact_counts(y: Tensor) -> float:
    return float((y - torch.xlogy(y, y)).mean())


def _half_exact(y: Tensor) -> float:
    """Half of the deviance explained: more than is to be had of counts with so much chance."""
    return 0.5 * (_constant_count(y) + _exact_counts(y))


def _deviance_explained(outputs: Tensor, y: Tensor) -> Tensor:
    chance, floor = _constant_count(y), _exact_counts(y)
    return (chance - poisson(outputs, y)) / (chance - floor)


def ordinal(outputs: Tensor, y: Tensor) -> Tensor:
    """Outputs (n, grades - 1): is it more than each grade? Summed over them."""
    above = (y[:, None] > torch.arange(outputs.shape[1])).float()
    entropy = nn.functional.binary_cross_entropy_with_logits(outputs, above, reduction="none")
    return entropy.sum(-1).mean()


def _constant_grade(y: Tensor) -> float:
    shares = (y[:, None] > torch.arange(int(y.max()))).float().mean(0)
    return float(nn.functional.binary_cross_entropy(shares, shares, reduction="sum"))


def _grades_right(outputs: Tensor, y: Tensor) -> Tensor:
    """Right to a grade."""
    return (((outputs > 0).sum(-1) - y).abs() <= 1).float().mean()


def parts_of_bound(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """How far what was drawn is from the targets, in nats, and how much was told of them."""
    width = y.shape[1]
    drawn, spread, mean, log_variance = outputs.split([width, width, LATENTS, LATENTS], -1)
    spread = spread.clamp(min=math.log(FINEST) - 1)
    missed = 0.5 * ((y - drawn) / spread.exp()) ** 2 + spread + 0.5 * math.log(2 * math.pi)
    told = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
    return missed.sum(-1).mean(), told.sum(-1).mean()


def bound(outputs: Tensor, y: Tensor) -> Tensor:
    """The negative evidence bound, in nats a sample: below zero where strokes are known well."""
    missed, told = parts_of_bound(outputs, y)
    return missed + told


def _constant_stroke(y: Tensor) -> float:
    return float((y.std(0).log() + 0.5 * math.log(2 * math.pi * math.e)).sum())


def _fine_strokes(y: Tensor) -> float:
    return y.shape[1] * (math.log(FINEST) + 0.5 * math.log(2 * math.pi))


def _drawn_right(outputs: Tensor, y: Tensor) -> Tensor:
    return explained(outputs[:, : y.shape[1]], y)


def _in_blocks(outputs: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """(n, 2, width) -> the mean score of the pairs' products, block by block; rests are left."""
    size = min(BLOCK, len(outputs))
    blocks = [outputs[i : i + size] for i in range(0, len(outputs) - size + 1, size)]
    return torch.stack([score(each[:, 0] @ each[:, 1].T) for each in blocks]).mean()


def contrast(outputs: Tensor, y: Tensor) -> Tensor:
    """InfoNCE: which of the block's second views belongs to the first one, and the reverse."""

    def entropy(scores: Tensor) -> Tensor:
        own = torch.arange(len(scores))
        return 0.5 * sum(nn.functional.cross_entropy(s, own) for s in (scores, scores.T))

    return _in_blocks(outputs, entropy)


def _found(outputs: Tensor, y: Tensor) -> Tensor:
    return _in_blocks(
        outputs, lambda scores: (scores.argmax(-1) == torch.arange(len(scores))).float().mean()
    )


def picked(outputs: Tensor, y: Tensor) -> Tensor:
    """Sampled softmax: outputs (n, candidates), y the place of the one that was chosen."""
    return nn.functional.cross_entropy(outputs, y)


def _picked_right(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs.argmax(-1) == y).float().mean()


def squared(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean over all numbers of a picture."""
    return ((outputs - y) ** 2).mean()


def _variance(y: Tensor) -> float:
    return float(y.var(0, unbiased=False).mean())


OBJECTIVES = {
    "forecast": Objective(pinball, _of_medians, _constant_quantiles),
    "genres": Objective(focal, _labels_right, _constant_labels, measure="accuracy"),
    "counts": Objective(poisson, _deviance_explained, _constant_count, _half_exact),
    "grades": Objective(ordinal, _grades_right, _constant_grade, measure="accuracy"),
    "strokes": Objective(bound, _drawn_right, _constant_stroke, _fine_strokes),
    "views": Objective(contrast, _found, lambda y: math.log(BLOCK), measure="accuracy"),
    "picks": Objective(
        picked, _picked_right, lambda y: math.log(int(y.max()) + 1), measure="accuracy"
    ),
    "noise": Objective(squared, explained, _variance),
}
"""By kind of data."""
