"""The contenders of `benchmarks.fit`, one file each.

A contender is a module with `train(problem, referee, *, seed)`: train an MLP 256,256 with Adam or
AdamW at the common rate, call `referee.epoch(predict)` after each epoch, stop when it says False.
"""

import importlib
from collections.abc import Callable

# Name in tables -> module here. The last is no library: it is the floor that torch allows.
CONTENDERS = {
    "thalweg": "thalweg_descent",
    "scikit-learn": "sklearn_mlp",
    "skorch": "skorch_net",
    "lightning": "lightning_trainer",
    "hand-written": "handwritten",
}


def trainer(name: str) -> Callable[..., None]:
    """The contender's `train`; ImportError if its package is not installed."""
    return importlib.import_module(f"benchmarks.contenders.{CONTENDERS[name]}").train
