"""Alerts: findings that need an act, sent to an address or a command, beside the training.

A thread of its own sends them, with a time limit, and never keeps the program from ending.
"""

from __future__ import annotations

import json
import math
import os
import queue
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from thalweg.errors import UsageError
from thalweg.types import Finding

TIMEOUT = 10.0
"""Seconds that one alert may take."""

PATIENCE = 5.0
"""Seconds that `close` waits for what was not sent yet; a command that runs on is ended then."""

MOST_WAITING = 64

SCHEME = re.compile(r"(\w[\w+.-]*)://")
"""How an address begins."""


class Alert:
    """Sends each finding of severity "act" once. to: a URL, which gets JSON by POST, or a command
    of the shell, which gets it on standard input.

    JSON: {"schema": 1, "finding": {"code", "name", "severity", "since_step", "confidence",
    "evidence", "advice"}, "run"}. `problem` says what failed last, "" where nothing did.
    Raises UsageError for an address that is neither http nor https, and where there is nothing.

    >>> alert = Alert("cat > /dev/null", run="spam-3")
    >>> finding = Finding("TW308", "never zeroed", "act", 2, 0.9, {}, "zero them")
    >>> alert.send(finding), alert.send(finding)
    (True, False)
    >>> alert.close()
    >>> alert.problem
    ''
    """

    def __init__(self, to: str, *, run: str = "", timeout: float = TIMEOUT):
        self.to = checked(to)
        self.problem = ""
        self._run = run
        self._timeout = timeout
        self._sent: set[str] = set()
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._told = ""

    def send(self, finding: Finding) -> bool:
        """Queue a finding; was it one that is sent? Returns at once and never raises."""
        if finding.severity != "act" or finding.code in self._sent:
            return False
        self._sent.add(finding.code)
        told = {"schema": 1, "finding": plain(asdict(finding)), "run": self._run}
        try:
            self._waiting.put_nowait(f"{json.dumps(told)}\n".encode())
            self._start()
        except Exception as error:  # a full queue, or no thread to be had
            self.problem = f"not sent: {type(error).__name__}: {error}"
        return True

    def send_all(self, findings: Iterable[Finding]) -> None:
        """Send those of them that are sent."""
        for finding in findings:
            self.send(finding)

    def news(self) -> str:
        """What failed since the last call, or ""."""
        new = "" if self.problem == self._told else self.problem
        self._told = self.problem
        return new

    def close(self) -> None:
        """Wait for what was not sent yet, at most 5 seconds; then end a command that still runs.
        Where anything waits longer, `problem` says so.
        """
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
            self._thread.join(PATIENCE)
        except queue.Full:
            pass
        if self._thread.is_alive():
            self.problem = f"not sent: it took more than {PATIENCE:g} s at the end"
            if self._process is not None:
                end(self._process)
        self._thread = None

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver, name="alerts", daemon=True)
            self._thread.start()

    def _deliver(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                self._hand_over(message)
            except Exception as error:
                self.problem = f"not sent: {type(error).__name__}: {error}"

    def _hand_over(self, message: bytes) -> None:
        if SCHEME.match(self.to):
            post(self.to, message, self._timeout)
        else:
            self._give(message)

    def _give(self, message: bytes) -> None:
        """Give it to the command, and end the command where it takes too long."""
        self._process = subprocess.Popen(
            self.to,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._process.communicate(message, timeout=self._timeout)
        except subprocess.TimeoutExpired:
            end(self._process)
            raise TimeoutError(f"it took more than {self._timeout:g} s") from None
        if self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, self.to)


@contextmanager
def alerting(
    to: Alert | str | None, run: str, tell: Callable[[str], None]
) -> Iterator[Alert | None]:
    """The alert of a run, closed at its end, with what failed told; None where none was asked for.

    >>> with alerting("exit 3", "spam-3", print) as alert:
    ...     alert.send(Finding("TW308", "never zeroed", "act", 2, 0.9, {}, "zero them"))
    True
    alert: not sent: CalledProcessError: Command 'exit 3' returned non-zero exit status 3.
    """
    alert = Alert(to, run=run) if isinstance(to, str) else to
    try:
        yield alert
    finally:
        if alert is not None:
            alert.close()
            if problem := alert.news():
                tell(f"alert: {problem}")


def checked(to: str) -> str:
    """An address or a command as it was given.

    Raises UsageError for an address that is neither http nor https, and where there is nothing.
    """
    scheme = SCHEME.match(to)
    if not to.strip():
        raise UsageError("alert is empty: give a URL, or a command of the shell")
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise UsageError(
            f"alert is {to!r}: an address begins with http:// or https://, anything else is a "
            "command of the shell"
        )
    return to


def post(to: str, message: bytes, timeout: float) -> None:
    """Post JSON to a URL. Raises OSError."""
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(to, data=message, headers=head, method="POST")
    with urllib.request.urlopen(request, timeout=timeout):
        return


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, with all that it has started."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


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
