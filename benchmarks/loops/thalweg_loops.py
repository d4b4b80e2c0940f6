"""thalweg: its optimizer in a hand-written loop, and its descend with either record."""

import tempfile
import time
from pathlib import Path

import thalweg
from benchmarks.loops.work import Work, hand_written
from benchmarks.network import LR


def optimizer_only(work: Work) -> float:
    """The plain loop with thalweg.AdamW."""
    network = work.network()
    return hand_written(work, network, thalweg.AdamW(network.parameters(), lr=LR))


def in_memory(work: Work) -> float:
    """descend as it comes."""
    return descended(work, record=None)


def on_disk(work: Work) -> float:
    """descend with its record in an SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        return descended(work, record=thalweg.Record(Path(folder) / "run"))


def descended(work: Work, *, record: thalweg.Record | None) -> float:
    """CPU seconds of the timed steps; those of the thread that writes the record count too."""
    network = work.network()
    task = thalweg.Task(network, work.data(), loss="cross_entropy")
    optimizer = thalweg.AdamW(network.parameters(), lr=LR)
    readings = {}
    with thalweg.descend(
        task,
        optimizer,
        batch_size=work.batch_size,
        seed=0,
        until=thalweg.budget(steps=work.num_steps),
        record=record,
    ) as descent:
        for step in descent:
            if step.number in (work.skip, work.skip + work.count):
                readings[step.number] = time.process_time()
    return readings[work.skip + work.count] - readings[work.skip]
