"""GPU kernels without a GPU: right in Triton's interpreter, and compiled for a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from thalweg.backends import pick
from thalweg.backends.pick import Wishes

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
HERE = Path(__file__).parent


def run_exam(file: str, which: str, **environment: str) -> None:
    """Run a file of tests in a process of its own; what fails there is shown here."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(HERE / file),
        "-m",
        which,
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd=HERE.parent,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@needs_triton
def test_the_exam_in_the_interpreter():
    run_exam("gpu_exam.py", "not slow", TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.slow
def test_the_whole_exam_in_the_interpreter():
    run_exam("gpu_exam.py", "slow", TRITON_INTERPRET="1")
