"""diagnose --follow: a log that is still being written, and its verdict as it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from thalweg.errors import DataError
from thalweg.health.diagnosis import diagnose
from thalweg.jobs.diagnose import said_of
from thalweg.record.foreign import Columns, read_text

WAIT = 0.5
"""Seconds between two looks, and at least so many times what a look takes: it reads all again."""
RESTS = 10


def follow(
    lines: Iterable[str], columns: Columns, tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Tell of the verdict whenever state or findings change, until the lines end; the last one.

    Raises DataError where no line ever held a loss.
    """
    text = _Text(lines)
    last: dict[str, Any] | None = None
    told = None
    pause = WAIT
    while text.grows(pause):
        begin = time.perf_counter()
        last = _look(text.whole, columns)
        if last is not None and _gist(last) != told:
            told = _gist(last)
            tell(last)
        pause = max(WAIT, RESTS * (time.perf_counter() - begin))
    if last is None:
        read_text(text.whole, "standard input", columns)  # says what is wrong with it
        raise DataError("standard input ended before it held a loss")
    return last


def _look(text: str, columns: Columns) -> dict[str, Any] | None:
    try:
        logs = read_text(text, "standard input", columns)
    except DataError:
        return None  # too early
    return said_of(logs[0], diagnose(logs[0]))


def _gist(said: dict[str, Any]) -> tuple[Any, ...]:
    verdict = said["verdict"]
    return verdict["state"], *((each["code"], each["severity"]) for each in verdict["findings"])


class _Text:
    """Lines that another thread reads as they come."""

    def __init__(self, lines: Iterable[str]):
        self._parts: list[str] = []
        self._has_more, self._has_ended = threading.Event(), False
        self._is_last = False
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._parts.append(line)
            self._has_more.set()
        self._has_ended = True
        self._has_more.set()

    def grows(self, pause: float) -> bool:
        """Wait for more; False once all has been seen."""
        if self._is_last:
            return False
        self._has_more.wait()
        if not self._has_ended:
            time.sleep(pause)
        self._has_more.clear()
        self._is_last = self._has_ended
        return True

    @property
    def whole(self) -> str:
        """All lines so far that are whole."""
        return "".join(self._parts)
