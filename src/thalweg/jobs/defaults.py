"""The one table of defaults: what `fit` chooses where the user did not, and by which rule.

`--help`, the docs and every run print it. The values were chosen by `benchmarks/defaults.py` on
three sets.
"""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.tasks.table.usual import EMA, FEW, SMOOTHING
from thalweg.tasks.text.usual import CLIP

LR = {
    "sgd": 0.1,
    "momentum": 0.1,
    "nesterov": 0.1,
    "adagrad": 0.03,
    "rmsprop": 1e-3,
    "adam": 1e-3,
    "adamw": 1e-3,
    "adadelta": 1.0,
    "adamax": 2e-3,
    "nadam": 1e-3,
    "radam": 3e-3,
    "lion": 3e-4,
    "lamb": 1e-2,
    "adafactor": 1e-2,
    "muon": 0.02,
    "prodigy": 1.0,
    "schedulefreesgd": 1.0,
    "schedulefreeadamw": 2.5e-3,
}
"""The learning rate of each optimizer that `fit` knows."""
FINE_TUNING = 0.01
"""Times the usual rate, where a whole model goes on from weights that it was given."""
MODEL = "mlp"
OPTIMIZER = "adamw"
SCHEDULE = "cosine"
UNSCHEDULED = ("schedulefreesgd", "schedulefreeadamw")
"""Optimizers that average their weights, which takes the place of a falling rate."""
PATIENCE = 10
FALLS = 3
SHARE = 0.1
STEPS = 3000
LEAST_EPOCHS, MOST_EPOCHS = 20, 200
LEAST_BATCH, MOST_BATCH = 32, 256
ROWS_PER_BATCH_ROW = 50
WARMUP = 0.05


@dataclass(frozen=True, slots=True)
class Default:
    """One default: the setting, its rule in words."""

    name: str
    rule: str


TABLE = (
    Default(
        "model",
        f"{MODEL}: two hidden layers of 256, each with LayerNorm and ReLU; before them numbers are "
        f"spread over bins, in columns of more than {FEW} different ones",
    ),
    Default("model of texts", "bag:16: hashed words, pairs and pieces, a vector for each"),
    Default("model of a plain text", "transformer:128x4"),
    Default("model of pictures", "conv:32,64,128: three residual blocks, each at half the size"),
    Default(
        "image-size", "width and height of the middle picture, with a longer side of at most 128"
    ),
    Default("augment", "shift: by up to an eighth of the sides, no flip"),
    Default("optimizer", OPTIMIZER),
    Default(
        "lr",
        f"{', '.join(f'{name} {lr:g}' for name, lr in LR.items())}; {FINE_TUNING:g} of it with "
        "--init and without --freeze (adamw 1e-05), but for what begins anew",
    ),
    Default("momentum", "0.9 for --optimizer momentum and nesterov"),
    Default(
        "schedule",
        f"warm-up (if it has none of its own), then {SCHEDULE} down to 0; constant for "
        f"{' and '.join(UNSCHEDULED)}",
    ),
    Default("warmup", f"{WARMUP:.0%} of the planned steps"),
    Default(
        "batch-size",
        f"training rows / {ROWS_PER_BATCH_ROW} as a power of two, "
        f"within {LEAST_BATCH} .. {MOST_BATCH}",
    ),
    Default(
        "epochs",
        f"as many as make {STEPS:,} steps, within {LEAST_EPOCHS} .. {MOST_EPOCHS} "
        "(where no --steps or --time is given)",
    ),
    Default(
        "ema",
        f"{EMA} for tables with the default optimizer (0: none, the last weights); else none",
    ),
    Default("clip", f"none; of a language model the gradient's norm, at {CLIP:g}"),
    Default(
        "label-smoothing",
        f"{SMOOTHING} for classes of a table with loss cross_entropy, where not one of two is rare "
        "and none is weighted; stated probabilities are set right afterwards, on validation rows",
    ),
    Default("evaluate-every", "one epoch, within 20 .. 1,000 steps"),
    Default(
        "patience",
        f"{PATIENCE} evaluations without an improvement beyond their noise; with a plateau "
        f"schedule at least those of {FALLS} falls of the rate",
    ),
    Default(
        "threads",
        "1 for a small model (a step below 0.05 GFLOP); else all where trials of 50 ms show them "
        "faster on work like the model's, 1 where not",
    ),
    Default(
        "matmul",
        "torch for a small model; else onednn where it is exact (error below 1e-5) and at least "
        "1.2 times as fast on products like the model's",
    ),
    Default(
        "malloc",
        "on the command line large buffers are kept in the process; from Python call "
        "thalweg.tune_malloc()",
    ),
    Default(
        "split",
        f"{1 - 2 * SHARE:.0%} train, {SHARE:.0%} validation, {SHARE:.0%} test; "
        "classes alike in each (a Dataset: at random)",
    ),
)


def schedule(optimizer: str) -> str:
    """The default schedule for an optimizer."""
    return "constant" if optimizer in UNSCHEDULED else SCHEDULE


def batch_size(rows: int) -> int:
    """The default batch size for so many training rows."""
    wanted = max(1, rows // ROWS_PER_BATCH_ROW)
    return min(MOST_BATCH, max(LEAST_BATCH, 1 << (wanted.bit_length() - 1)))


def epochs(steps_per_epoch: int) -> int:
    """The default number of epochs at so many steps an epoch."""
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, round(STEPS / steps_per_epoch)))
