"""Losses of classes and of labels, each row's own: shape (n,).

outputs are logits: (n, classes) beside class ids (n,); or, of `bce`, one for each label, beside
truths of 0 and 1
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from thalweg.tasks.losses.shapes import like, of_rows


def cross_entropy(outputs: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """-log p of the true class; with smoothing s it counts 1 - s, and s is shared by all classes.

    Szegedy et al., Rethinking the Inception Architecture, 2016
    """
    losses = functional.cross_entropy(
        outputs, targets, reduction="none", label_smoothing=float(smoothing)
    )
    return of_rows(losses)


def focal(outputs: Tensor, targets: Tensor, *, gamma: float = 2.0) -> Tensor:
    """-(1 - p)^gamma log p of the true class: rows that are answered well count little.

    Lin et al., Focal Loss for Dense Object Detection, 2017
    """
    log_p = -functional.cross_entropy(outputs, targets, reduction="none")
    rest = -torch.expm1(log_p)  # 1 - p, without the loss of digits near p = 1
    rest = rest.clamp_min(torch.finfo(rest.dtype).tiny)  # whose powers below 1 have a gradient
    return of_rows(-rest.pow(gamma) * log_p)


def bce(outputs: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """-log of the probability of what is true, sigmoid(output) being that of 1."""
    truths = targets.to(outputs.dtype)
    if smoothing:
        truths = truths * (1 - smoothing) + smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(
        like(outputs, truths), truths, reduction="none"
    )
    return of_rows(losses)
