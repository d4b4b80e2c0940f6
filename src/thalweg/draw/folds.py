"""Folds in words and as a page: each metric's mean and spread, and every fold beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from thalweg.draw import scores
from thalweg.draw.markup import Markup, asset, mapping, policy, table, tag
from thalweg.draw.sentences import metric_value, several

Result = Mapping[str, Any]

PARTS = ("train", "validation", "test")


def folds_text(result: Result) -> str:
    """The summary of a result of `fit --folds`."""
    verdict, folds = result["verdict"], result["folds"]
    lines = [f"{verdict['state'].capitalize()}: {verdict['sentence']}.", ""]
    lines += [
        f"  {f'test {name}':<22}{_value(name, row):>20}  {_range(name, row)}"
        for name, row in folds["metrics"]["test"].items()
    ]
    lines += [
        f"  {result['baselines'][name]['label']:<22}{_value(metric, rows[metric]):>20}"
        for name, rows in folds["baselines"].items()
        for metric in rows
        if metric == scores.main_metric(result)
    ]
    lines += ["", f"folds     {_trained(result)}", f"data      {_data(result)}"]
    if result["run"]:
        lines += [f"report    {result['run']}/report.html"] if _is_whole(result) else []
        lines += [f"next      {_next(result)}"]
    return "\n".join(lines)


def _value(name: str, row: Mapping[str, Any]) -> str:
    """Mean and spread."""
    spread = "" if row["spread"] is None else f" ± {metric_value(name, row['spread'])}"
    return f"{metric_value(name, row['mean'])}{spread}"


def _range(name: str, row: Mapping[str, Any]) -> str:
    low, high = (metric_value(name, each(row["values"])) for each in (min, max))
    return f"from {low} to {high} over the folds"


def _is_whole(result: Result) -> bool:
    return result["folds"]["trained"] == result["folds"]["count"]


def _next(result: Result) -> str:
    if result["status"] == "interrupted":
        return f"go on, thalweg resume {result['run']}"
    return "train the model to use on all rows, thalweg fit without --folds"


def _trained(result: Result) -> str:
    folds = result["folds"]
    return (
        f"{folds['trained']} of {folds['count']}, each tested on rows of its own; "
        f"{several(result['steps'], 'step')} in {result['seconds']:.1f} s"
    )


def _data(result: Result) -> str:
    task = result["task"]
    classes = f", {task['classes']} classes" if task["classes"] else ""
    sizes = ", ".join(f"{_span(task[f'{part}_rows'])} {part}" for part in PARTS)
    return f"{task['rows']:,} rows, {several(task['features'], 'column')}{classes}: {sizes} in each"


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def render_folds(result: Result, *, title: str) -> str:
    """The page of all folds as one string."""
    folds = result["folds"]
    parts = [
        tag("h1", title),
        tag("p", f"{_trained(result)} · {_data(result)}", class_="facts"),
    ]
    verdict = mapping(result.get("verdict"))
    body = [
        _card("Verdict", tag("p", f"{str(verdict.get('sentence')).capitalize()}.")),
        _card("Mean and spread over the folds", _means(result)),
        _card("Every fold", _every(folds)),
    ]
    split = mapping(result.get("split"))
    said = [*(split.get("notices") or ()), *(split.get("warnings") or ())]
    if said:
        body.append(_card("The split of the first fold", *(tag("p", text) for text in said)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)} · thalweg folds</title>\n<style>\n{asset('page.css')}</style>\n"
        f"</head>\n<body>\n{tag('header', *parts)}\n{tag('main', *body)}\n</body>\n</html>\n"
    )


def _card(title: str, *inside: Markup) -> Markup:
    return tag("section", tag("h2", title), *inside, class_="card")


def _means(result: Result) -> Markup:
    folds = result["folds"]
    rows = [
        (f"{part} {name}", _value(name, row), _range(name, row))
        for part in ("test", "validation", "train")
        for name, row in folds["metrics"][part].items()
    ]
    rows += [
        (f"{result['baselines'][kind]['label']}: {name}", _value(name, row), _range(name, row))
        for kind, values in folds["baselines"].items()
        for name, row in values.items()
    ]
    return table(["Scored", "Mean ± spread of a fold", "Range"], rows, class_="plain")


def _every(folds: Mapping[str, Any]) -> Markup:
    measured = folds["metrics"]["test"]
    rows = [
        (f"fold {i + 1}", *(metric_value(name, row["values"][i]) for name, row in measured.items()))
        for i in range(folds["trained"])
    ]
    return table(["Tested", *(f"test {name}" for name in measured)], rows, class_="plain")
