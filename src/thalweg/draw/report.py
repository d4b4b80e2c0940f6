"""A run's report: one self-contained page that opens from disk and asks nothing of the network.

`page.html` is the skeleton, `page.css` its looks; `page.js` draws the curves with uPlot from the
JSON in the page. This file fills in the words and tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.draw import scores, sentences
from thalweg.draw.answers import answers
from thalweg.draw.curves import charts
from thalweg.draw.gallery import gallery
from thalweg.draw.markup import (
    MISSING,
    Markup,
    asset,
    folded,
    join,
    json_text,
    mapping,
    plain,
    policy,
    table,
    tag,
)
from thalweg.draw.mattered import mattered
from thalweg.draw.sentences import metric_value, number, percent, several

if TYPE_CHECKING:
    from thalweg.record.history import History
    from thalweg.types import Event


def render(history: History, *, title: str) -> str:
    """The page as one string, for a run's history; what was not recorded is said to be missing."""
    summary = mapping(history.results.get("summary"))
    drawn = charts(history, summary)
    script = asset("page.js")
    library = f"/*\nuPlot\n{asset('vendor/uPlot.LICENSE')}\n*/\n{asset('vendor/uPlot.iife.min.js')}"
    return Template(asset("page.html")).substitute(
        _words(history, summary),
        title=escape(title),
        policy=policy(library, script),
        style=asset("vendor/uPlot.min.css") + asset("page.css"),
        library=library,
        script=script,
        data=json_text(drawn),
    )


def _words(history: History, summary: Mapping[str, Any]) -> dict[str, str]:
    """What fills the skeleton: sentences, tables and lists, each escaped markup."""
    name = scores.main_metric(summary, history.evaluations)
    rises = scores.watched_rises(summary, name)
    return {
        "facts": escape(_facts(summary, history.environment.get("parent"))),
        "verdict": _verdict(mapping(summary.get("verdict"))),
        "worse": join(tag("p", text, class_="worse") for text in _doubts(summary)),
        "result": escape(_result(history, summary)),
        "scores": _scores(summary),
        "loss": escape(sentences.loss(history.steps, history.evaluations)),
        "metric": escape(sentences.metric(history.evaluations, name, rises=rises)),
        "metric_name": escape(name),
        "lr": escape(sentences.learning_rate(history.steps)),
        "gradient": escape(sentences.gradient_norm(history.steps)),
        "answers": join([answers(history), gallery(history)]),
        "mattered": mattered(summary),
        "settings": _pairs("Setting", history.settings),
        "environment": _pairs("Item", history.environment),
        "columns": join([_split(summary), _columns(history.results.get("columns"))]),
        "events": _events(history.events),
    }


def _result(history: History, summary: Mapping[str, Any]) -> str:
    """The score beside the baselines', and what is special about the answers."""
    more = (f"{text[:1].upper()}{text[1:]}." for text in scores.sayings(summary))
    return " ".join([scores.result(summary, _num_tested(history)), *more])


def _doubts(summary: Mapping[str, Any]) -> list[str]:
    """Which baselines are not beaten, and what makes the scores doubtful."""
    found = mapping(summary.get("split")).get("warnings") or ()
    return [*scores.worse(summary), *(f"{str(text)[:1].upper()}{str(text)[1:]}." for text in found)]


def _split(summary: Mapping[str, Any]) -> Markup:
    """How the rows were shared out, where that was asked for."""
    words = mapping(summary.get("split")).get("notices") or ()
    return join(tag("p", f"{str(text)[:1].upper()}{str(text)[1:]}.") for text in words)


def _facts(summary: Mapping[str, Any], parent: Any) -> str:
    """One line on what was trained: the task, the data, the optimizer, the time; from which run."""
    task = mapping(summary.get("task"))
    parts = [
        task.get("kind"),
        _counted(task, "rows", "row"),
        _counted(task, "features", "feature"),
        _counted(task, "classes", "class", "classes"),
        summary.get("optimizer"),
        _counted(summary, "steps", "step"),
        None if summary.get("seconds") is None else f"{number(summary['seconds'])} s",
        parent and f"a child of {parent}",
    ]
    return " · ".join(str(part) for part in parts if part)


def _counted(values: Mapping[str, Any], key: str, noun: str, plural: str = "") -> str | None:
    count = values.get(key)
    if isinstance(count, Sequence):
        count = len(count)
    return several(count, noun, plural) if count else None


def _verdict(verdict: Mapping[str, Any]) -> Markup:
    """State word, plain sentence, findings, and what could not be checked."""
    state = str(verdict.get("state") or "unknown")
    sentence = verdict.get("sentence") or "no verdict was recorded for this run"
    missing = [str(each) for each in verdict.get("not_checkable") or ()]
    parts = [
        tag("h2", state.capitalize(), class_="state", data_state=state),
        tag("p", f"{sentence[:1].upper()}{sentence[1:]}.", class_="sentence"),
        *(_finding(mapping(each)) for each in verdict.get("findings") or ()),
    ]
    if missing:
        parts.append(tag("p", f"Not checkable in this run: {', '.join(missing)}.", class_="note"))
    return join(parts)


def _finding(finding: Mapping[str, Any]) -> Markup:
    since, sure = finding.get("since_step"), finding.get("confidence")
    when = [] if since is None else [f"since step {since:,}"]
    when += [] if sure is None else ["certain" if sure >= 1 else f"{percent(sure)} sure"]
    evidence = [
        tag("div", tag("dt", key.replace("_", " ")), tag("dd", plain(value)))
        for key, value in mapping(finding.get("evidence")).items()
    ]
    heading = [tag("code", finding.get("code", "")), " ", finding.get("name", "")]
    return tag(
        "article",
        tag("h3", *heading, tag("span", " · ".join(when), class_="when")),
        tag("p", finding.get("advice", "")),
        tag("dl", *evidence) if evidence else "",
        class_="finding",
        data_severity=finding.get("severity"),
    )


def _scores(summary: Mapping[str, Any]) -> Markup:
    """Test, validation, train and the two baselines as rows; the main metric with a bar."""
    sets = [("Test", "held-out rows", "test"), ("Validation", "", "validation")]
    rows = [(label, note, mapping(summary.get(key))) for label, note, key in sets]
    rows.append(("Train", _part_scored(summary), mapping(summary.get("train"))))
    known = mapping(summary.get("baselines"))
    both = {"tree": "decision tree", **dict.fromkeys(known, ""), "constant": "same answer always"}
    for key, label in both.items():
        if key not in known and {"words", "trigram"} & known.keys():
            continue
        found = mapping(known.get(key))
        rows.append((str(found.get("label") or label), "baseline", found))
    name = scores.main_metric(summary)
    if not any(values for *_, values in rows):
        return Markup()
    also = [n for n in (*mapping(summary.get("test")), "r2", "loss") if n not in (name, "loss")]
    also = [*dict.fromkeys(also), "loss"]
    names = [name, *(n for n in also if any(n in values for *_, values in rows))]
    longest = _longest(name, [scores.score(values, name) for *_, values in rows])
    body = [_score_row(label, note, values, names, longest) for label, note, values in rows]
    head = [tag("th", text, scope="col") for text in ["Scored on", *map(_heading, names)]]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body), class_="scores")
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Result")


def _part_scored(summary: Mapping[str, Any]) -> str:
    """How many of the training rows were scored, where not all were."""
    task = mapping(summary.get("task"))
    scored, count = task.get("train_rows_scored"), task.get("train_rows")
    return "" if scored in (None, count) else f"{scored:,} of the {count:,} rows"


def _heading(name: str) -> str:
    return {"r2": "R²"}.get(name, name.replace("_", " "))


def _longest(name: str, values: Sequence[float | None]) -> float:
    finite = [v for v in values if v is not None and math.isfinite(v)]
    return 1.0 if name in sentences.SHARES else max(finite, default=1.0) or 1.0


def _score_row(
    label: str, note: str, values: Mapping[str, Any], names: Sequence[str], longest: float
) -> Markup:
    first, *rest = (_score_cell(name, scores.score(values, name)) for name in names)
    main = scores.score(values, names[0])
    bar = ""
    if main is not None and math.isfinite(main):
        bar = tag("span", class_="bar", style=f"--share:{min(max(main / longest, 0), 1):.4f}")
    header = tag("th", label, tag("small", note) if note else "", scope="row")
    kind = "baseline" if note == "baseline" else label.lower()
    cells = (tag("td", text) for text in rest)
    return tag("tr", header, tag("td", first, bar, class_="main"), *cells, class_=kind)


def _score_cell(name: str, value: float | None) -> str:
    return MISSING if value is None else metric_value(name, value)


def _num_tested(history: History) -> int:
    found = mapping(history.results.get("confusion")).get("matrix")
    return int(np.sum(np.asarray(found, dtype=np.int64))) if found else 0


def _pairs(name: str, values: Mapping[str, Any]) -> Markup:
    """A two-column table of names and values; nested values by dotted names; a command apart."""
    flat = dict(_flat(values))
    command = flat.pop("command", None)
    rows = [(key, plain(value)) for key, value in flat.items()]
    shown = table([name, "Value"], rows, class_="plain") if rows else tag("p", "Not recorded.")
    if command is None:
        return shown
    return join([tag("p", "Repeat this run with"), tag("pre", tag("code", plain(command))), shown])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _columns(described: Sequence[Mapping[str, Any]] | None) -> Markup:
    if not described:
        return tag("p", "The columns were not recorded.")
    ordered = sorted(described, key=lambda column: column.get("use") != "dropped")
    keys = ("name", "kind", "use", "note")
    rows = [[plain(column.get(key, "")) for key in keys] for column in ordered]
    shown = table(["Column", "Kind", "Use", "Note"], rows, class_="plain")
    sentence = tag("p", scores.columns(described), class_="sentence")
    return join([sentence, folded(f"All {several(len(rows), 'column')}", shown, len(rows))])


def _events(events: Sequence[Event]) -> Markup:
    if not events:
        return tag("p", "No event was recorded.")
    rows = [(f"{event.number:,}", event.kind, event.text) for event in events]
    shown = table(["Step", "Event", "What happened"], rows, class_="plain events")
    return folded(f"All {several(len(rows), 'event')}", shown, len(rows))
