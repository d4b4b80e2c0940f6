"""Small programs with a bug in their structure, and sound ones: what two steps must tell apart.

    for row in structures():
        built = row.build()
        for batch in built.batches[:2]:
            loss = built.train_step(batch)

A build is fresh every time and alike every time. Its data ship with scikit-learn; the text is a
file of this package. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module

import torch

from benchmarks.healthbench.structures.parts import Built, Structure

FILES = ("bugs", "weights", "plain", "tricky", "odd")
UNSEEN = (
    "unseen_faulty",
    "unseen_faulty_graph",
    "unseen_faulty_weights",
    "unseen_faulty_more",
    "unseen_sound",
    "unseen_sound_more",
    "unseen_sound_nets",
    "fresh_faulty_losses",
    "fresh_faulty_graph",
    "fresh_faulty_start",
    "fresh_sound",
    "fresh_sound_nets",
    "fresh_sound_kinds",
    "fresh_sound_ways",
    "late_faulty",
    "late_sound",
    "fifth_faulty_losses",
    "fifth_faulty_graph",
    "fifth_faulty_start",
    "fifth_sound",
    "fifth_sound_graph",
    "fifth_sound_ways",
    "sixth_losses",
    "sixth_graph",
    "sixth_start",
)
"""Written for exams: `unseen_*`, `fresh_*`, `fifth_*` and `sixth_*` each by someone who had not
read the checks, `late_*` by one who had, after these were last mended.
"""


def structures(files: Sequence[str] = FILES) -> Iterator[Structure]:
    """The programs of these files: those with codes have a bug, the others are sound."""
    for file in files:
        for row in import_module(f"benchmarks.healthbench.structures.{file}").ROWS:
            yield Structure(row.name, row.codes, _seeded(row))


def _seeded(row: Structure):
    def build() -> Built:
        torch.manual_seed(0)
        return row.build()

    return build


__all__ = ["FILES", "UNSEEN", "Built", "Structure", "structures"]
