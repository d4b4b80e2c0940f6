"""Ctrl-C during a fit: the step is finished, the run saved; a second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from thalweg.loop.descent import Descent


@contextmanager
def stop_on_interrupt(descent: Descent) -> Iterator[None]:
    """Inside, in the main thread, the first Ctrl-C stops the descent; put back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        descent.stop("interrupted by Ctrl-C", status="interrupted")
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
