"""A save killed at any moment: nothing torn is loaded, nothing safe is lost, nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import killed_saves


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """In memory where there is such a place: a kill is no power cut, and waits for no disk."""
    place = "/dev/shm"
    if not os.access(place, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=place) as inside:
        yield Path(inside)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_killed_save_loses_nothing(rounds, folder):
    command = [sys.executable, killed_saves.__file__, str(folder / "run"), str(rounds), "0"]
    paths = [str(Path(__file__).parent), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    print(found)
    assert found["rounds"] == rounds
    assert (found["torn"], found["lost"], found["leftovers"]) == (0, 0, 0)
    assert found["folders"] <= killed_saves.KEEP + 2, "the last ones, the best, and one too many"
    assert found["interrupted"] > rounds / 10, "the kills must hit saves"
    assert found["saves"] >= rounds / 2, "and saves must get through: one a round is waited for"
