"""A run's report: one self-contained page that opens from disk and asks nothing of the network.

`page.html` is the skeleton, `page.css` its looks; `page.js` draws the curves with uPlot
from the JSON in the page. This file fills in the words, tables and numbers. What a user may have
written (column and class names, messages, settings) enters through `_tag`, which escapes it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.draw import sentences
from thalweg.draw.sentences import metric_value, number, percent, several

if TYPE_CHECKING:
    from thalweg.record.history import History
    from thalweg.types import Event

MAX_POINTS = 2_000
"""Points of one curve; a longer one keeps the lowest and highest step of each of its stretches."""
SMOOTH_POINTS = 400
MAX_CLASSES = 30
"""Above this many classes the confusion matrix gives way to its most confused pairs."""
MAX_ROWS = 12
"""Tables longer than this are folded."""
MISSING = "\N{EN DASH}"


class Markup(str):
    """Text that is markup already; any other text is escaped where it enters the page."""


def render(history: History, *, title: str) -> str:
    """The page as one string, for a run's history; what was not recorded is said to be missing."""
    summary = _mapping(history.results.get("summary"))
    charts = _charts(history, summary)
    script = _asset("page.js")
    library = (
        f"/*\nuPlot\n{_asset('vendor/uPlot.LICENSE')}\n*/\n{_asset('vendor/uPlot.iife.min.js')}"
    )
    return Template(_asset("page.html")).substitute(
        _words(history, summary),
        title=escape(title),
        policy=_policy(library, script),
        style=_asset("vendor/uPlot.min.css") + _asset("page.css"),
        library=library,
        script=script,
        data=_json(charts),
    )


def _words(history: History, summary: Mapping[str, Any]) -> dict[str, str]:
    """What fills the skeleton: sentences, tables and lists, each escaped markup."""
    name = sentences.main_metric(summary, history.evaluations)
    return {
        "facts": escape(_facts(summary)),
        "verdict": _verdict(_mapping(summary.get("verdict"))),
        "worse": _join(_tag("p", text, class_="worse") for text in sentences.worse(summary)),
        "result": escape(sentences.result(summary, _num_tested(history))),
        "scores": _scores(summary),
        "loss": escape(sentences.loss(history.steps, history.evaluations)),
        "metric": escape(sentences.metric(history.evaluations, name)),
        "metric_name": escape(name),
        "lr": escape(sentences.learning_rate(history.steps)),
        "gradient": escape(sentences.gradient_norm(history.steps)),
        "answers": _answers(history),
        "settings": _pairs("Setting", history.settings),
        "environment": _pairs("Item", history.environment),
        "columns": _columns(history.results.get("columns")),
        "events": _events(history.events),
    }


# --- markup ---------------------------------------------------------------------------------------


def _tag(name: str, *children: object, **attributes: object) -> Markup:
    """One element; children and attribute values are escaped, None attributes left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{shown}>{_join(children)}</{name}>")


def _join(children: Iterable[object]) -> Markup:
    return Markup("".join(c if isinstance(c, Markup) else escape(str(c)) for c in children))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], **attributes: object) -> Markup:
    """A table whose first column names its rows."""
    top = _tag("tr", *(_tag("th", text, scope="col") for text in head))
    body = [
        _tag("tr", _tag("th", first, scope="row"), *(_tag("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    inside = _tag("table", _tag("thead", top), _tag("tbody", *body), **attributes)
    return _tag("div", inside, class_="scroll", tabindex=0, role="region", aria_label=head[0])


def _folded(summary: str, table: Markup, rows: int) -> Markup:
    """The table, behind a line that opens it if it is long."""
    if rows <= MAX_ROWS:
        return table
    return _tag("details", _tag("summary", summary), table)


def _asset(path: str) -> str:
    return resources.files("thalweg.draw").joinpath(path).read_text("utf-8")


def _policy(*scripts: str) -> str:
    """The page's content security policy: nothing from outside, and only these scripts run."""
    sums = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in sums)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _json(value: object) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# --- verdict and result ---------------------------------------------------------------------------


def _facts(summary: Mapping[str, Any]) -> str:
    """One line on what was trained: the task, the data, the optimizer, the time."""
    task = _mapping(summary.get("task"))
    parts = [
        task.get("kind"),
        _counted(task, "rows", "row"),
        _counted(task, "features", "feature"),
        _counted(task, "classes", "class", "classes"),
        summary.get("optimizer"),
        _counted(summary, "steps", "step"),
        None if summary.get("seconds") is None else f"{number(summary['seconds'])} s",
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
    sentence = verdict.get("sentence") or "No verdict was recorded for this run."
    missing = [str(each) for each in verdict.get("not_checkable") or ()]
    parts = [
        _tag("h2", state.capitalize(), class_="state", data_state=state),
        _tag("p", sentence, class_="sentence"),
        *(_finding(_mapping(each)) for each in verdict.get("findings") or ()),
    ]
    if missing:
        parts.append(_tag("p", f"Not checkable in this run: {', '.join(missing)}.", class_="note"))
    return _join(parts)


def _finding(finding: Mapping[str, Any]) -> Markup:
    since, sure = finding.get("since_step"), finding.get("confidence")
    when = [] if since is None else [f"since step {since:,}"]
    when += [] if sure is None else ["certain" if sure >= 1 else f"{percent(sure)} sure"]
    evidence = [
        _tag("div", _tag("dt", key.replace("_", " ")), _tag("dd", _plain(value)))
        for key, value in _mapping(finding.get("evidence")).items()
    ]
    heading = [_tag("code", finding.get("code", "")), " ", finding.get("name", "")]
    return _tag(
        "article",
        _tag("h3", *heading, _tag("span", " · ".join(when), class_="when")),
        _tag("p", finding.get("advice", "")),
        _tag("dl", *evidence) if evidence else "",
        class_="finding",
        data_severity=finding.get("severity"),
    )


def _scores(summary: Mapping[str, Any]) -> Markup:
    """Test, validation, train and the two baselines as rows; the main metric with a bar."""
    sets = [("Test", "held-out rows", "test"), ("Validation", "", "validation")]
    rows = [(label, note, _mapping(summary.get(key))) for label, note, key in sets]
    rows.append(("Train", "", _mapping(summary.get("train"))))
    for key, label in (("tree", "decision tree"), ("constant", "same answer always")):
        found = _mapping(_mapping(summary.get("baselines")).get(key))
        rows.append((str(found.get("label") or label), "baseline", found))
    name = sentences.main_metric(summary)
    if not any(values for *_, values in rows):
        return Markup()
    names = [name, *(n for n in ("r2", "loss") if any(n in values for *_, values in rows))]
    longest = _longest(name, [sentences.score(values, name) for *_, values in rows])
    body = [_score_row(label, note, values, names, longest) for label, note, values in rows]
    head = [_tag("th", text, scope="col") for text in ["Scored on", *map(_heading, names)]]
    table = _tag("table", _tag("thead", _tag("tr", *head)), _tag("tbody", *body), class_="scores")
    return _tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Result")


def _heading(name: str) -> str:
    return {"r2": "R²"}.get(name, name)


def _longest(name: str, values: Sequence[float | None]) -> float:
    finite = [v for v in values if v is not None and math.isfinite(v)]
    return 1.0 if name == "accuracy" else max(finite, default=1.0) or 1.0


def _score_row(
    label: str, note: str, values: Mapping[str, Any], names: Sequence[str], longest: float
) -> Markup:
    first, *rest = (_score_cell(name, sentences.score(values, name)) for name in names)
    main = sentences.score(values, names[0])
    bar = ""
    if main is not None and math.isfinite(main):
        bar = _tag("span", class_="bar", style=f"--share:{min(max(main / longest, 0), 1):.4f}")
    header = _tag("th", label, _tag("small", note) if note else "", scope="row")
    kind = "baseline" if note == "baseline" else label.lower()
    cells = (_tag("td", text) for text in rest)
    return _tag("tr", header, _tag("td", first, bar, class_="main"), *cells, class_=kind)


def _score_cell(name: str, value: float | None) -> str:
    return MISSING if value is None else metric_value(name, value)


def _num_tested(history: History) -> int:
    found = _mapping(history.results.get("confusion")).get("matrix")
    return int(np.sum(np.asarray(found, dtype=np.int64))) if found else 0


# --- curves ---------------------------------------------------------------------------------------


def _charts(history: History, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What page.js draws: by figure, its series, marks and stretches that were not finite."""
    steps, evaluations = history.steps, history.evaluations
    name = sentences.main_metric(summary, evaluations)
    metric = _series(f"validation {name}", "checks", *sentences.validation(evaluations, name))
    lr = _series("learning rate", "train", *sentences.measured(steps, "lr"))
    return {
        "loss": _loss_chart(history),
        "metric": {"series": [metric], "format": "percent" if name == "accuracy" else "number"},
        "lr": {"series": [lr], "format": "rate"},
        "gradient": _norm_chart(*sentences.measured(steps, "gradient_norm")),
        "residuals": _scatter(_mapping(history.results.get("residuals"))),
        "epoch": _steps_per_epoch(steps),
    }


def _loss_chart(history: History) -> dict[str, Any]:
    numbers, losses = sentences.measured(history.steps, "loss")
    at, checks = sentences.validation(history.evaluations, "loss")
    each = ("training loss", "training loss, smoothed")
    return {
        "series": [
            *_with_smooth(*each, numbers, losses),
            _series("validation loss", "checks", at, checks),
        ],
        "log": spans(losses, checks, decades=1.5),
        "marks": _marks(history.events),
        "broken": stretches(numbers, losses),
    }


def _norm_chart(numbers: np.ndarray, norms: np.ndarray) -> dict[str, Any]:
    return {
        "series": _with_smooth("measured", "smoothed", numbers, norms),
        "log": spans(norms, decades=0.5),
        "broken": stretches(numbers, norms),
    }


def _with_smooth(
    label: str, smooth_label: str, numbers: np.ndarray, values: np.ndarray
) -> list[dict[str, Any]]:
    """A curve drawn faintly with its smoothed line, or alone where it is too short to need one."""
    at, means = smooth(numbers, values)
    if not len(at):
        return [_series(label, "train", numbers, values)]
    faint = _series(label, "faint", numbers, values)
    return [faint, _series(smooth_label, "train", at, means)]


def _series(label: str, look: str, numbers: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """One curve, thinned; a value that is not finite becomes a gap."""
    kept = thin(values, MAX_POINTS)
    points = {"x": numbers[kept].tolist(), "y": _plottable(values[kept])}
    return {"label": label, "look": look, **points}


def _plottable(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values.tolist()]


def thin(values: np.ndarray, limit: int) -> np.ndarray:
    """Indices to draw, at most `limit`, in order: the lowest and highest of each part of the run.

    The ends are kept, and the edges of stretches that are not finite, which make gaps in the line
    (of the first `limit` / 4 stretches; `stretches` keeps them all).
    """
    if len(values) <= limit:
        return np.arange(len(values))
    finite = np.flatnonzero(np.isfinite(values))
    bad = [edge for pair in _runs(~np.isfinite(values))[: limit // 4] for edge in pair]
    num_parts = max(1, (limit - len(bad)) // 2 - 1)
    parts = [part for part in np.array_split(finite, num_parts) if len(part)]
    lowest = [part[np.argmin(values[part])] for part in parts]
    highest = [part[np.argmax(values[part])] for part in parts]
    return np.unique(np.array([0, *lowest, *highest, *bad, len(values) - 1]))


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each unbroken stretch of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def stretches(numbers: np.ndarray, values: np.ndarray) -> list[tuple[int, int]]:
    """First and last step of each stretch whose values were not finite: none is ever left out."""
    return [(int(numbers[a]), int(numbers[b])) for a, b in _runs(~np.isfinite(values))]


def smooth(numbers: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the finite values around at most 400 steps, over a fortieth of the run each.

    Empty for runs too short to need it.
    """
    width = len(values) // 80
    if width < 1:
        return numbers[:0], values[:0]
    centres = np.unique(np.linspace(0, len(values) - 1, SMOOTH_POINTS).astype(int))
    around = [values[max(0, c - width) : c + width + 1] for c in centres]
    means = [_finite_mean(part) for part in around]
    return numbers[centres], np.array(means)


@np.errstate(over="ignore")
def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def spans(*columns: np.ndarray, decades: float) -> bool:
    """Whether all values are positive and their range spans more than so many powers of ten."""
    values = np.concatenate([column[np.isfinite(column)] for column in columns])
    if not len(values) or values.min() <= 0:
        return False
    return bool(np.log10(values.max()) - np.log10(values.min()) > decades)


def _marks(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Events worth a line on the loss curve: the last best, the stop, the first few changes."""
    best = [e for e in events if e.kind == "best"][-1:]
    stop = [e for e in events if e.kind == "stop"][-1:]
    changes = [e for e in events if e.kind == "lr"][:6]
    words = {"best": "best validation loss", "stop": "stopped", "lr": "learning rate set"}
    return [
        {"x": e.number, "kind": e.kind, "label": f"{words[e.kind]}, step {e.number:,}"}
        for e in [*best, *stop, *changes]
    ]


def _steps_per_epoch(steps: Mapping[str, Any]) -> float | None:
    numbers, epochs = sentences.measured(steps, "epoch")
    return float(numbers[-1] / epochs[-1]) if len(epochs) and epochs[-1] > 0 else None


def _scatter(residuals: Mapping[str, Any]) -> dict[str, Any]:
    actual, predicted = _columns_of(residuals)
    keep = np.isfinite(actual) & np.isfinite(predicted)
    order = np.argsort(actual[keep], kind="stable")
    points = {"x": actual[keep][order].tolist(), "y": predicted[keep][order].tolist()}
    return {"series": [{"label": "a test row", "look": "points", **points}]}


def _columns_of(residuals: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    pair = (residuals.get(key) or () for key in ("actual", "predicted"))
    actual, predicted = (np.array(values, dtype=np.float64) for values in pair)
    return actual, predicted


# --- answers on the test set ----------------------------------------------------------------------


def _answers(history: History) -> Markup:
    """The figure of the test set's answers: a confusion matrix, or predicted against true."""
    found = _mapping(history.results.get("confusion"))
    if found.get("classes") and found.get("matrix"):
        return _confusion([str(each) for each in found["classes"]], np.array(found["matrix"]))
    residuals = _mapping(history.results.get("residuals"))
    actual, predicted = _columns_of(residuals)
    if not len(actual):
        return _figure("answers", "Answers", "No answers on a test set were recorded.")
    unit = str(residuals.get("unit") or "")
    sentence = sentences.residuals(actual, predicted, unit)
    chart = _tag("div", class_="chart", data_chart="residuals", role="img", aria_label=sentence)
    title = f"Predicted and true {residuals.get('name') or 'values'}"
    return _figure("residuals", title, sentence, chart, _largest_errors(actual, predicted))


def _figure(name: str, title: str, sentence: str, *parts: Markup, beside: str = "beside") -> Markup:
    caption = _tag("figcaption", _tag("h2", title), _tag("p", sentence, class_="sentence"))
    body = [_tag("div", *parts, class_=beside)] if parts else []
    return _tag("figure", caption, *body, id=name, class_="card wide")


def _confusion(classes: list[str], matrix: np.ndarray) -> Markup:
    many = len(classes) > MAX_CLASSES
    parts = [_hardest(classes, matrix) if many else _matrix(classes, matrix)]
    parts.append(_pairs_confused(classes, matrix))
    sentence = sentences.confusion(classes, matrix)
    beside = "beside halves" if many else "beside" if len(classes) <= 12 else "beside long"
    return _figure("confusion", "Which classes are confused", sentence, *parts, beside=beside)


def _matrix(classes: list[str], matrix: np.ndarray) -> Markup:
    """The whole matrix; each cell's tint is its share of the row (for mistakes, the root of it)."""
    names = [_tag("th", _tag("span", each), scope="col", title=each) for each in classes]
    head = _tag("tr", _tag("td"), *names)
    rows = []
    for i, row in enumerate(matrix.tolist()):
        total = sum(row) or 1
        cells = [_matrix_cell(count, count / total, hit=i == j) for j, count in enumerate(row)]
        rows.append(_tag("tr", _tag("th", classes[i], scope="row", title=classes[i]), *cells))
    long = max(map(len, classes)) > 4
    looks = f"confusion{' long' if long else ''}{' dense' if len(classes) > 16 else ''}"
    caption = _tag("caption", "Down: the true class. Across: the model's answer.")
    table = _tag("table", caption, _tag("thead", head), _tag("tbody", *rows), class_=looks)
    return _tag(
        "div", table, class_="scroll", tabindex=0, role="region", aria_label="Confusion matrix"
    )


def _matrix_cell(count: int, share: float, *, hit: bool) -> Markup:
    if not count:
        return _tag("td", "·", class_="none")
    tint = share if hit else math.sqrt(share)
    return _tag("td", f"{count:,}", class_="hit" if hit else "miss", style=f"--share:{tint:.3f}")


def _pairs_confused(classes: list[str], matrix: np.ndarray) -> Markup:
    """The ten most frequent mistakes (twenty where there is no whole matrix)."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[
        : 10 if len(classes) <= MAX_CLASSES else 20
    ]
    support = matrix.sum(axis=1)
    rows = [
        (classes[i], classes[j], f"{wrong[i, j]:,} of {support[i]:,}")
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    return _table(["True class", "Taken for", "Rows"], rows, class_="plain") if rows else Markup()


def _hardest(classes: list[str], matrix: np.ndarray) -> Markup:
    support, right = matrix.sum(axis=1), np.diag(matrix)
    share = right / np.maximum(support, 1)
    order = [i for i in np.argsort(share, kind="stable") if support[i]][:20]
    rows = [
        (classes[i], percent(float(share[i])), f"{right[i]:,} of {support[i]:,}") for i in order
    ]
    return _table(["Hardest classes", "Recognised", "Rows"], rows, class_="plain")


def _largest_errors(actual: np.ndarray, predicted: np.ndarray) -> Markup:
    error = predicted - actual
    order = np.argsort(-np.nan_to_num(abs(error), nan=np.inf), kind="stable")[:10]
    triples = zip(
        actual[order].tolist(), predicted[order].tolist(), error[order].tolist(), strict=True
    )
    rows = [(number(true), number(said), _signed(off)) for true, said, off in triples]
    return _table(["True value", "Predicted", "Error"], rows, class_="plain numbers")


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{number(abs(value))}"


# --- what the run was made of ---------------------------------------------------------------------


def _pairs(name: str, values: Mapping[str, Any]) -> Markup:
    """A two-column table of names and values; nested values by dotted names; a command apart."""
    flat = dict(_flat(values))
    command = flat.pop("command", None)
    rows = [(key, _plain(value)) for key, value in flat.items()]
    table = _table([name, "Value"], rows, class_="plain") if rows else _tag("p", "Not recorded.")
    if command is None:
        return table
    return _join(
        [_tag("p", "Repeat this run with"), _tag("pre", _tag("code", _plain(command))), table]
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.6g}".replace("inf", "infinity")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(each) for each in value)
    return str(value)


def _columns(described: Sequence[Mapping[str, Any]] | None) -> Markup:
    if not described:
        return _tag("p", "The columns were not recorded.")
    ordered = sorted(described, key=lambda column: column.get("use") != "dropped")
    keys = ("name", "kind", "use", "note")
    rows = [[_plain(column.get(key, "")) for key in keys] for column in ordered]
    table = _table(["Column", "Kind", "Use", "Note"], rows, class_="plain")
    sentence = _tag("p", sentences.columns(described), class_="sentence")
    return _join([sentence, _folded(f"All {several(len(rows), 'column')}", table, len(rows))])


def _events(events: Sequence[Event]) -> Markup:
    if not events:
        return _tag("p", "No event was recorded.")
    rows = [(f"{event.number:,}", event.kind, event.text) for event in events]
    table = _table(["Step", "Event", "What happened"], rows, class_="plain events")
    return _folded(f"All {several(len(rows), 'event')}", table, len(rows))
