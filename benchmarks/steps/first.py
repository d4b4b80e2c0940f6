"""Row 7: the first step of a new process, in seconds beyond `import torch`."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.steps.report import Row, Setting

SCRIPT = Path(__file__).with_name("first_step.py")
OURS, FUSED, COMPILED = "thalweg", "torch-fused", "torch-compiled"
WHAT = "first AdamW step of a process, 32 tensors"


def rows(setting: Setting) -> Iterator[Row]:
    repeats = 2 if setting.is_quick else 7
    with TemporaryDirectory() as cache:
        cold = _seconds(OURS, cache)
        warm = [_seconds(OURS, cache) for _ in range(repeats)]
        torchs = [_seconds(FUSED, cache) for _ in range(repeats)]
        torchs_us = round(1e6 * statistics.median(torchs))
        yield _row("kernels cached", statistics.median(warm), torchs_us, "torch fused", goal=0.5)
        yield _row("kernels compiled", cold, torchs_us, "torch fused")
        if setting.compiles:
            first, again = (round(1e6 * _seconds(COMPILED, cache)) for _ in range(2))
            yield _row("kernels compiled, torch.compile cold", cold, first, "torch.compile")
            yield _row(
                "kernels cached, torch.compile cached",
                statistics.median(warm),
                again,
                "torch.compile",
            )


def _row(which: str, seconds: float, peer_us: float, peer: str, goal: float | None = None) -> Row:
    return Row(
        number=7,
        what=f"{WHAT}, {which}",
        threads=1,
        value=round(seconds, 3),
        unit="s",
        goal=goal,
        peer=peer,
        ours_us=round(1e6 * seconds),
        peer_us=peer_us,
    )


def _seconds(case: str, cache: str) -> float:
    """One new process; its caches lie in a folder of the benchmark's own."""
    places = dict.fromkeys(("XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR"), cache)
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), case],
        env={**os.environ, **places, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)["seconds"]
