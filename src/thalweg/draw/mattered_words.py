"""What mattered, a sentence each: the columns, the worst row, the groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.draw.sentences import SHARES, metric_value, number, several

Summary = Mapping[str, Any]
LONGEST = 32
"""Letters of a name that are shown in a sentence."""


def short(name: object) -> str:
    """A name in one line, cut where it is long."""
    text = " ".join(str(name).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def finite(value: object) -> float | None:
    """A number of a result, which may be spelled out; None where it is none."""
    try:
        found = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def difference(metric: str, value: float) -> str:
    """A change of a metric: `1.4 points` of a share, `0.13` of others."""
    if metric not in SHARES:
        return f"{'-' if value < 0 else ''}{number(abs(value))}"
    points = abs(100 * value)
    size = f"{points:.{1 if points >= 1 else 2}f}".rstrip("0").rstrip(".")
    sign = "-" if value < 0 and size != "0" else ""
    return f"{sign}{size} {'point' if size == '1' else 'points'}"


def heading(metric: object) -> str:
    """A metric's name in a sentence."""
    return str(metric).replace("_", " ")


def helpful(summary: Summary) -> list[Mapping[str, Any]]:
    """The columns without which the answers are worse beyond chance, the largest effect first."""
    rows = summary.get("importance") or ()
    return [row for row in rows if row.get("is_clear") and (finite(row["worse_by"]) or 0) > 0]


def columns(summary: Summary, most: int = 3) -> str | None:
    """Which columns mattered most; None where that was not measured, or there are too few rows."""
    rows, how = summary.get("importance"), summary.get("importance_how") or {}
    if not rows or all(finite(row.get("low")) is None for row in rows):
        return None
    metric = heading(how.get("metric"))
    found = helpful(summary)[:most]
    if not found:
        return f"no column stands out: shuffling any changes the {metric} no more than chance does"
    by = [difference(str(how.get("metric")), float(row["worse_by"])) for row in found]
    first = f"{short(found[0]['column'])} ({metric} {by[0]} worse when it is shuffled)"
    bare = [value.partition(" ")[0] for value in by]
    rest = [f"{short(row['column'])} ({value})" for row, value in zip(found, bare, strict=True)]
    return f"mattered most: {', '.join([first, *rest[1:]])}"


def measured(summary: Summary) -> str:
    """How the columns' effects were measured, and how many of them may be none."""
    rows, how = summary.get("importance") or (), summary.get("importance_how") or {}
    if not rows:
        return f"Not measured: {how.get('reason')}."
    part = several(how["rows"], "validation row")
    part += f" of {how['of_rows']:,}" if how["rows"] < how["of_rows"] else ""
    text = (
        f"How much worse the {heading(how['metric'])} is when a column's values change places "
        f"among {part} ({several(how['repeats'], 'shuffle')} each, nothing trained again), with "
        f"its {how['level']:.0%} interval"
    )
    unclear = sum(not row["is_clear"] for row in rows)
    if all(finite(row.get("low")) is None for row in rows):
        text += ", for which there are too few rows"
    elif unclear:
        text += f"; {unclear:,} of {several(len(rows), 'column')} cannot be told from no effect"
    reason = f" It {how['reason']}." if how.get("reason") else ""
    return f"{text}.{reason}"


def worst_row(rows: Sequence[Mapping[str, Any]]) -> str:
    """The row of the largest loss."""
    row = rows[0]
    loss = finite(row.get("loss"))
    size = "not finite" if loss is None else number(loss)
    text = f"The largest loss of a validation row is {size}, in row {row['row']:,}"
    if isinstance(row.get("true"), Mapping) or "true" not in row:
        return f"{text}."
    true, answer = (shown(row[name]) for name in ("true", "answer"))
    sure = finite(row.get("probability"))
    at = "" if sure is None else f" at a probability of {number(sure)}"
    return f"{text}: the truth is {true}, the answer {answer}{at}."


def shown(value: object) -> str:
    """A truth or an answer, of one target or of several."""
    if isinstance(value, Mapping):
        return ", ".join(f"{short(name)} {shown(each)}" for name, each in value.items())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(float(value))
    return short(value) or "(none)"


def groups(summary: Summary) -> str | None:
    """The worst of the groups that are worse beyond chance; else that none is."""
    found = summary.get("groups")
    if not found:
        return None
    metric, column = str(found["metric"]), short(found["column"])
    worse = [row for row in found["groups"] if row.get("is_worse")]
    if not worse:
        count = len(found["groups"])
        return (
            f"by {column}: none of {several(count, 'group')} is worse than all rows beyond chance"
        )
    sign = 1 if found["rises"] else -1
    worst = min(worse, key=lambda row: sign * float(row["value"]))
    own, whole = (metric_value(metric, float(row["value"])) for row in (worst, found))
    more = f"; {len(worse):,} of {len(found['groups']):,} groups are" if len(worse) > 1 else ""
    return (
        f"by {column}: {short(worst['name'])} is worse beyond chance, {heading(metric)} {own} on "
        f"{several(worst['rows'], 'row')}, where all have {whole}{more}"
    )


def lines(summary: Summary) -> list[str]:
    """What the terminal says of it."""
    return [text for text in (columns(summary), groups(summary)) if text]
