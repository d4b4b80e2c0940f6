"""The figure of the test set's answers: a confusion matrix, or predicted against true values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from thalweg.draw import sentences
from thalweg.draw.curves import columns_of
from thalweg.draw.markup import Markup, mapping, table, tag
from thalweg.draw.samples import samples
from thalweg.draw.sentences import number, percent

if TYPE_CHECKING:
    from thalweg.record.history import History

MAX_CLASSES = 30
"""Above this many classes the confusion matrix gives way to its most confused pairs."""


def answers(history: History) -> Markup:
    """The figure of the test set's answers: a confusion matrix, or predicted against true."""
    if written := history.results.get("samples"):
        return samples(written)
    found = mapping(history.results.get("confusion"))
    if found.get("classes") and found.get("matrix"):
        return _confusion([str(each) for each in found["classes"]], np.array(found["matrix"]))
    residuals = mapping(history.results.get("residuals"))
    actual, predicted = columns_of(residuals)
    if not len(actual):
        return _figure("answers", "Answers", "No answers on a test set were recorded.")
    unit = str(residuals.get("unit") or "")
    sentence = sentences.residuals(actual, predicted, unit)
    chart = tag("div", class_="chart", data_chart="residuals", role="img", aria_label=sentence)
    title = f"Predicted and true {residuals.get('name') or 'values'}"
    return _figure("residuals", title, sentence, chart, _largest_errors(actual, predicted))


def _figure(name: str, title: str, sentence: str, *parts: Markup, beside: str = "beside") -> Markup:
    caption = tag("figcaption", tag("h2", title), tag("p", sentence, class_="sentence"))
    body = [tag("div", *parts, class_=beside)] if parts else []
    return tag("figure", caption, *body, id=name, class_="card wide")


def _confusion(classes: list[str], matrix: np.ndarray) -> Markup:
    many = len(classes) > MAX_CLASSES
    parts = [_hardest(classes, matrix) if many else _matrix(classes, matrix)]
    parts.append(_pairs_confused(classes, matrix))
    sentence = sentences.confusion(classes, matrix)
    beside = "beside halves" if many else "beside" if len(classes) <= 12 else "beside long"
    return _figure("confusion", "Which classes are confused", sentence, *parts, beside=beside)


def _matrix(classes: list[str], matrix: np.ndarray) -> Markup:
    """The whole matrix; each cell's tint is its share of the row (for mistakes, the root of it)."""
    names = [tag("th", tag("span", each), scope="col", title=each) for each in classes]
    head = tag("tr", tag("td"), *names)
    rows = []
    for i, row in enumerate(matrix.tolist()):
        total = sum(row) or 1
        cells = [_matrix_cell(count, count / total, hit=i == j) for j, count in enumerate(row)]
        rows.append(tag("tr", tag("th", classes[i], scope="row", title=classes[i]), *cells))
    long = max(map(len, classes)) > 4
    looks = f"confusion{' long' if long else ''}{' dense' if len(classes) > 16 else ''}"
    caption = tag("caption", "Down: the true class. Across: the model's answer.")
    table = tag("table", caption, tag("thead", head), tag("tbody", *rows), class_=looks)
    return tag(
        "div", table, class_="scroll", tabindex=0, role="region", aria_label="Confusion matrix"
    )


def _matrix_cell(count: int, share: float, *, hit: bool) -> Markup:
    if not count:
        return tag("td", "·", class_="none")
    tint = share if hit else math.sqrt(share)
    return tag("td", f"{count:,}", class_="hit" if hit else "miss", style=f"--share:{tint:.3f}")


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
    return table(["True class", "Taken for", "Rows"], rows, class_="plain") if rows else Markup()


def _hardest(classes: list[str], matrix: np.ndarray) -> Markup:
    support, right = matrix.sum(axis=1), np.diag(matrix)
    share = right / np.maximum(support, 1)
    order = [i for i in np.argsort(share, kind="stable") if support[i]][:20]
    rows = [
        (classes[i], percent(float(share[i])), f"{right[i]:,} of {support[i]:,}") for i in order
    ]
    return table(["Hardest classes", "Recognised", "Rows"], rows, class_="plain")


def _largest_errors(actual: np.ndarray, predicted: np.ndarray) -> Markup:
    error = predicted - actual
    order = np.argsort(-np.nan_to_num(abs(error), nan=np.inf), kind="stable")[:10]
    triples = zip(
        actual[order].tolist(), predicted[order].tolist(), error[order].tolist(), strict=True
    )
    rows = [(number(true), number(said), _signed(off)) for true, said, off in triples]
    return table(["True value", "Predicted", "Error"], rows, class_="plain numbers")


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{number(abs(value))}"
