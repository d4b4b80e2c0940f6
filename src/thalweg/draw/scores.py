"""The result beside its baselines, and the data, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.draw.sentences import METRICS, metric_value, number, percent, several
from thalweg.types import Evaluation


def result(summary: Mapping[str, Any], num_rows: int) -> str:
    """The model's score on the test set, beside the baselines' (`num_rows` 0: not known)."""
    name = main_metric(summary)
    value = score(summary.get("test"), name)
    if value is None:
        return "The model was not scored on a test set."
    others = "; ".join(f"{label}: {metric_value(name, v)}" for label, v in baselines(summary, name))
    beside = f". For comparison, {others}." if others else "; no baseline was measured."
    if name == "accuracy":
        rows = f"{several(num_rows, 'test row')}" if num_rows else "the test rows"
        return f"The model answered {percent(value)} of {rows} correctly{beside}"
    if name not in ("accuracy", "rmse", "mae"):
        where = f"the {several(num_rows, 'test row')}" if num_rows else "the test set"
        words = METRICS.get(name, (name, True))[0]
        return f"The model's {words} on {where} is {metric_value(name, value)}{beside}"
    rows = f"the {several(num_rows, 'test row')}" if num_rows else "the test set"
    return f"The model's typical error ({name}) on {rows} is {number(value)}{beside}"


def worse(summary: Mapping[str, Any]) -> list[str]:
    """Plainly, each baseline that the model does not beat on the test set."""
    name = main_metric(summary)
    ours = score(summary.get("test"), name)
    if ours is None:
        return []
    return [
        _compared(name, ours, label, theirs)
        for label, theirs in baselines(summary, name)
        if not _better(name, ours, theirs, rises=watched_rises(summary, name))
    ]


def _compared(name: str, ours: float, label: str, theirs: float) -> str:
    how = "No better" if ours == theirs else "Worse"
    values = f"{metric_value(name, ours)} against {metric_value(name, theirs)}"
    return f"{how} than {label}: {name} {values} on the test set."


def _better(name: str, ours: float, theirs: float, *, rises: bool | None) -> bool:
    rises = METRICS.get(name, ("", True))[1] if rises is None else rises
    return ours > theirs if rises else ours < theirs


def watched_rises(summary: Mapping[str, Any], name: str) -> bool | None:
    """Is larger better, of the metric that the run watched? None: of another one."""
    return summary.get("metric_rises") if summary.get("metric") == name else None


def sayings(summary: Mapping[str, Any]) -> list[str]:
    """What is special about the answers: a threshold, an interval."""
    rows = [summary.get(name) for name in ("threshold", "intervals")]
    return [str(row["sentence"]) for row in rows if isinstance(row, Mapping) and "sentence" in row]


def main_metric(summary: Mapping[str, Any], evaluations: Sequence[Evaluation] = ()) -> str:
    """The metric that stands first: the one asked for, accuracy or rmse, else the first."""
    last = evaluations[-1].values if evaluations else {}
    names = [name for name in (*(summary.get("test") or {}), *last) if name != "loss"]
    asked = summary.get("metric")
    return next((n for n in (asked, "accuracy", "rmse", *names) if n in names), None) or "metric"


def score(values: Mapping[str, Any] | None, name: str) -> float | None:
    """A value of a results object as a number, or None where it was not measured."""
    value = (values or {}).get(name)
    return None if value is None else float(value)


def baselines(summary: Mapping[str, Any], name: str) -> list[tuple[str, float]]:
    """Label and score of each baseline that has one, the stronger kind (the tree) first."""
    found = summary.get("baselines") or {}
    kinds = [
        ("tree", "a decision tree"),
        ("words", "naive Bayes"),
        ("trigram", "triples of bytes"),
        ("bigram", "pairs of bytes"),
        ("constant", "always the same answer"),
    ]
    return [
        (str(found[kind].get("label") or label), value)
        for kind, label in kinds
        if (value := score(found.get(kind), name)) is not None
    ]


def columns(described: Sequence[Mapping[str, Any]]) -> str:
    """How many columns the model sees, of which kinds, and which were dropped."""
    used = [str(column.get("kind")) for column in described if column.get("use") != "dropped"]
    dropped = [_dropped(column) for column in described if column.get("use") == "dropped"]
    kinds = ", ".join(f"{used.count(kind):,} {kind}" for kind in dict.fromkeys(used))
    text = f"The model sees {len(used):,} of {several(len(described), 'column')}"
    text += f" ({kinds})" if kinds else ""
    shown = ", ".join(dropped[:3])
    more = f" and {len(dropped) - 3:,} more" if len(dropped) > 3 else ""
    return f"{text}; dropped: {shown}{more}." if dropped else f"{text}; none was dropped."


def _dropped(column: Mapping[str, Any]) -> str:
    why = f" ({column['note']})" if column.get("note") else ""
    return f"“{column.get('name')}”{why}"
