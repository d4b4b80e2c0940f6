"""Functions in processes of their own, each forked from one that has imported everything and
trained nothing: to fork one that has trained, as a test's own may have, can hang.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from typing import Any

import pytest

__all__ = ["IMPORTED", "ended"]

IMPORTED = ("killed", "texts", "thalweg.jobs.resume")
"""What costs seconds to import, once."""


def ended(target: Callable[..., Any], *arguments: Any) -> Any:
    """The process that has run a function of a module to its end, or died of it."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([*IMPORTED])
    with pytest.MonkeyPatch.context() as patch:
        # The server leaves aside the path that it is given, and goes without what it cannot find.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()
    process = processes.Process(target=target, args=arguments)
    process.start()
    process.join()
    return process
