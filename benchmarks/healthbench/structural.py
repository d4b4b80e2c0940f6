"""Small programs with a bug in their structure, and sound ones: what two steps must tell apart.

    for row in structures():
        built = row.build()
        for batch in built.batches[:2]:
            loss = built.train_step(batch)

A build is fresh every time and alike every time. Its data ship with scikit-learn; the text is a
file of this package. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.healthbench.structures import bugs, odd, plain, tricky, weights
from benchmarks.healthbench.structures.parts import Built, Structure


def structures() -> Iterator[Structure]:
    """All of them: those with codes have a bug, the others are sound."""
    for module in (bugs, weights, plain, tricky, odd):
        for row in module.ROWS:
            yield Structure(row.name, row.codes, _seeded(row))


def _seeded(row: Structure):
    def build() -> Built:
        torch.manual_seed(0)
        return row.build()

    return build


__all__ = ["Built", "Structure", "structures"]
