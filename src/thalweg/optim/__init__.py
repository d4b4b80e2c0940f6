"""The optimizers that users pick: torch's names, arguments and defaults."""

from __future__ import annotations

from thalweg.optim.adaptive import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
)
from thalweg.optim.clip import ByNorm, ByValue, PerTensor
from thalweg.optim.modern import LAMB, Lion, ScheduleFreeAdamW, ScheduleFreeSGD
from thalweg.optim.optimizer import Optimizer
from thalweg.optim.sgd import SGD

__all__ = [
    "LAMB",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ByNorm",
    "ByValue",
    "Lion",
    "NAdam",
    "Optimizer",
    "PerTensor",
    "RAdam",
    "RMSprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
]
