"""How a run is trained: optimizer, rate, schedule, batch, network; what is tried on each task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn

import thalweg
from benchmarks.healthbench import fresh_models, more_models, third_models
from benchmarks.healthbench.models import Bag, Convnet, Language, Layers, Shape
from benchmarks.healthbench.sets import Data

NETWORKS = {**more_models.NETWORKS, **fresh_models.NETWORKS, **third_models.NETWORKS}


@dataclass(frozen=True)
class Recipe:
    """Settings of a run. lr: the peak; warmup and the decay's length in shares of the run.

    steps: planned; accumulate: batches to an update; precision: fp32, bf16 (weights too) or fp16
    average: of the running mean of the weights that is scored, what is kept at each fifth step
    evaluations: of a run, evenly spread; tells_scores: the log has more than losses and the rate
    options: of the optimizer, other than its usual ones
    """

    name: str
    optimizer: str
    lr: float
    schedule: str
    batch_size: int
    steps: int
    shape: Shape = field(default_factory=Shape)
    weight_decay: float = 0.0
    clip: float | None = None
    warmup: float = 0.0
    label_smoothing: float = 0.0
    accumulate: int = 1
    precision: str = "fp32"
    average: float = 0.0
    evaluations: int = 40
    tells_scores: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def shaped(self, **changes: Any) -> Recipe:
        """Another network, the rest as it is."""
        return replace(self, shape=replace(self.shape, **changes))


@dataclass(frozen=True)
class Task:
    """family: of its network; part: of the bench (`portions`); steps: of a usual run

    kind: of its data, see `Data`; num_classes: of these, where there are some

    rates: by optimizer, the lowest whose final validation loss is within 2% of the best of a grid
    of factors of about three, constant, at the usual shape and batch size, one seed
    (`python -m benchmarks.healthbench.grid`)
    """

    name: str
    family: str
    part: str
    steps: int
    rates: Mapping[str, float]
    batch_size: int = 32
    shape: Shape = field(default_factory=Shape)
    kind: str = "classes"
    num_classes: int = 2

    def network(self, data: Data, shape: Shape) -> nn.Module:
        """Fresh, by torch's random state."""
        if self.family == "convnet":
            return Convnet(data.num_outputs, shape)
        if self.family == "bag":
            return Bag(data.num_outputs, shape)
        if self.family == "language":
            return Language(data.num_outputs, shape)
        if self.family in NETWORKS:
            return NETWORKS[self.family](data, shape)
        inputs = data.train.x.shape[1]
        return Layers(inputs, data.num_outputs, shape, is_residual=self.family == "residual")


def _rates(sgd: float, adam: float, rmsprop: float, adagrad: float, **more: float):
    return {"sgd": sgd, "adam": adam, "adamw": adam, "rmsprop": rmsprop, "adagrad": adagrad} | more


NORMED = Shape(norm="batch")
FIRST, NARROW = Shape(depth=1, width=32), Shape(1, 32, "batch")
ATTENDING = Shape(depth=1, width=48, norm="layer", body="attention")
LSTM, TUNED = Shape(1, 48, body="lstm"), Shape(3, 64)
PASSED, DEEPER = Shape(2, 40, "batch"), Shape(3, 64, "batch")

UNSEEN_OPTIMIZERS = (
    *("nesterov", "nadam", "radam", "adamax"),
    *("adadelta", "adafactor", "lion", "muon"),
)
UNSEEN_RATES = {
    "shuttle": (0.03, 0.01, 0.03, 0.03, 3, 0.1, 0.003, 0.01),
    "flights": (0.1, 0.003, 0.003, 0.03, 1, 0.3, 0.003, 0.003),
    "ratings": (0.03, 0.001, 0.003, 0.01, 1, 0.03, 0.0003, 0.003),
    "emails": (0.1, 0.003, 0.01, 0.03, 3, 0.1, 0.001, 0.003),
    "bible": (0.03, 0.003, 0.01, 0.01, 1, 0.03, 0.003, 0.03),
    "optdigits": (0.03, 0.01, 0.01, 0.03, 3, 0.3, 0.001, 0.03),
    "census": (0.03, 0.001, 0.003, 0.003, 1, 0.03, 0.0003, 0.003),
    "pairs": (0.1, 0.01, 0.03, 0.01, 3, 0.1, 0.001, 0.01),
    "copies": (0.1, 0.001, 0.01, 0.01, 3, 0.03, 0.001, 0.003),
    "military": (0.03, 0.003, 0.01, 0.01, 1, 0.1, 0.001, 0.01),
    "photo": (0.1, 0.003, 0.01, 0.01, 3, 0.1, 0.001, 0.01),
}
"""By task, in the order of the optimizers. Those of census, military and photo, and Lion's and
Muon's of pairs, were not tried on the grid but set as the other tasks suggest.
"""


FRESH_RATES = {
    "weather": (0.003, 0.003, 0.001, 0.01, 0.03),
    "genres": (0.003, 0.003, 0.002, 0.01, 0.1),
    "visits": (0.0015, 0.001, 0.001, 0.005, 0.01),
    "strokes": (0.006, 0.004, 0.005, 0.03),
    "views": (0.0015, 0.0015, 0.002, 0.01, 0.01),
    "incomes": (0.0015, 0.0015, 0.001, 0.01, 0.01),
    "lectures": (0.01, 0.01, 0.005, 0.03),
    "patches": (0.003, 0.003, 0.003, 0.03, 0.05),
}
"""By task: Adam (AdamW, NAdam), RMSprop, Lion, RAdam, and SGD with momentum 0.9, which gets nowhere
on two of them. Between two rates of the grid where both do well: runs are short.
"""


def _known(task: str) -> dict[str, float]:
    rates = dict(zip(("adam", "rmsprop", "lion", "radam", "sgd"), FRESH_RATES[task], strict=False))
    return rates | {"adamw": rates["adam"], "nadam": rates["adam"]}


THIRD_RATES = {
    "telescope": (0.005, 0.003, 0.05, 0.06),
    "loans": (0.001, 0.001, 0.01, 0.01),
    "tweets": (0.009, 0.009, 0.08),
    "handbook": (0.012, 0.008, 0.1, 0.8),
    "letters": (0.003, 0.0015, 0.025, 0.012),
}
"""By task: Adam (AdamW, NAdam), RMSprop, Adagrad, and SGD with momentum 0.9, too slow on tweets."""


def _third(task: str) -> dict[str, float]:
    rates = dict(zip(("adam", "rmsprop", "adagrad", "sgd"), THIRD_RATES[task], strict=False))
    return rates | {"adamw": rates["adam"], "nadam": rates["adam"]}


def _of(task: str) -> dict[str, float]:
    """AdamW takes the rate of NAdam."""
    rates = dict(zip(UNSEEN_OPTIMIZERS, UNSEEN_RATES[task], strict=True))
    return rates | {"adamw": rates["nadam"]}


TASKS = {
    row.name: row
    for row in (
        Task("digits", "layers", "tuning", 500, _rates(0.03, 3e-3, 1e-3, 0.03), num_classes=10),
        Task("letter", "layers", "tuning", 800, _rates(0.1, 1e-2, 1e-2, 0.1), 64, num_classes=26),
        Task("spam", "layers", "tuning", 500, _rates(0.01, 1e-3, 1e-3, 0.01)),
        Task(
            "mnist",
            "convnet",
            "tuning",
            400,
            _rates(0.03, 1e-2, 3e-3, 0.1),
            shape=NORMED,
            num_classes=10,
        ),
        Task(
            "diamonds", "layers", "tuning", 600, _rates(0.01, 3e-3, 1e-3, 0.03), 64, kind="numbers"
        ),
        Task(
            *("phoneme", "layers", "held-out", 600),
            _rates(0.03, 3e-3, 3e-3, 0.03, lion=1e-3, muon=3e-3),
        ),
        Task(
            *("fashion", "convnet", "held-out", 400),
            _rates(0.03, 3e-3, 3e-3, 0.03, lion=1e-3, muon=3e-3),
            shape=NORMED,
            num_classes=10,
        ),
        Task(
            *("fortunes", "bag", "held-out", 400),
            _rates(0.1, 1e-2, 1e-2, 0.1, lion=3e-3, muon=1e-2),
            shape=Shape(width=32),
            num_classes=7,
        ),
        Task(
            *("shakespeare", "language", "held-out", 320),
            _rates(0.3, 1e-2, 3e-3, 0.03, lion=3e-3, muon=1e-2),
            batch_size=16,
            shape=Shape(depth=1, width=48),
            kind="symbols",
        ),
        Task(
            *("cancer", "residual", "held-out", 300),
            _rates(3e-3, 3e-4, 3e-4, 3e-3, lion=1e-4, muon=1e-3),
            shape=Shape(depth=6, width=32),
        ),
        Task("shuttle", "layers", "unseen", 420, _of("shuttle"), 64, Shape(3, 32), num_classes=4),
        Task("census", "residual", "unseen", 300, _of("census"), 64, Shape(3, 48), kind="labels"),
        Task("flights", "layers", "unseen", 480, _of("flights"), 128, Shape(3), kind="numbers"),
        Task("ratings", "vectors", "unseen", 540, _of("ratings"), 128, kind="numbers"),
        Task("emails", "reader", "unseen", 280, _of("emails"), 32, Shape(1, 32, "layer")),
        Task("bible", "language", "unseen", 300, _of("bible"), 16, ATTENDING, kind="symbols"),
        Task("optdigits", "passed", "unseen", 300, _of("optdigits"), 32, PASSED, num_classes=10),
        Task("pairs", "convnet", "unseen", 300, _of("pairs"), 32, DEEPER, kind="labels"),
        Task("copies", "narrow", "unseen", 360, _of("copies"), 64, Shape(3, 96), kind="pictures"),
        Task("military", "layers", "unseen", 700, _of("military"), 256, num_classes=3),
        Task("photo", "layers", "unseen", 500, _of("photo"), 128, Shape(3), kind="pictures"),
        Task("weather", "forecaster", "fresh", 240, _known("weather"), 32, FIRST, kind="forecast"),
        Task("genres", "titles", "fresh", 400, _known("genres"), 64, Shape(1, 32), kind="genres"),
        Task("visits", "columns", "fresh", 400, _known("visits"), 128, kind="counts"),
        Task("strokes", "code", "fresh", 450, _known("strokes"), 64, kind="strokes"),
        Task("views", "towers", "fresh", 320, _known("views"), 64, kind="views"),
        Task("incomes", "layers", "fresh", 400, _known("incomes"), 64, kind="grades"),
        Task("lectures", "matcher", "fresh", 500, _known("lectures"), 128, FIRST, kind="picks"),
        Task("patches", "denoiser", "fresh", 220, _known("patches"), 32, NARROW, kind="noise"),
        Task("telescope", "layers", "third", 450, _third("telescope"), 64, Shape(2, 80)),
        Task("loans", "layers", "third", 400, _third("loans"), 64, Shape(3, 40), kind="numbers"),
        Task("tweets", "phrases", "third", 360, _third("tweets"), 40, Shape(1, 48), num_classes=3),
        Task("handbook", "language", "third", 400, _third("handbook"), 20, LSTM, kind="symbols"),
        Task("letters", "pretrained", "third", 320, _third("letters"), 40, TUNED, num_classes=10),
    )
}


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "lion": thalweg.Lion,
    "muon": partial(thalweg.Muon, adjust_lr_fn="match_rms_adamw", ns_bf16=False),
    "nesterov": partial(torch.optim.SGD, momentum=0.95, nesterov=True, foreach=True),
    "nadam": partial(torch.optim.NAdam, foreach=True),
    "radam": partial(torch.optim.RAdam, foreach=True),
    "adamax": partial(torch.optim.Adamax, foreach=True),
    "adadelta": partial(torch.optim.Adadelta, foreach=True),
    "adafactor": partial(torch.optim.Adafactor, foreach=True),
}
"""Lion and Muon not on tuning tasks: a family that no detector was tuned on. Those behind them on
unseen tasks alone.
"""


def optimizer_of(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's; without decay where it names none. Muon's vectors are AdamW's."""
    groups: list[Any] = list(parameters)
    if recipe.optimizer == "muon":
        vectors, matrices = ([p for p in groups if (p.dim() > 1) == is_it] for is_it in (0, 1))
        groups = [{"params": matrices, "use_muon": True}, {"params": vectors, "use_muon": False}]
    make = OPTIMIZERS[recipe.optimizer]
    return make(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, **recipe.options)


def factor(schedule: str, at: float, warmup: float = 0.0) -> float:
    """Of the peak rate, at a share of the run in 0..1."""
    if at < warmup:
        return max(at / warmup, 1e-3)
    at = (at - warmup) / (1 - warmup)
    return SCHEDULES[schedule](at)


def _one_cycle(at: float) -> float:
    if at < 0.3:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * at / 0.3)) / 2
    return (1 + math.cos(math.pi * (at - 0.3) / 0.7)) / 2 + 1e-4


def _since_restart(at: float) -> float:
    """Share of a cycle; each one is twice as long as the one before: 1/7, 2/7 and 4/7."""
    start, length = next(
        each for each in ((3 / 7, 4 / 7), (1 / 7, 2 / 7), (0, 1 / 7)) if each[0] <= at
    )
    return min(1.0, (at - start) / length)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda at: 1.0,
    "cosine": lambda at: (1 + math.cos(math.pi * at)) / 2,
    "linear": lambda at: 1 - at,
    "step": lambda at: 1.0 if at < 0.5 else 0.2 if at < 0.75 else 0.04,
    "one_cycle": _one_cycle,
    "cyclic": lambda at: 0.1 + 0.9 * abs(1 - (6 * at) % 2),
    "wsd": lambda at: min(1.0, 5 * (1 - at)),
    "polynomial": lambda at: (1 - at) ** 2,
    "stairs": lambda at: 0.5 ** int(4 * at),
    "five_cosines": lambda at: (1 + math.cos(math.pi * ((5 * at) % 1))) / 2,
    "exponential": lambda at: 0.02**at,
    "root": lambda at: 1 / math.sqrt(1 + 30 * at),
    "doubling": lambda at: 0.02 + 0.98 * (1 + math.cos(math.pi * _since_restart(at))) / 2,
    "milestones": lambda at: 1.0 if at < 0.6 else 0.1 if at < 0.85 else 0.01,
    "cosine_to_tenth": lambda at: 0.1 + 0.45 * (1 + math.cos(math.pi * at)),
    "triangle": lambda at: max(0.02, 1 - abs(1 - 2 * at)),
    "inverse": lambda at: 1 / (1 + 8 * at),
    "sawtooth": lambda at: 1 - 0.95 * ((8 * at) % 1),
    "restarts": lambda at: 0.05 + 0.95 * (1 + math.cos(math.pi * ((4 * at) % 1))) / 2,
}
