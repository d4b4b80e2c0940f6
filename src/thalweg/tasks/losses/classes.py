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
    flat = by_answer(outputs, targets)
    losses = functional.cross_entropy(*flat, reduction="none", label_smoothing=float(smoothing))
    return of_rows(losses.view(targets.shape) if flat[1] is not targets else losses)


def mean_cross_entropy(outputs: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """The mean of the above over all answers: ()."""
    flat = by_answer(outputs, targets)
    return functional.cross_entropy(*flat, label_smoothing=float(smoothing))


def by_answer(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(n, classes, length, ...) beside (n, length, ...) as (answers, classes) beside (answers,).

    torch is faster on these, by nearly half for the bytes of a text; and exact on CUDA.
    """
    if outputs.dim() < 3 or outputs.shape[:1] + outputs.shape[2:] != targets.shape:
        return outputs, targets
    return outputs.movedim(1, -1).flatten(0, -2), targets.flatten()


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
