"""diagnose --follow: a log that is still being written, and its verdict as it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from thalweg.errors import DataError
from thalweg.health.diagnosis import diagnose, so_far
from thalweg.jobs.diagnose import said_of
from thalweg.loop.alerts import alerting
from thalweg.record.foreign import Columns, read_text
from thalweg.types import Finding

WAIT = 0.5
"""Seconds between two looks, and at least so many times what a look takes: it reads all again."""
RESTS = 10


def follow(
    lines: Iterable[str],
    columns: Columns,
    tell: Callable[[dict[str, Any]], None],
    *,
    alert: str | None = None,
    warn: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Tell of the verdict whenever state or findings change, until the lines end; the last one.

    alert: an address or a command that gets findings that need an act; warn: told where it fails
    Raises DataError where no line ever held a loss.
    """
    with alerting(alert, "standard input", warn) as sent:
        last: dict[str, Any] | None = None
        for last in _verdicts(_Text(lines), columns):
            tell(last)
            if sent is not None:
                sent.send_all(Finding(**row) for row in last["verdict"]["findings"])
                if problem := sent.news():
                    warn(f"alert: {problem}")
    if last is None:
        raise DataError("standard input ended before it held a loss")
    return last


def _verdicts(text: _Text, columns: Columns) -> Iterator[dict[str, Any]]:
    """Each that differs from the one before, and as the lines end the last one anew if it does."""
    told: tuple[Any, ...] | None = None
    pause = WAIT
    while text.grows(pause):
        begin = time.perf_counter()
        said = _look(text, columns)
        if said is not None and _gist(said) != told:
            told = _gist(said)
            yield said
        pause = max(WAIT, RESTS * (time.perf_counter() - begin))


def _look(text: _Text, columns: Columns) -> dict[str, Any] | None:
    """What can be said of a run that goes on; of all of it once the lines have ended."""
    try:
        log = read_text(text.whole, "standard input", columns)[0]
    except DataError:
        if text.has_ended:
            raise
        return None  # too early
    return said_of(log, diagnose(log) if text.has_ended else so_far(log))


def _gist(said: dict[str, Any]) -> tuple[Any, ...]:
    verdict = said["verdict"]
    return verdict["state"], *((each["code"], each["severity"]) for each in verdict["findings"])


class _Text:
    """Lines that another thread reads as they come. has_ended: those that were seen are all"""

    def __init__(self, lines: Iterable[str]):
        self._parts: list[str] = []
        self._has_more, self._has_ended = threading.Event(), False
        self.has_ended = False
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._parts.append(line)
            self._has_more.set()
        self._has_ended = True
        self._has_more.set()

    def grows(self, pause: float) -> bool:
        """Wait for more; False once all has been seen."""
        if self.has_ended:
            return False
        self._has_more.wait()
        if not self._has_ended:
            time.sleep(pause)
        self._has_more.clear()
        self.has_ended = self._has_ended
        return True

    @property
    def whole(self) -> str:
        """All lines so far that are whole."""
        return "".join(self._parts)
