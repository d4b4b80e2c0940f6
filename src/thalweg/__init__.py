"""thalweg: train models by gradient descent, and keep the descent on its line.

The public names, each loaded when it is first used: `import thalweg` itself loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from thalweg.version import __version__

_HOMES = {
    "SGD": "optim",
    "Adam": "optim",
    "AdamW": "optim",
    "Armijo": "loop.linesearch",
    "BarzilaiBorwein": "loop.linesearch",
    "DataError": "errors",
    "Minimum": "loop.minimum",
    "Record": "record",
    "Run": "jobs.run",
    "RunError": "errors",
    "Step": "types",
    "Task": "tasks.task",
    "ThalwegError": "errors",
    "UsageError": "errors",
    "Verdict": "types",
    "budget": "loop.stopping",
    "constant": "schedules",
    "converged": "loop.stopping",
    "cosine": "schedules",
    "descend": "loop.descent",
    "fit": "jobs.fit",
    "linear": "schedules",
    "load": "jobs.load",
    "minimize": "loop.minimize",
    "reached": "loop.stopping",
    "step": "schedules",
    "warmup": "schedules",
}
"""Every public name and the module that it lives in."""

__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from thalweg.errors import DataError, RunError, ThalwegError, UsageError
    from thalweg.jobs.fit import fit
    from thalweg.jobs.load import load
    from thalweg.jobs.run import Run
    from thalweg.loop.descent import descend
    from thalweg.loop.linesearch import Armijo, BarzilaiBorwein
    from thalweg.loop.minimize import minimize
    from thalweg.loop.minimum import Minimum
    from thalweg.loop.stopping import budget, converged, reached
    from thalweg.optim import SGD, Adam, AdamW
    from thalweg.record import Record
    from thalweg.schedules import constant, cosine, linear, step, warmup
    from thalweg.tasks.task import Task
    from thalweg.types import Step, Verdict


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'thalweg' has no attribute {name!r}")
    value = getattr(import_module(f"thalweg.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
