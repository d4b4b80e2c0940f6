"""Faults planted in real descents, over every source: what the guard does to them, and says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import apart
import killed
from killed import DESCENTS, FAULT_AT, FITS, NUM_STEPS, OWN_LOOPS, ROW
from thalweg.record import read

SOURCES = (*FITS, *DESCENTS, *OWN_LOOPS)

WORKERS = ("fit, own dataset", "dataset, 2 workers")
"""A process that has trained, as this one, should not fork data workers."""


def trained(source: str, folder: Path, fault: str = "", value: float = 0.0) -> Any:
    """The weights and the record of a run under the guard."""
    if source in WORKERS:
        process = apart.ended(killed.faulty_apart, source, str(folder), fault, value)
        assert process.exitcode == 0
    else:
        with pytest.MonkeyPatch.context() as patch:
            killed.faulty(source, str(folder), fault, value, patch.setattr)
    return torch.load(folder / "run.pt", weights_only=True), read(folder / "run")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """The run of a source without a fault, made once."""
    made: dict[str, Any] = {}

    def get(source: str) -> Any:
        if source not in made:
            made[source] = trained(source, tmp_path_factory.mktemp("healthy"))
        return made[source]

    return get


def told(history: Any) -> list[tuple[int, str]]:
    """What the guard did: (step, kind)."""
    kinds = ("nonfinite", "skip", "clip", "guard", "rollback", "backoff", "diverged")
    return [(event.number, event.kind) for event in history.events if event.kind in kinds]


def final_loss(history: Any) -> float:
    """The mean loss of the last thirty steps that were finite."""
    losses = [x for x in history.steps["loss"].filled(math.nan).tolist() if math.isfinite(x)]
    return sum(losses[-30:]) / 30


USUAL = {"arrays, in parts": [(120, "clip")]}
"""An epoch's last batch has 8 samples, a part of it 2: batch norm over two samples has gradients
ten times as large once.
"""


@pytest.mark.parametrize("source", SOURCES)
def test_a_healthy_run_is_left_alone(source, healthy):
    assert told(healthy(source)[1]) == USUAL.get(source, [])


EXPECTED = {
    "NaN loss": "nonfinite",
    "infinite gradient": "nonfinite",
    "gradient x 1000": "clip",
    "loss x 1000": "skip",
}
"""What is done to one step -> what the guard must do, there and only there."""


WHOLE = ("arrays", "fp16")
"""Sources that meet everything in the check: the plainest, since what the guard does it does in the
loop that all share, and the one whose loss scale has a say in it."""


def in_turn(sources: tuple[str, ...], *kinds: tuple[Any, ...]) -> list[Any]:
    """Every (source, fault): `WHOLE` with all, the others with one of each kind in turn; what is
    left is slow."""
    return [
        pytest.param(
            source,
            fault,
            id=f"{source}-{fault}",
            marks=[] if source in WHOLE or i % len(kind) == k else pytest.mark.slow,
        )
        for i, source in enumerate(sources)
        for kind in kinds
        for k, fault in enumerate(kind)
    ]


NOT_FINITE = ("NaN loss", "infinite gradient")
OUTLIERS = ("gradient x 1000", "loss x 1000")


@pytest.mark.parametrize(("source", "fault"), in_turn(SOURCES, NOT_FINITE, OUTLIERS))
def test_a_fault_in_one_step_is_met_there(source, fault, healthy, tmp_path):
    kind = EXPECTED[fault]
    weights, history = trained(source, tmp_path, fault)
    if source == "fp16" and fault == "infinite gradient":
        kind = None  # the loss scale's business: it falls, and nobody is told
    expected = [(FAULT_AT, kind)] if kind else []
    assert told(history) == USUAL.get(source, []) + expected
    before, healthily = healthy(source)
    assert final_loss(history) == pytest.approx(final_loss(healthily), rel=0.1)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in weights.items())
    assert all(tensor.isfinite().all() for tensor in weights.values())


HOLD_NAN = ("fit, own dataset", *DESCENTS, *OWN_LOOPS)
"""What lies in memory, fit looks through at the start, and refuses; in a CSV a NaN is missing."""


@pytest.mark.parametrize(("source", "value"), in_turn(HOLD_NAN, (math.nan, math.inf)))
def test_a_bad_sample_is_named_each_time_it_comes(source, value, healthy, tmp_path):
    weights, history = trained(source, tmp_path, value=value)
    num_samples = 96 if source in FITS else killed.SIZE
    num_epochs = NUM_STEPS / -(-num_samples // killed.BATCH)
    events = [event for event in history.events if event.kind == "nonfinite"]
    others = [row for row in told(history) if row[1] != "nonfinite"]
    assert others == USUAL.get(source, [])
    assert len(events) == pytest.approx(num_epochs, abs=1)
    if source not in ("loader", *OWN_LOOPS):  # there nobody knows a sample's place
        assert {tuple(event.data["samples"]) for event in events} == {(ROW,)}
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert final_loss(history) == pytest.approx(final_loss(healthy(source)[1]), rel=0.1)
