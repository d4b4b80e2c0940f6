"""Which column of a log plays which part: guessed from its name, as people and tools name them.

What the words of a name say is scored, and of the columns that could play a part the one with the
most points does; among equals the one with the most values, which is the finest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from thalweg.record.foreign.log import LOSS, LR, NORM, PARAMETERS, SCALE, SKIPPED, VALIDATION
from thalweg.record.foreign.names import (
    EPOCHS,
    FAINT,
    LOSSES,
    METRICS,
    PARTS,
    SMOOTHED,
    STEPS,
    TRAIN,
    Named,
    named,
)


def roles_of(counts: Mapping[str, int]) -> dict[str, str]:
    """The column of each part; counts: of each column's values.

    >>> roles_of({"Train/Loss": 90, "test_loss": 90, "eval/nll": 9, "lr-AdamW/pg1": 90})
    {'validation_loss': 'eval/nll', 'loss': 'Train/Loss', 'lr': 'lr-AdamW/pg1'}
    """
    found: dict[str, str] = {}
    for role, points in _POINTS.items():
        free = [named(name) for name in counts if name not in found.values()]
        fit = [row for row in free if points(row) > 0]
        if fit:
            best = max(fit, key=lambda row: (points(row), counts[row.name]))
            found[role] = _finest(best, fit, counts)
    return found


def _finest(best: Named, rows: list[Named], counts: Mapping[str, int]) -> str:
    """Of a loss that is logged by steps and by epochs, the one with clearly more values."""
    means = STEPS | EPOCHS
    stem = [word for word in best.words if word not in means]
    alike = [row for row in rows if [word for word in row.words if word not in means] == stem]
    most = max(alike, key=lambda row: counts[row.name])
    return most.name if counts[most.name] > 2 * counts[best.name] else best.name


def test_loss(names: Mapping[str, int]) -> str | None:
    """The column of a loss on the test set, where there is one."""
    rows = [named(name) for name in names]
    fit = [row for row in rows if row.is_loss and row.is_test and not row.is_held]
    return min(fit, key=lambda row: len(row.words)).name if fit else None


def evaluated_loss(counts: Mapping[str, int], roles: Mapping[str, str]) -> str | None:
    """The column of a loss on training samples that is measured as often as the validation loss,
    beside the loss of the steps; None where there is none.
    """
    if LOSS not in roles or VALIDATION not in roles or named(roles[LOSS]).has(TRAIN):
        return None
    often = counts[roles[VALIDATION]]
    fit = [n for n in counts if _train_points(named(n)) > 0 and named(n).has(TRAIN)]
    return next((n for n in fit if abs(counts[n] - often) <= 0.1 * often), None)


def metric_of(name: str, part: str = "train") -> tuple[str, str] | None:
    """(set, metric) of a column that is a metric: ("validation", "accuracy"); None of others.

    part: the set of a metric whose name tells none
    """
    row = named(name)
    known = [word for word in row.words if word in METRICS]
    if not known or row.is_aside or (row.is_loss and not row.has({"bpb", "bpc"})):
        return None
    if row.has({"best", "threshold", "grad", "gradient"}):
        return None  # "best_mIoU" stands as it was, "grad_acc_steps" accumulates
    part = "validation" if row.is_held else "test" if row.is_test else part
    metric = METRICS[known[-1]]
    if metric == "precision" and row.has({"average"}):
        metric = "average_precision"
    if metric == "map" and not row.has(TRAIN) and part == "train":
        part = "validation"  # too dear for every batch: detectors are evaluated for it
    if metric == "accuracy" and row.has({"balanced"}):
        metric = "balanced_accuracy"
    return "train" if row.has(TRAIN) else part, metric


def parts_of(names: Mapping[str, int], *, of: str) -> list[str]:
    """Losses that make up a whole one that is not logged: those named as one of them is, but for
    one word: train/box_loss, train/cls_loss. Of one alone, that.
    """
    like = named(of)
    if not like.has(LOSSES) or like.words[-1] not in LOSSES or like.has(PARTS | SMOOTHED | EPOCHS):
        return [of]
    if like.has(_RIVALS):
        return [of]
    rows = [named(name) for name in names]
    alike = [
        row.name
        for row in rows
        if len(row.words) == len(like.words)
        and row.words[-1] == like.words[-1]
        and row.words[:-2] == like.words[:-2]
        and names[row.name] == names[of]
        and not (row.has(_RIVALS) or (row.words[-2:-1] and row.words[-2].isdigit()))
    ]
    is_whole = len(like.words) < 2 or like.words[-2] in TRAIN | _WHOLE
    is_held = len(like.words) < 3 and like.is_held
    return [of] if is_whole or is_held or len(alike) < 2 else alike


_WHOLE = {"total", "full", "overall", "sum", "lm", "val", "valid", "validation", "eval", "test"}

_RIVALS = {"d", "g", "disc", "gen", "discriminator", "generator", "critic", "actor"}
"""Words of losses that do not add up to one."""


def _loss_points(row: Named) -> int:
    is_part = row.has(PARTS - {"entropy"} if row.has({"cross"}) else PARTS)
    points = 40 - len(row.words) - 6 * row.has(SMOOTHED) - 12 * is_part
    points += 2 * row.has({"step", "total"}) - 4 * row.has(EPOCHS) - 5 * row.has({"batch"})
    points -= 8 * row.has({"vs"})
    return points - 15 * (row.has(FAINT) and not row.has(LOSSES))


def _validation_points(row: Named) -> int:
    return _loss_points(row) if row.is_loss and row.is_held and not row.is_aside else 0


def _train_points(row: Named) -> float:
    is_other = row.is_held or row.is_test or row.is_aside or not row.is_loss
    return 0 if is_other else _loss_points(row) + 0.5 * row.has(TRAIN)


def _rate_points(row: Named) -> int:
    words = row.words
    is_rate = "lr" in words or ("learning" in words and "rate" in words)
    is_other = row.is_loss or row.has({"scale", "decay", "min", "max", "factor", "mult"})
    return 40 - len(words) if is_rate and not is_other else 0


def _norm_points(row: Named) -> int:
    words = set(row.words)
    is_gradient = row.has({"grad", "grads", "gradient", "gradients", "gnorm"})
    is_norm = row.has({"norm", "gnorm"}) or ({"total", "global"} & words and is_gradient)
    if row.has({"max", "clip", "clipped", "layer", "param", "params", "weight", "update", "ratio"}):
        return 0
    if is_norm and is_gradient:
        return 40 - len(row.words) + 3 * row.has({"total", "global"})
    return 10 if row.words == ("norm",) else 0


def _parameters_points(row: Named) -> int:
    is_all = row.has({"param", "params", "parameter", "parameters"}) and row.has({"norm"})
    is_other = row.has({"grad", "gradient", "update", "layer", "ratio", "loss"})
    return 40 - len(row.words) if is_all and not is_other and len(row.words) <= 3 else 0


def _scale_points(row: Named) -> int:
    is_scale = row.has({"scale", "scaler"}) and row.has({"loss", "grad", "scaler", "amp"})
    return 40 - len(row.words) if is_scale else 0


def _skipped_points(row: Named) -> int:
    is_count = row.has({"iterations", "steps", "step", "iters", "updates", "batches"})
    is_count = is_count or len(row.words) == 1
    return 40 - len(row.words) if row.has({"skipped", "skips"}) and is_count else 0


_POINTS: dict[str, Callable[[Named], float]] = {
    VALIDATION: _validation_points,
    LOSS: _train_points,
    LR: _rate_points,
    NORM: _norm_points,
    PARAMETERS: _parameters_points,
    SCALE: _scale_points,
    SKIPPED: _skipped_points,
}
