"""The contenders of the fault bench, one file each.

A contender is a function `(job) -> the trained network`. It takes the batches of the stream in
order, with AdamW at the job's schedule, keeps checkpoints in the job's folder every `plan.every`
steps, and goes on from the newest there when it is started again.
"""

import importlib
from collections.abc import Callable

from torch import nn

from benchmarks.faultbench.job import Job

# Name in tables -> module and function here. The first is what the others are set beside.
CONTENDERS = {
    "thalweg": "descent.guarded",
    "thalweg unguarded": "descent.unguarded",
    "thalweg.Guard": "own_loop.train",
    "HF Trainer": "huggingface.train",
    "Lightning": "lightning_trainer.train",
    "plain torch": "plain.train",
}

OURS = "thalweg"


def contender(name: str) -> Callable[[Job], nn.Module]:
    """The function of that name; ImportError if its package is not installed."""
    module, _, function = CONTENDERS[name].partition(".")
    home = importlib.import_module(f"benchmarks.faultbench.contenders.{module}")
    return getattr(home, function)
