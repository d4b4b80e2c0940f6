"""The optimizers that users pick: torch's names, arguments and defaults."""

from __future__ import annotations

from thalweg.optim.adafactor import Adafactor
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
from thalweg.optim.clip import Adaptive, ByNorm, ByValue, PerTensor
from thalweg.optim.modern import LAMB, Lion, Prodigy, ScheduleFreeAdamW, ScheduleFreeSGD
from thalweg.optim.muon import Muon
from thalweg.optim.muon_groups import muon_groups
from thalweg.optim.names import OPTIMIZERS, make
from thalweg.optim.optimizer import Optimizer
from thalweg.optim.sgd import SGD

__all__ = [
    "LAMB",
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adaptive",
    "ByNorm",
    "ByValue",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "PerTensor",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "make",
    "muon_groups",
]
