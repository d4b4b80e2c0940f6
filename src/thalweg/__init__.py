"""thalweg: train models by gradient descent, and keep the descent on its line.

The public names, each loaded when it is first used: `import thalweg` itself loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from thalweg.version import __version__

_HOMES = {
    "LAMB": "optim",
    "SGD": "optim",
    "Adadelta": "optim",
    "Adafactor": "optim",
    "Adagrad": "optim",
    "Adam": "optim",
    "AdamW": "optim",
    "Adamax": "optim",
    "Adaptive": "optim",
    "ByNorm": "optim",
    "ByValue": "optim",
    "DataError": "errors",
    "Guard": "loop.guarded",
    "HuggingFaceCallback": "adapters.huggingface",
    "Hyper": "rules",
    "LightningCallback": "adapters.lightning",
    "Lion": "optim",
    "Muon": "optim",
    "NAdam": "optim",
    "Optimizer": "optim",
    "PerTensor": "optim",
    "Prodigy": "optim",
    "RAdam": "optim",
    "RMSprop": "optim",
    "Armijo": "loop.linesearch",
    "BarzilaiBorwein": "loop.linesearch",
    "Minimum": "loop.minimum",
    "Record": "record",
    "Rule": "rules",
    "Run": "jobs.run",
    "RunError": "errors",
    "Sampler": "loop.sampler",
    "ScheduleFreeAdamW": "optim",
    "ScheduleFreeSGD": "optim",
    "Scheduler": "optim.scheduler",
    "Step": "types",
    "Task": "tasks.task",
    "ThalwegError": "errors",
    "UsageError": "errors",
    "Verdict": "types",
    "budget": "loop.stopping",
    "constant": "schedules",
    "converged": "loop.stopping",
    "cosine": "schedules",
    "counted": "tasks.counted",
    "descend": "loop.descend",
    "draw_schedule": "draw.schedule",
    "exponential": "schedules",
    "fit": "jobs.fit",
    "inverse_sqrt": "schedules",
    "linear": "schedules",
    "load": "jobs.load",
    "load_state": "loop.saved",
    "monitor": "loop.monitor",
    "muon_groups": "optim",
    "one_cycle": "schedules",
    "plateau": "schedules",
    "polynomial": "schedules",
    "minimize": "loop.minimize",
    "reached": "loop.stopping",
    "restarts": "schedules",
    "resume": "jobs.resume",
    "save": "loop.saved",
    "step": "schedules",
    "trial": "trials.trial",
    "tune_malloc": "scale.malloc",
    "warmup": "schedules",
    "wsd": "schedules",
}
"""Every public name and the module that it lives in."""

__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from thalweg.adapters.huggingface import HuggingFaceCallback
    from thalweg.adapters.lightning import LightningCallback
    from thalweg.draw.schedule import draw_schedule
    from thalweg.errors import DataError, RunError, ThalwegError, UsageError
    from thalweg.jobs.fit import fit
    from thalweg.jobs.load import load
    from thalweg.jobs.resume import resume
    from thalweg.jobs.run import Run
    from thalweg.loop.descend import descend
    from thalweg.loop.guarded import Guard
    from thalweg.loop.linesearch import Armijo, BarzilaiBorwein
    from thalweg.loop.minimize import minimize
    from thalweg.loop.minimum import Minimum
    from thalweg.loop.monitor import monitor
    from thalweg.loop.sampler import Sampler
    from thalweg.loop.saved import load_state, save
    from thalweg.loop.stopping import budget, converged, reached
    from thalweg.optim import (
        LAMB,
        SGD,
        Adadelta,
        Adafactor,
        Adagrad,
        Adam,
        Adamax,
        AdamW,
        Adaptive,
        ByNorm,
        ByValue,
        Lion,
        Muon,
        NAdam,
        Optimizer,
        PerTensor,
        Prodigy,
        RAdam,
        RMSprop,
        ScheduleFreeAdamW,
        ScheduleFreeSGD,
        muon_groups,
    )
    from thalweg.optim.scheduler import Scheduler
    from thalweg.record import Record
    from thalweg.rules import Hyper, Rule
    from thalweg.scale.malloc import tune_malloc
    from thalweg.schedules import (
        constant,
        cosine,
        exponential,
        inverse_sqrt,
        linear,
        one_cycle,
        plateau,
        polynomial,
        restarts,
        step,
        warmup,
        wsd,
    )
    from thalweg.tasks.counted import counted
    from thalweg.tasks.task import Task
    from thalweg.trials.trial import trial
    from thalweg.types import Step, Verdict


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'thalweg' has no attribute {name!r}")
    value = getattr(import_module(f"thalweg.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
