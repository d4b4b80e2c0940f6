"""Results of several folds as one: the mean of each number, and how far the folds lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

SETS = ("train", "validation", "test")


def spread_of(results: Sequence[Mapping[str, Any]], *, count: int) -> dict[str, Any]:
    """One object of the results of `fit`; count: of the folds that were asked for.

    `test`, `validation`, `train` and `baselines` hold means; `folds.metrics` the values behind them
    with their spread, the standard deviation of single folds (None for one fold).
    """
    first = results[0]
    metrics = {part: _measured([result[part] for result in results]) for part in SETS}
    last = results[-1]
    return {
        "schema": 1,
        "command": "fit",
        "status": last["status"] if last["status"] == "interrupted" else "folds",
        "reason": f"{len(results)} of {count} folds were trained",
        "run": None,
        "folds": {
            "count": count,
            "trained": len(results),
            "runs": [result["run"] for result in results],
            "metrics": metrics,
            "baselines": _baselines(results),
        },
        "task": {
            **{name: first["task"][name] for name in ("kind", "rows", "features", "classes")},
            **{
                f"{part}_rows": [result["task"][f"{part}_rows"] for result in results]
                for part in SETS
            },
        },
        "split": first.get("split"),
        "target": first["target"],
        "model": first["model"],
        "optimizer": first["optimizer"],
        "lr": first["lr"],
        "batch_size": first["batch_size"],
        "steps": sum(result["steps"] for result in results),
        "seconds": round(sum(result["seconds"] for result in results), 3),
        **{part: _means(values) for part, values in metrics.items()},
        "baselines": {
            name: {"label": first["baselines"][name]["label"], **_means(values)}
            for name, values in _baselines(results).items()
        },
    }


def _measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each number that every row has: its mean, its spread, and the values."""
    names = [name for name, value in rows[0].items() if isinstance(value, int | float)]
    return {name: _of([float(row[name]) for row in rows]) for name in names}


def _of(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return {"mean": mean, "spread": None, "values": values}
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return {"mean": mean, "spread": spread, "values": values}


def _means(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: row["mean"] for name, row in values.items()}


def _baselines(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The baselines that every fold has, measured in the same way."""
    names = [
        name
        for name in results[0]["baselines"]
        if all(name in result["baselines"] for result in results)
    ]
    return {name: _measured([result["baselines"][name] for result in results]) for name in names}
