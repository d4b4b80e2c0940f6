"""Killed from outside and resumed: the weights and the record of the run that never stopped."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import apart
import killed
from killed import COMPILED, DESCENTS, FITS, NUM_STEPS, OWN_LOOPS
from thalweg.record import read

SOURCES = (*FITS, *DESCENTS, *OWN_LOOPS)
OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw", "lion", "muon", "prodigy")
AVERAGING = ("schedulefreeadamw",)
SOME = (1, 6, 8, 60, 143, 200)
"""Steps to die in: before the first checkpoint, at one, after one, late, in the last."""


def run(folder: Path, source: str, optimizer: str, number: int = 0) -> int | None:
    """One process; its exit code, -9 if killed."""
    return ended(folder, source, optimizer, number).exitcode


def ended(folder: Path, source: str, optimizer: str, number: int, full_at: int = 0) -> Any:
    """One process, which has come to its end."""
    return apart.ended(killed.main, source, str(folder), optimizer, str(number), str(full_at))


def outcome(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The record, seconds and the events of resuming apart, and the final weights."""
    history = read(folder)
    columns = {n: c.filled(-1).tolist() for n, c in history.steps.items() if n != "seconds"}
    looks = [(e.number, dict(e.values), e.noise) for e in history.evaluations]
    events = [(e.number, e.kind, e.text) for e in history.events if e.kind != "resume"]
    record = {**columns, "looks": looks, "events": events, "scalars": history.scalars}
    return record, torch.load(folder.with_name(f"{folder.name}.pt"), weights_only=True)


def same(one: Any, other: Any) -> bool:
    """Are records and weights equal to the bit? (A NaN equals itself.)"""
    return repr(one[0]) == repr(other[0]) and all(
        torch.equal(tensor, other[1][name]) for name, tensor in one[1].items()
    )


@pytest.fixture(scope="module")
def place():
    """A folder in memory, where syncing costs nothing: a kill loses none of it either way."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    yield root
    shutil.rmtree(root)


@pytest.fixture
def folder(place):
    """A run's folder, whose data lies beside it."""
    return Path(tempfile.mkdtemp(dir=place)) / "run"


def some(names: Iterable[str], *quick: str) -> list[Any]:
    """All of them, slow but for these."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def undisturbed(place):
    """The outcome of the run that never stopped, by source and optimizer; made once each."""
    made: dict[tuple[str, str], Any] = {}

    def get(source: str, optimizer: str) -> Any:
        if (source, optimizer) not in made:
            folder = Path(tempfile.mkdtemp(dir=place)) / "run"
            assert run(folder, source, optimizer) == 0
            made[source, optimizer] = outcome(folder)
        return made[source, optimizer]

    return get


def killed_at(folder: Path, source: str, optimizer: str, *numbers: int) -> Any:
    """The outcome of a run that was killed in these steps."""
    for number in numbers:
        assert run(folder, source, optimizer, number) == -signal.SIGKILL
    assert run(folder, source, optimizer) == 0
    return outcome(folder)


def rarely(source: str) -> Any:
    """Marked slow where tests/test_precision.py resumes the same without a kill."""
    return pytest.param(source, marks=pytest.mark.slow if source == "bf16 weights" else ())


@pytest.mark.parametrize("source", [*map(rarely, SOURCES)], ids=SOURCES)
def test_every_source_survives(source, undisturbed, folder):
    """Two kills, the second within an epoch of the first."""
    found = killed_at(folder, source, "adamw", 60, 64)
    assert same(found, undisturbed(source, "adamw"))
    assert len(found[0]["loss"]) == NUM_STEPS


@pytest.mark.slow
@pytest.mark.parametrize("source", COMPILED)
def test_compiled_runs_survive(source, undisturbed, folder):
    """What a compiler makes anew after each kill computes the same bits."""
    found = killed_at(folder, source, "adamw", 5, 60, 64)
    assert same(found, undisturbed(source, "adamw"))
    texts = [event[2] for event in found[0]["events"] if event[1] == "notice"]
    assert texts == ["compiled: asked for"]


@pytest.mark.parametrize("number", SOME)
def test_a_kill_at_any_step(number, undisturbed, folder):
    found = killed_at(folder, "csv", "adamw", number)
    assert same(found, undisturbed("csv", "adamw"))


@pytest.mark.parametrize("source", some(SOURCES, "csv", "loader", "own loop"))
def test_a_torn_checkpoint_is_passed_over(source, undisturbed, folder):
    """Killed, half of the newest checkpoint lost: the one before it is used, and that is said."""
    assert run(folder, source, "adamw", 60) == -signal.SIGKILL
    newest = max((folder / "checkpoints").iterdir())
    weights = max(newest.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    os.truncate(weights, weights.stat().st_size // 2)
    assert run(folder, source, "adamw") == 0
    record, found = outcome(folder)
    said = [event for event in record["events"] if newest.name in event[2]]
    record["events"] = [event for event in record["events"] if event not in said]
    assert same((record, found), undisturbed(source, "adamw"))
    assert len(said) == (source not in OWN_LOOPS)  # to them, load_state warns


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_a_full_disk_costs_nothing_that_was_safe(source, undisturbed, folder):
    """From step 40 on nothing can be written; killed in step 60, started again with room."""
    code = ended(folder, source, "adamw", 60, full_at=40).exitcode
    assert code == (1 if source in OWN_LOOPS else -signal.SIGKILL)  # thalweg.save raises there
    assert run(folder, source, "adamw") == 0
    assert same(outcome(folder), undisturbed(source, "adamw"))


def left_behind(session: int) -> list[int]:
    """The processes of a session that are still there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it has just ended
        if int(of) == session and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to look through")
def test_a_kill_leaves_no_data_worker_behind(folder):
    process = ended(folder, "dataset, 2 workers", "adamw", 20)
    assert process.exitcode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while left_behind(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_behind(process.pid) == []


def test_planted_differences_are_seen(undisturbed):
    record, weights = undisturbed("csv", "adamw")
    losses = [np.nextafter(record["loss"][0], 1), *record["loss"][1:]]
    assert not same(({**record, "loss": losses}, weights), (record, weights))
    name, tensor = next(iter(weights.items()))
    other = {**weights, name: torch.nextafter(tensor, tensor + 1)}
    assert not same((record, other), (record, weights))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *AVERAGING])
def test_every_optimizer_survives_a_kill_in_every_step(optimizer, undisturbed, folder):
    """Killed in step 1, gone on, killed in step 2, and so on: 200 kills, and one run."""
    found = killed_at(folder, "arrays", optimizer, *range(1, NUM_STEPS + 1))
    assert same(found, undisturbed("arrays", optimizer))
