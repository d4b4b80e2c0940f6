"""The loops of `benchmarks.overhead`, one file a library.

A loop is a function `(work) -> CPU seconds of work.count steps`: the same network, the same fused
AdamW, the same batches by index, and nothing beside training that the library does not do itself.
"""

import importlib
from collections.abc import Callable

from benchmarks.loops.work import Work

# Name in tables -> module and function here. The first is what the others are measured against.
LOOPS = {
    "hand-written": "work.bare",
    "hand-written, thalweg.AdamW": "thalweg_loops.optimizer_only",
    "thalweg, record in memory": "thalweg_loops.in_memory",
    "thalweg, record on disk": "thalweg_loops.on_disk",
    "ignite": "ignite_loop.engine",
    "accelerate": "accelerate_loop.prepared",
    "lightning, barebones": "lightning_loops.barebones",
    "lightning, default": "lightning_loops.default",
    "lightning, self.log and bar": "lightning_loops.logging",
}

BASELINE = "hand-written"


def loop(name: str) -> Callable[[Work], float]:
    """The function of that name; ImportError if its package is not installed."""
    module, _, function = LOOPS[name].partition(".")
    return getattr(importlib.import_module(f"benchmarks.loops.{module}"), function)
