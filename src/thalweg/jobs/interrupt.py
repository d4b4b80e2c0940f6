"""Ctrl-C and SIGTERM in a fit: the step is finished, the run saved; a second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from thalweg.loop.descent import Descent
from thalweg.types import Status

SIGNALS: dict[signal.Signals, tuple[Status, str]] = {
    signal.SIGINT: ("interrupted", "interrupted by Ctrl-C"),
    signal.SIGTERM: ("preempted", "asked to stop by SIGTERM"),
}


@contextmanager
def stop_on_signals(descent: Descent) -> Iterator[None]:
    """Inside, in the main thread, the first of them stops the descent; put back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        status, reason = SIGNALS[signal.Signals(number)]
        descent.stop(reason, status=status)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
