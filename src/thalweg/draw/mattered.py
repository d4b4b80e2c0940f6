"""What mattered, as the report shows it: columns as bars, the worst rows, groups beside the whole.

The words are in `mattered_words`; a page without such results is as it would be without this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thalweg.draw import mattered_words as words
from thalweg.draw.markup import MISSING, Markup, join, mapping, table, tag
from thalweg.draw.mattered_words import difference, finite, heading, shown
from thalweg.draw.sentences import metric_value, number, several

MOST_SHOWN = 15
"""Columns that are shown at once; the others stand behind a line that opens them."""
MOST_FOLDED = 200
WIDTH = 200.0

Row = Mapping[str, Any]


def mattered(summary: Row) -> Markup:
    """Up to three cards; nothing where nothing of it was measured."""
    pair = [card for card in (_columns(summary), _worst(summary)) if card]
    parts = [tag("div", *pair, class_="two")] if len(pair) == 2 else pair
    return join([*parts, _groups(mapping(summary.get("groups")))])


def _card(name: str, title: str, sentence: str, *inside: Markup) -> Markup:
    heading = tag("h2", title, id=f"{name}-title")
    said = tag("p", sentence, class_="sentence")
    return tag("section", heading, said, *inside, class_="card", aria_labelledby=f"{name}-title")


# --- columns -------------------------------------------------------------------------------------


def _columns(summary: Row) -> Markup:
    if not summary.get("importance_how"):
        return Markup()
    rows: Sequence[Row] = summary.get("importance") or ()
    metric = str(mapping(summary["importance_how"]).get("metric"))
    sentence = words.measured(summary)
    if not rows:
        return _card("mattered", "What mattered", sentence)
    scale = Scale.of([0.0, *(v for row in rows for v in _ends(row, "worse_by"))])
    shown, left = rows[:MOST_SHOWN], rows[MOST_SHOWN : MOST_SHOWN + MOST_FOLDED]
    parts = [_effects(shown, metric, scale)]
    if left:
        more = len(rows) - MOST_SHOWN
        text = f"{several(more, 'more column')}, which mattered less"
        text += f": the first {MOST_FOLDED}" if more > MOST_FOLDED else ""
        parts.append(tag("details", tag("summary", text), _effects(left, metric, scale)))
    return _card("mattered", "What mattered", sentence, *parts)


def _effects(rows: Sequence[Row], metric: str, scale: Scale) -> Markup:
    head = ["Column", f"{heading(metric).capitalize()} worse by", ""]
    body = [(row["column"], _effect(row, metric), scale.bar(row)) for row in rows]
    return table(head, body, class_="plain effects")


def _effect(row: Row, metric: str) -> Markup:
    value, low, high = (finite(row.get(name)) for name in ("worse_by", "low", "high"))
    if value is None:
        return Markup(MISSING)
    if low is None or high is None:
        return join([difference(metric, value)])
    note = f"{_bare(metric, low)} to {_bare(metric, high)}"
    if high < 0:
        note += ", better when shuffled"
    return join([difference(metric, value), tag("small", note)])


def _bare(metric: str, value: float) -> str:
    return difference(metric, value).partition(" ")[0]


def _ends(row: Row, name: str) -> list[float]:
    found = (finite(row.get(key)) for key in (name, "low", "high"))
    return [value for value in found if value is not None]


@dataclass(frozen=True, slots=True)
class Scale:
    """From numbers to places in a picture WIDTH wide."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        low, high = min(values), max(values)
        return cls(low, high if high > low else low + 1)

    def at(self, value: float) -> float:
        return round(WIDTH * (value - self.low) / (self.high - self.low), 2)

    def bar(self, row: Row) -> Markup:
        """A bar from 0, with its interval over it; pale where it cannot be told from 0."""
        value = finite(row.get("worse_by"))
        if value is None:
            return Markup()
        start, end = sorted((self.at(0.0), self.at(value)))
        look = "clear" if row.get("is_clear") else "unclear"
        bar = tag("rect", x=start, y=4, width=round(end - start, 2), height=8, class_=look)
        return _svg(bar, *self._reach(row), _line(self.at(0.0), self.at(0.0), 0, 16, "axis"))

    def mark(self, row: Row, whole: float | None) -> Markup:
        """A value with its interval, and the whole's as a line through all rows."""
        value = finite(row.get("value"))
        parts = [] if whole is None else [_line(self.at(whole), self.at(whole), 0, 16, "axis")]
        if value is not None:
            look = "worse" if row.get("is_worse") else "clear"
            parts += [*self._reach(row), _line(self.at(value), self.at(value), 3, 13, f"at {look}")]
        return _svg(*parts)

    def _reach(self, row: Row) -> list[Markup]:
        low, high = finite(row.get("low")), finite(row.get("high"))
        if low is None or high is None:
            return []
        ends = self.at(low), self.at(high)
        caps = [_line(end, end, 5, 11, "reach") for end in ends]
        return [_line(*ends, 8, 8, "reach"), *caps]


def _line(x1: float, x2: float, y1: float, y2: float, look: str) -> Markup:
    return tag("line", x1=x1, x2=x2, y1=y1, y2=y2, class_=look)


def _svg(*parts: Markup) -> Markup:
    """A picture as wide as its cell; the numbers beside it say the same."""
    box = f"-1 0 {WIDTH + 2:g} 16"
    return tag(
        "svg", *parts, viewBox=box, preserveAspectRatio="none", class_="span", aria_hidden="true"
    )


# --- rows ----------------------------------------------------------------------------------------


def _worst(summary: Row) -> Markup:
    rows: Sequence[Row] = summary.get("worst") or ()
    if not rows:
        return Markup()
    names = [name for name in WORST if any(name in row for row in rows)]
    body = [[_cell(name, row.get(name)) for name in names] for row in rows]
    shown = table([WORST[name] for name in names], body, class_="plain")
    title = "The worst rows of validation"
    return _card("worst", title, words.worst_row(rows), shown)


WORST = {
    "row": "Row",
    "true": "Truth",
    "answer": "Answer",
    "probability": "Its probability",
    "error": "Error",
    "loss": "Loss",
    "weight": "Weight",
}
"""Headings by name; what no row has is left out."""


def _cell(name: str, value: object) -> str:
    if name == "row":
        return f"{value:,}"
    if name in ("true", "answer", "error"):
        return MISSING if value is None else shown(value)
    found = finite(value)
    return MISSING if value is None else "not finite" if found is None else number(found)


# --- groups --------------------------------------------------------------------------------------


def _groups(found: Row) -> Markup:
    if not found.get("groups"):
        return Markup()
    metric, rows = str(found["metric"]), found["groups"]
    whole = finite(found.get("value"))
    ends = [value for row in rows for value in _ends(row, "value")]
    scale = Scale.of([*ends, whole if whole is not None else 0.0])
    body = [
        (
            join([row["name"], tag("small", "worse beyond chance") if row["is_worse"] else ""]),
            f"{row['rows']:,}",
            _value(metric, row),
            MISSING if finite(row["loss"]) is None else number(float(row["loss"])),
            scale.mark(row, whole),
        )
        for row in rows
    ]
    name = heading(metric).capitalize()
    shown = table([str(found["column"]), "Rows", name, "Loss", ""], body, class_="plain effects")
    said = words.groups({"groups": found}) or ""
    all_have = "" if whole is None else f" All {found['rows']:,} {found['set']} rows have "
    all_have += "" if whole is None else f"{metric_value(metric, whole)}, the line;"
    sentence = f"{said[:1].upper()}{said[1:]}.{all_have} the intervals hold all at once "
    sentence += f"with {found['level']:.0%}."
    return _card("groups", f"Errors by {found['column']}", sentence, shown)


def _value(metric: str, row: Row) -> Markup:
    value, low, high = (finite(row.get(name)) for name in ("value", "low", "high"))
    if value is None:
        return Markup(MISSING)
    if low is None or high is None:
        return join([metric_value(metric, value)])
    note = f"{metric_value(metric, low)} to {metric_value(metric, high)}"
    return join([metric_value(metric, value), tag("small", note)])
