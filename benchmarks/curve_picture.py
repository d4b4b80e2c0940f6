"""A small picture of a run's curves as SVG: one or two panels, readable on light and dark paper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.draw.curves import stretches, thin
from thalweg.draw.markup import Markup, tag
from thalweg.record.foreign.log import Series

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 52, 24
"""Of a panel's plot to the edges of the panel; the legend and the marks' names stand above it."""

MOST_POINTS = 130
"""Of one line; the lowest and the highest step of each of its stretches are kept."""

DECADES = 1.3
"""Positive values that lie further apart than so many powers of ten are drawn on a log scale."""

LETTER = 6.1
"""Mean width of a letter, in pixels."""

STYLE = """
text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:#51626d}
.paper{fill:#fff}.grid{stroke:#dfe6e8}.mark{stroke-dasharray:4 3}
.train{stroke:#12728a}.checks{stroke:#bf5312}.twin{stroke:#8b979e}.planted{stroke:#7a5195}
.said{stroke:#b3261e}.broken{stroke-width:3}.t-train{fill:#12728a}.t-checks{fill:#bf5312}.t-twin{fill:#6f7d85}
.t-planted{fill:#7a5195}.t-said{fill:#b3261e}
path{fill:none;stroke-width:1.6;stroke-linejoin:round}.twin{stroke-width:1.3}.faint{stroke-width:1;stroke-opacity:.6}
@media(prefers-color-scheme:dark){text{fill:#9db0ba}.paper{fill:#161e22}.grid{stroke:#29353b}
.train{stroke:#52b6cf}.checks{stroke:#f2a365}.twin{stroke:#7d8b93}.planted{stroke:#c39be0}
.said{stroke:#ff8a80}.t-train{fill:#52b6cf}.t-checks{fill:#f2a365}.t-twin{fill:#93a1a9}
.t-planted{fill:#c39be0}.t-said{fill:#ff8a80}}
"""


@dataclass(frozen=True)
class Line:
    """look: train, checks (what is measured on validation data) or twin (to compare with)

    label: empty where another panel has it
    """

    label: str
    look: str
    series: Series


@dataclass(frozen=True)
class Mark:
    """A step with a name. look: planted or said"""

    step: float
    label: str
    look: str


@dataclass(frozen=True)
class Panel:
    """Lines in one frame. steps: the first and the last one drawn; None: all

    is_log: None: where the values lie far apart
    """

    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    steps: tuple[float, float] | None = None
    is_log: bool | None = None


def picture(caption: str, panels: Sequence[Panel]) -> str:
    """The SVG; its caption is the title, where a page finds it."""
    width = WIDTH / len(panels)
    drawn = [each for i, panel in enumerate(panels) for each in _panel(panel, i * width, width)]
    whole = tag(
        "svg",
        tag("title", caption),
        tag("style", Markup(STYLE.replace("\n", ""))),
        tag("rect", width=WIDTH, height=HEIGHT, rx=8, class_="paper"),
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )
    return f"{whole}\n"


@dataclass(frozen=True)
class Frame:
    """From steps and values to pixels."""

    left: float
    width: float
    begin: float
    end: float
    low: float
    high: float
    is_log: bool

    def x(self, step: float) -> float:
        share = (step - self.begin) / max(self.end - self.begin, 1e-12)
        return self.left + self.width * min(1.0, max(0.0, share))

    def y(self, value: float) -> float:
        share = (self._scaled(value) - self._scaled(self.low)) / self._span
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    @property
    def _span(self) -> float:
        return max(self._scaled(self.high) - self._scaled(self.low), 1e-12)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def _panel(panel: Panel, left: float, width: float) -> Iterator[Markup]:
    lines = [_within(line, panel.steps) for line in panel.lines]
    frame = _frame(panel, lines, left + LEFT, width - LEFT - RIGHT)
    yield from _grid(frame)
    yield from _legend(lines, left + LEFT)
    for line in sorted(lines, key=lambda each: each.look != "twin"):
        is_faint = line.look == "train" and any(each.look == "checks" for each in lines)
        look = f"{line.look} faint" if is_faint and len(line.series) > MOST_POINTS else line.look
        yield tag("path", class_=look, d=_path(line.series, frame))
    yield from _broken(lines[0].series, frame)
    for row, mark in enumerate(panel.marks):
        yield from _mark(mark, row, frame)


def _within(line: Line, steps: tuple[float, float] | None) -> Line:
    if steps is None:
        return line
    series = line.series
    keep = (series.steps >= steps[0]) & (series.steps <= steps[1])
    return Line(line.label, line.look, Series(series.name, series.steps[keep], series.values[keep]))


def _frame(panel: Panel, lines: Sequence[Line], left: float, width: float) -> Frame:
    values = np.concatenate([line.series.values for line in lines])
    values = values[np.isfinite(values)]
    steps = np.concatenate([line.series.steps for line in lines])
    begin, end = panel.steps or (float(steps.min()), float(steps.max()))
    low, high = float(values.min()), float(values.max())
    is_log = panel.is_log
    if is_log is None:
        is_log = low > 0 and math.log10(high / low) > DECADES
    if is_log:
        low = float(values[values > 0].min())
    else:
        low = 0.0 if 0 <= low < 0.7 * high else low - 0.05 * (high - low)
        high += 0.04 * (high - low) or 1.0
    return Frame(left, width, begin, end, low, high, is_log)


def _grid(frame: Frame) -> Iterator[Markup]:
    """Lines across with their values, and the steps below."""
    for value in _ticks(frame):
        y = round(frame.y(value), 1)
        ends = {"x1": round(frame.left, 1), "x2": round(frame.left + frame.width, 1)}
        yield tag("line", class_="grid", y1=y, y2=y, **ends)
        place = {"x": round(frame.left - 5, 1), "y": round(y + 4, 1)}
        yield tag("text", _number(value), text_anchor="end", **place)
    names = ((frame.begin, "start"), ((frame.begin + frame.end) / 2, "middle"), (frame.end, "end"))
    for step, anchor in names:
        text = f"step {step:,.0f}" if anchor == "start" else f"{step:,.0f}"
        x = round(frame.x(step), 1)
        yield tag("text", text, x=x, y=HEIGHT - 8, text_anchor=anchor)


def _ticks(frame: Frame) -> list[float]:
    """Round values, some three to five of them."""
    if frame.is_log:
        powers = range(math.floor(math.log10(frame.low)), math.ceil(math.log10(frame.high)) + 1)
        every = max(1, -(-len(powers) // 5))
        times = (1,) if len(powers) > 4 else (1, 3)
        found = [each * 10.0**power for power in powers[::every] for each in times]
        return [value for value in found if frame.low <= value <= frame.high]
    rough = (frame.high - frame.low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 5, 10) if size * times >= rough)
    first = math.ceil(frame.low / step)
    return [i * step for i in range(first, math.floor(frame.high / step) + 1)]


def _number(value: float) -> str:
    if 1e-4 < abs(value) < 1e5 or value == 0:
        return f"{value:,.6g}"
    return f"{value:.0e}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def _legend(lines: Sequence[Line], left: float) -> Iterator[Markup]:
    x = left
    for line in filter(lambda each: each.label, lines):
        yield tag("text", line.label, class_=f"t-{line.look}", x=round(x, 1), y=17)
        x += LETTER * len(line.label) + 14


def _path(series: Series, frame: Frame) -> str:
    """A gap where a value is not finite, or not drawable on a log scale."""
    parts, is_on = [], False
    for i in thin(series.values, MOST_POINTS):
        value = float(series.values[i])
        if not math.isfinite(value) or (frame.is_log and value <= 0):
            is_on = False
            continue
        point = f"{frame.x(series.steps[i]):.1f} {frame.y(value):.1f}"
        parts.append(f"{'L' if is_on else 'M'}{point}")
        is_on = True
    return "".join(parts)


def _broken(series: Series, frame: Frame) -> Iterator[Markup]:
    """A bar at the top over the steps whose values are not finite."""
    for first, last in stretches(series.steps, series.values):
        x1, x2 = round(frame.x(first), 1), round(max(frame.x(last), frame.x(first) + 1.5), 1)
        yield tag("line", class_="said broken", x1=x1, x2=x2, y1=TOP + 2, y2=TOP + 2)
        if x2 - x1 > 80:
            yield tag("text", "not a finite number", class_="t-said", x=x1 + 6, y=TOP + 18)


def _mark(mark: Mark, row: int, frame: Frame) -> Iterator[Markup]:
    """A dashed line with its name above the plot; names stand in rows, and within the frame."""
    x, y = round(frame.x(mark.step), 1), 34 + 13 * row
    is_right = x + 4 + LETTER * len(mark.label) > frame.left + frame.width
    place = {"x": x - 4 if is_right else x + 4, "text_anchor": "end" if is_right else None}
    yield tag("line", class_=f"mark {mark.look}", x1=x, x2=x, y1=y - 9, y2=HEIGHT - BOTTOM)
    yield tag("text", mark.label, class_=f"t-{mark.look}", y=y, **place)
