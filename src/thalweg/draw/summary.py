"""The end of a fit in words: at most 20 lines, the verdict first, and what to do next last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.health.advice import beats_tree, next_step

Result = Mapping[str, Any]


def summary_text(result: Result) -> str:
    """The summary of a result of `fit`."""
    verdict = result["verdict"]
    lines = [f"{verdict['state'].capitalize()}: {verdict['sentence']}.", ""]
    lines += [f"  {label:<22}{value:>12}  {note}".rstrip() for label, value, note in _rows(result)]
    lines += [f"  {_comparison(result)}"] if _comparison(result) else []
    lines += ["", f"trained   {_trained(result)}"]
    lines += [f"data      {_data(result)}"]
    lines += [f"report    {result['run']}/report.html"] if result["run"] else []
    lines += [f"next      {next_step(result)}"]
    return "\n".join(lines)


def _rows(result: Result) -> list[tuple[str, str, str]]:
    kind = result["task"]["kind"]
    if kind == "classification":
        return _accuracy_rows(result)
    if kind == "regression":
        return _rmse_rows(result)
    return [("test loss", f"{result['test']['loss']:.4g}", "")]


def _accuracy_rows(result: Result) -> list[tuple[str, str, str]]:
    test = result["test"]
    wrong = round((1 - test["accuracy"]) * result["task"]["test_rows"])
    note = f"{wrong:,} of {result['task']['test_rows']:,} unseen rows wrong"
    rows = [("test accuracy", f"{test['accuracy']:.1%}", note)]
    return rows + [
        (row["label"], f"{row['accuracy']:.1%}", "") for row in result["baselines"].values()
    ]


def _rmse_rows(result: Result) -> list[tuple[str, str, str]]:
    test = result["test"]
    note = f"typical error on unseen rows; explains {test['r2']:.1%} of the variation"
    rows = [("test rmse", f"{test['rmse']:.4g}", note)]
    return rows + [(row["label"], f"{row['rmse']:.4g}", "") for row in result["baselines"].values()]


def _comparison(result: Result) -> str:
    better = beats_tree(result)
    if better is None:
        return ""
    return "better than both baselines" if better and _beats_constant(result) else _worse(result)


def _beats_constant(result: Result) -> bool:
    constant = result["baselines"]["constant"]
    if "accuracy" in constant:
        return result["test"]["accuracy"] > constant["accuracy"]
    return result["test"]["rmse"] < constant["rmse"]


def _worse(result: Result) -> str:
    worse = []
    if not _beats_constant(result):
        worse.append(f"no better than {result['baselines']['constant']['label']}")
    if beats_tree(result) is False:
        worse.append("worse than a depth-6 tree")
    return " and ".join(worse)


def _trained(result: Result) -> str:
    batch = result["batch_size"]
    shown = "full batch" if batch == "full" else f"batch size {batch}"
    return (
        f"{result['optimizer']}, lr {result['lr']:g}, {shown}: {result['steps']:,} steps "
        f"({result['epochs']:.4g} epochs) in {result['seconds']:.1f} s"
    )


def _data(result: Result) -> str:
    task = result["task"]
    classes = f", {task['classes']} classes" if task["classes"] else ""
    return (
        f"{task['rows']:,} rows, {task['features']} columns{classes}: "
        f"{task['train_rows']:,} train, {task['validation_rows']:,} validation, "
        f"{task['test_rows']:,} test"
    )
