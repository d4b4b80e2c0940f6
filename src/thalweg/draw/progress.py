"""How far a fit has come, on standard error: a live line on a terminal, plain lines elsewhere.

Off a terminal a line comes at every event and at least every 30 seconds, even while one long step
is running.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import TextIO

from thalweg.types import Evaluation, Event, Step

PLAIN_EVERY = 30.0
"""Seconds between plain lines."""

REDRAW_EVERY = 0.1
"""Seconds between redraws of the live line."""

BARS = "▁▂▃▄▅▆▇█"
CHART_WIDTH = 20


@dataclass(slots=True)
class Plan:
    """What there is to do: planned steps, steps an epoch, seconds; None where there is no limit.

    taken: steps that an earlier attempt took
    """

    horizon: int | None
    steps_per_epoch: int
    seconds: float | None
    taken: int = 0


class Silent:
    """No progress at all."""

    def say(self, text: str) -> None:
        pass

    def start(self, plan: Plan) -> None:
        pass

    def step(self, step: Step) -> None:
        pass

    def close(self) -> None:
        pass


class Progress:
    """Shows steps as they come; `open_progress` gives the one that fits."""

    def __init__(self, stream: TextIO, *, is_live: bool):
        self._stream = stream
        self._is_live = is_live
        self._plan = Plan(None, 1, None)
        self._began = time.perf_counter()
        self._shown = 0.0
        self._doing = ""
        self._step: Step | None = None
        self._losses: list[float] = []
        self._validation: Evaluation | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        if not is_live:
            threading.Thread(target=self._beat, name="thalweg-progress", daemon=True).start()

    def say(self, text: str) -> None:
        """One plain line, now."""
        with self._lock:
            self._doing = text
            self._write_line(text)

    def start(self, plan: Plan) -> None:
        """The steps begin."""
        self._plan = plan
        self._began = time.perf_counter()

    def step(self, step: Step) -> None:
        """A step was taken; costs a clock reading, and a line where one is due."""
        self._step = step
        if step.evaluation is not None:
            self._validation = step.evaluation
            self._losses.append(step.evaluation.values["loss"])
        for event in step.events:
            self._event(event)
        if self._is_live and time.perf_counter() - self._shown > REDRAW_EVERY:
            self._draw()

    def close(self) -> None:
        """Wipe the live line, as the result follows; closing twice is fine."""
        self._closing.set()
        if self._is_live and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = 0.0

    def _event(self, event: Event) -> None:
        with self._lock:
            self._write_line(f"step {event.number:,}: {event.text}")

    def _write_line(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}\n" if self._is_live and self._shown else f"{text}\n")
        self._stream.flush()
        if not self._is_live:
            self._shown = time.perf_counter()

    def _draw(self) -> None:
        """Draw the live line anew, cut to the terminal's width."""
        is_terminal = self._stream.isatty()
        width = (is_terminal and os.get_terminal_size(self._stream.fileno()).columns) or 100
        text = self._line()
        chart = chart_of(self._losses)
        if chart and len(text) + len(chart) + 2 < width:
            text = f"{text}  {chart}"
        self._stream.write(f"\r\x1b[K{text[: width - 1]}")
        self._stream.flush()
        self._shown = time.perf_counter()

    def _beat(self) -> None:
        """Off a terminal: a plain line whenever none came for a while."""
        while not self._closing.wait(0.5):
            with self._lock:
                if time.perf_counter() - self._shown >= PLAIN_EVERY:
                    self._write_line(self._line())

    def _line(self) -> str:
        """Where it stands, in one line."""
        step = self._step
        if step is None:
            return f"{self._doing} ..."
        seconds = max(1e-9, time.perf_counter() - self._began)
        of = f"/{self._plan.horizon:,}" if self._plan.horizon else ""
        left = self._left(step, seconds)
        parts = [f"step {step.number:,}{of}", f"{left} left" if left else ""]
        parts += [f"epoch {step.epoch:.1f}", f"loss {step.loss:.4g}"]
        if self._validation is not None:
            values = list(self._validation.values.items())[:2]
            parts.append("validation " + " ".join(f"{name} {v:.4g}" for name, v in values))
        parts += [f"lr {step.lr:.2g}", _speed((step.number - self._plan.taken) / seconds)]
        return "  ".join(filter(None, parts))

    def _left(self, step: Step, seconds: float) -> str:
        """Time left at this pace, if it runs to the end of its budget."""
        by_steps = (
            (self._plan.horizon - step.number) * seconds / (step.number - self._plan.taken)
            if self._plan.horizon
            else None
        )
        by_clock = self._plan.seconds - seconds if self._plan.seconds else None
        known = [value for value in (by_steps, by_clock) if value is not None]
        if not known:
            return ""
        minutes, rest = divmod(max(0, round(min(known))), 60)
        return f"{minutes}:{rest:02d}"


def _speed(steps: float) -> str:
    """Steps a second, in words that are never 0."""
    if steps < 1:
        return f"{1 / steps:.1f} s a step"
    return f"{steps:,.0f} steps/s" if steps >= 10 else f"{steps:.1f} steps/s"


def chart_of(losses: list[float]) -> str:
    """The last validation losses as a row of bars."""
    shown = [loss for loss in losses if math.isfinite(loss)][-CHART_WIDTH:]
    if len(shown) < 2:
        return ""
    low, high = min(shown), max(shown)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((loss - low) * scale)] for loss in shown)


def open_progress(*, quiet: bool, stream: TextIO | None = None) -> Progress | Silent:
    """The progress that fits: none, live on a terminal, plain lines elsewhere."""
    stream = stream or sys.stderr
    if quiet or stream is None:
        return Silent()
    is_live = stream.isatty() and os.environ.get("TERM") != "dumb"
    return Progress(stream, is_live=is_live)
