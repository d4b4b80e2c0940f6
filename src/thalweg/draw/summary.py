"""The end of a fit in words: at most 20 lines, the verdict first, and what to do next last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.draw import mattered_words
from thalweg.draw.sentences import several

Result = Mapping[str, Any]


NOTES = {
    ("accuracy", "constant"): "the commonest class, whatever the row",
    ("accuracy", "tree"): "for comparison, on the same rows",
    ("rmse", "constant"): "whatever the row",
    ("rmse", "tree"): "for comparison, on the same rows",
    ("accuracy", "words"): "for comparison, on the same texts",
    ("bits_per_character", "constant"): "whatever stands before",
    ("bits_per_character", "bigram"): "counts, for comparison",
    ("bits_per_character", "trigram"): "counts, for comparison",
}
"""What a baseline is, by metric and name."""


HEADS = {"regression": ("rmse", ".4g"), "language": ("bits_per_character", ".4g")}
"""The metric that stands first, where it is not the accuracy, and how it is written."""

NAMES = {"bits_per_character": "bits"}

MOST_SEEN = 3
"""Findings that are told; the report has all."""

MOST_PARTS = 4
"""Losses of a task of the user's own, or targets, each of which has a line."""

SAYINGS = ("threshold", "intervals", "fine_tuning")
"""Parts of a result that say in a sentence what is special about the answers."""


def summary_text(result: Result) -> str:
    """The summary of a result of `fit`."""
    verdict = result["verdict"]
    lines = [f"{verdict['state'].capitalize()}: {verdict['sentence']}.", ""]
    lines += [f"  {label:<22}{value:>12}  {note}".rstrip() for label, value, note in _rows(result)]
    lines += [f"  {result['comparison']}"] if result["comparison"] else []
    lines += [f"  {row['sentence']}" for row in map(result.get, SAYINGS) if row]
    lines += [f"  {text}" for text in mattered_words.lines(result)]
    lines += [f"  {text}" for text in _seen(verdict["findings"])]
    lines += ["", f"trained   {_trained(result)}"]
    lines += [f"data      {_data(result)}"]
    lines += [f"report    {result['run']}/report.html"] if result["run"] else []
    lines += [f"next      {result['next']}"]
    return "\n".join(lines)


def _seen(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the detectors saw in the curves, a line each; what ended the run is said already."""
    seen = [each for each in findings if "says" in each["evidence"]]
    return [
        f"{each['code']} {each['name']} ({_sure(each)}): {each['evidence']['says']}"
        for each in seen[:MOST_SEEN]
    ]


def _sure(finding: Mapping[str, Any]) -> str:
    after = " after trials" if "confidence_before" in finding["evidence"] else ""
    return f"{100 * finding['confidence']:.0f}% sure{after}"


def _rows(result: Result) -> list[tuple[str, str, str]]:
    """(label, value, note) of the test score and of each baseline."""
    test, kind = result["test"], result["task"]["kind"]
    if kind is None:
        parts = [(f"  {name}", format(test[name], ".4g"), "") for name in test if name != "loss"]
        return [("test loss", format(test["loss"], ".4g"), "on unseen rows"), *parts[:MOST_PARTS]]
    metric, spec = HEADS.get(kind, ("accuracy", ".1%"))
    name = NAMES.get(metric, metric)
    rows = [(f"test {name}", format(test[metric], spec), _note(result)), *_targets(test)]
    asked = result.get("metric", "loss")
    if asked not in (metric, "loss") and asked in test:
        side = "larger" if result["metric_rises"] else "smaller"
        rows.insert(0, (f"test {asked}", format(test[asked], ".4g"), f"watched: {side} is better"))
    return rows + [
        (row["label"], format(row[metric], spec), NOTES[metric, name])
        for name, row in result["baselines"].items()
    ]


def _targets(test: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Of several numeric targets each one's error, in its own unit."""
    return [
        (f"  of {name}", format(test[f"rmse_{name}"], ".4g"), _explained(test[f"r2_{name}"]))
        for name in _several(test)[:MOST_PARTS]
    ]


def _several(test: Mapping[str, float]) -> list[str]:
    """The names of several numeric targets; none where there is one."""
    names = [name.removeprefix("rmse_") for name in test if name.startswith("rmse_")]
    return [name for name in names if f"r2_{name}" in test]


def _note(result: Result) -> str:
    """What the test score means."""
    test, rows = result["test"], result["task"]["test_rows"]
    if "bits_per_byte" in test:
        return f"bits per character of unseen text; {test['bits_per_byte']:.4g} per byte"
    if "accuracy" in test and result.get("weights"):
        return f"{1 - test['accuracy']:.1%} of the weight of {rows:,} unseen rows wrong"
    if "accuracy" in test:
        return f"{round((1 - test['accuracy']) * rows):,} of {rows:,} unseen rows wrong"
    unit = ", in deviations of each target" if _several(test) else ""
    explained = _explained(test["r2"])
    return "; ".join(filter(None, (f"typical error on unseen rows{unit}", explained)))


def _explained(r2: float) -> str:
    """What share of the variation a model explains; empty where that cannot be said."""
    if math.isnan(r2):
        return ""
    return f"{f'{r2:.1%}' if r2 > 0 else 'nothing'} of the variation explained"


def _trained(result: Result) -> str:
    batch = result["batch_size"]
    size = "full batch" if batch == "full" else f"batch size {batch}"
    epochs = f"{result['epochs']:.4g} {'epoch' if result['epochs'] == 1 else 'epochs'}"
    return (
        f"{result['optimizer']}, lr {result['lr']:g}, {size}: {several(result['steps'], 'step')} "
        f"({epochs}) in {result['seconds']:.1f} s"
    )


def _data(result: Result) -> str:
    task = result["task"]
    classes = f", {task['classes']} classes" if task["classes"] else ""
    if task["kind"] == "language":
        return (
            f"{task['rows']:,} windows of {task['features']} bytes: {task['train_rows']:,} train, "
            f"{task['validation_rows']:,} validation, {task['test_rows']:,} test"
        )
    images = result.get("images")
    size = several(task["features"], "column")
    size = f"{images['width']}x{images['height']} pixels" if images else size
    return (
        f"{task['rows']:,} rows, {size}{classes}: "
        f"{task['train_rows']:,} train, {task['validation_rows']:,} validation, "
        f"{task['test_rows']:,} test"
    )
