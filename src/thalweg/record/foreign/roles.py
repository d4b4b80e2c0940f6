"""Which column of a log plays which part: guessed from its name, as people and tools name them.

A name is taken apart into words: "train/loss_step" is train, loss, step. What the words say is
scored, and of the columns that could play a part the one with the most points does; among equals
the one with the most values, which is the finest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from thalweg.record.foreign.log import LOSS, LR, NORM, VALIDATION

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

TRAIN = {"train", "training", "trn", "tr", "fit"}
HELD = {"val", "valid", "validation", "eval", "evaluation", "dev", "holdout", "held"}
TEST = {"test", "testing"}
LOSSES = {"loss", "losses", "nll", "objective", "cost", "criterion", "xent", "bpc", "bpb"}
RATES = {"lr", "rate"}
_COUNTS = {"step", "steps", "iteration", "iterations", "iter", "iters", "it", "update", "updates"}
_COUNTS |= {"batch", "batches"}
_EPOCHS = {"epoch", "epochs"}
_ASIDE = {"time", "runtime", "seconds", "second", "duration", "timestamp", "clock", "wall", "ms"}
_ASIDE |= {
    "samples",
    "tokens",
    "examples",
    "memory",
    "mem",
    "gpu",
    "cpu",
    "throughput",
    "num",
    "count",
}
_ASIDE |= {"flops", "eta", "per", "size", "scale", "score", "preemption", "accumulated"}
METRICS = {"accuracy", "acc", "f1", "auc", "wer", "bleu", "ssim", "rmse", "mae", "r2", "perplexity"}
METRICS |= {"ppl", "precision", "recall", "map", "error", "err", "rouge", "iou", "dice", "mse"}
FALLING = {"wer", "rmse", "mae", "mse", "perplexity", "ppl", "error", "err"}


@dataclass(frozen=True, slots=True)
class Named:
    """What the words of a name say."""

    name: str
    words: tuple[str, ...]

    @property
    def is_held(self) -> bool:
        return bool(HELD & set(self.words))

    @property
    def is_test(self) -> bool:
        return bool(TEST & set(self.words)) and not self.is_held

    @property
    def is_loss(self) -> bool:
        words = set(self.words)
        return bool(LOSSES & words) and not words & {"scale", "scaler", "weight", "best"}

    @property
    def is_aside(self) -> bool:
        return bool(_ASIDE & set(self.words)) and not self.is_loss


def named(name: str) -> Named:
    """The words of a column's name, in lower case."""
    return Named(name, tuple(word.lower() for word in _WORD.findall(name)))


def step_column(names: Collection[str]) -> tuple[str | None, str]:
    """The column that counts, and what it counts: step, epoch, or row where there is none."""
    rows = [named(name) for name in names]
    counting = [row for row in rows if _counts(row)]
    if counting:
        return max(counting, key=lambda row: _points_as_step(row)).name, "step"
    epochs = [row for row in rows if set(row.words) & _EPOCHS and len(row.words) <= 2]
    return (epochs[0].name, "epoch") if epochs else (None, "row")


def _counts(row: Named) -> bool:
    words = set(row.words)
    return bool(words & _COUNTS) and not (
        words - _COUNTS - TRAIN - {"global", "number", "no", "idx"}
    )


def _points_as_step(row: Named) -> int:
    words = set(row.words)
    return 4 * bool(words & {"step", "steps"}) + 2 * ("global" in words) - len(words)


def roles_of(counts: Mapping[str, int]) -> dict[str, str]:
    """The column of each part; counts: of each column's values.

    Metrics and losses on test or other sets keep their own names and are no part of this.
    """
    rows = [named(name) for name in counts]
    found: dict[str, str] = {}
    for role, points in (
        (VALIDATION, _points_as_validation),
        (LOSS, _points_as_loss),
        (LR, _points_as_rate),
        (NORM, _points_as_norm),
    ):
        free = [row for row in rows if points(row) > 0 and row.name not in found.values()]
        if free:
            best = max(free, key=lambda row: (points(row), counts[row.name]))
            found[role] = best.name
    return found


def _points_as_validation(row: Named) -> int:
    if not row.is_loss or not row.is_held or row.is_aside:
        return 0
    return 20 - len(row.words)


def _points_as_loss(row: Named) -> int:
    if not row.is_loss or row.is_held or row.is_test or row.is_aside:
        return 0
    words = set(row.words)
    points = 20 - len(row.words) + 2 * ("step" in words) - 4 * ("epoch" in words)
    return points - 6 * bool(
        words & {"aux", "kl", "reg", "regularization", "penalty", "mean", "avg"}
    )


def _points_as_rate(row: Named) -> int:
    words = row.words
    is_rate = "lr" in words or ("learning" in words and "rate" in words)
    return 20 - len(words) if is_rate and not row.is_loss else 0


def _points_as_norm(row: Named) -> int:
    words = set(row.words)
    is_gradient = bool(words & {"grad", "grads", "gradient", "gradients", "gnorm"})
    is_norm = bool(words & {"norm", "gnorm"}) or {"grad", "total"} <= words
    points = 20 - len(row.words) + 3 * ("total" in words)
    return points if is_gradient and is_norm and not words & {"clipped", "layer"} else 0


def metric_of(name: str) -> tuple[str, str] | None:
    """(set, metric) of a column that is a metric: ("validation", "accuracy"); None of others."""
    row = named(name)
    words = set(row.words)
    known = [word for word in row.words if word in METRICS]
    if not known or row.is_loss or row.is_aside:
        return None
    part = "validation" if row.is_held else "test" if row.is_test else "train"
    return part, {"acc": "accuracy", "ppl": "perplexity", "err": "error"}.get(known[-1], known[-1])
