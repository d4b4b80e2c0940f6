"""Alerts: findings that need an act, sent to an address or a command, beside the training.

A thread of its own sends them, with a time limit, and never keeps the program from ending.
"""

from __future__ import annotations

import json
import math
import queue
import subprocess
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from thalweg.types import Finding

TIMEOUT = 10.0
"""Seconds that one alert may take."""

PATIENCE = 3.0
"""Seconds that `close` waits for what was not sent yet."""

MOST_WAITING = 64


class Alert:
    """Sends each finding of severity "act" once. to: a URL, which gets JSON by POST, or a command
    of the shell, which gets it on standard input.

    JSON: {"schema": 1, "finding": {"code", "name", "severity", "since_step", "confidence",
    "evidence", "advice"}, "run"}. `problem` says what failed last, "" where nothing did.

    >>> alert = Alert("cat > /dev/null", run="spam-3")
    >>> finding = Finding("TW308", "never zeroed", "act", 2, 0.9, {}, "zero them")
    >>> alert.send(finding), alert.send(finding)
    (True, False)
    >>> alert.close()
    >>> alert.problem
    ''
    """

    def __init__(self, to: str, *, run: str = "", timeout: float = TIMEOUT):
        self.to = to
        self.problem = ""
        self._run = run
        self._timeout = timeout
        self._sent: set[str] = set()
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None

    def send(self, finding: Finding) -> bool:
        """Queue a finding; was it one that is sent? Returns at once and never raises."""
        if finding.severity != "act" or finding.code in self._sent:
            return False
        self._sent.add(finding.code)
        told = {"schema": 1, "finding": plain(asdict(finding)), "run": self._run}
        try:
            self._waiting.put_nowait(json.dumps(told).encode())
            self._start()
        except Exception as error:  # a full queue, or no thread to be had
            self.problem = f"not sent: {type(error).__name__}: {error}"
        return True

    def close(self) -> None:
        """Wait for what was not sent yet, at most 3 seconds."""
        if self._thread is not None:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                return
            self._thread.join(PATIENCE)
            self._thread = None

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver, name="alerts", daemon=True)
            self._thread.start()

    def _deliver(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                deliver(self.to, message, self._timeout)
            except Exception as error:
                self.problem = f"not sent: {type(error).__name__}: {error}"


def deliver(to: str, message: bytes, timeout: float) -> None:
    """Post to a URL, or run a command. Raises OSError or subprocess's errors."""
    if to.startswith(("http://", "https://")):
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(to, data=message, headers=head, method="POST")
        with urllib.request.urlopen(request, timeout=timeout):
            return
    subprocess.run(
        to,
        shell=True,
        input=message,
        timeout=timeout,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def plain(value: Any) -> Any:
    """As JSON can hold it: numbers that are not finite spelled out.

    >>> plain({"loss": math.nan, "at": (1, 2)})
    {'loss': 'nan', 'at': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
