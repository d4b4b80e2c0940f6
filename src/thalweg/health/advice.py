"""How a result compares with its baselines, and what to do next, in a few words each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRICS = {"classification": "accuracy", "regression": "rmse"}


def beats_tree(result: Mapping[str, Any]) -> bool | None:
    """Did the model score better on test than the decision tree? None where there is nothing to
    compare.
    """
    metric = METRICS.get(result["task"]["kind"])
    tree = result["baselines"].get("tree")
    if metric is None or tree is None or metric not in result["test"]:
        return None
    own, other = result["test"][metric], tree[metric]
    return own >= other if metric == "accuracy" else own <= other


def comparison(result: Mapping[str, Any]) -> str | None:
    """The model beside the baselines, in a few words; None where there is nothing to compare."""
    better = beats_tree(result)
    if better is None:
        return None
    worse = [] if _beats_constant(result) else [f"no better than {_constant(result)['label']}"]
    worse += [] if better else ["worse than a depth-6 tree"]
    return " and ".join(worse) or "better than both baselines"


def _beats_constant(result: Mapping[str, Any]) -> bool:
    if "accuracy" in _constant(result):
        return result["test"]["accuracy"] > _constant(result)["accuracy"]
    return result["test"]["rmse"] < _constant(result)["rmse"]


def _constant(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return result["baselines"]["constant"]


def next_step(result: Mapping[str, Any]) -> str:
    """The one thing to try next, or how to use the model."""
    return _remedy(result) or _use(result)


def _use(result: Mapping[str, Any]) -> str:
    if result["run"] is None:
        return "predict new rows, run.predict(frame)"
    return f"predict new rows, thalweg predict {result['run']} NEW.csv"


def _remedy(result: Mapping[str, Any]) -> str | None:
    """What to change, where something is to be changed."""
    verdict = result["verdict"]
    if verdict["findings"]:
        return verdict["findings"][0]["advice"]
    if result["status"] == "interrupted":
        return "run it again without stopping it, for a result you can judge"
    if verdict["state"] == "improving":
        return f"{_use(result)}; or train longer: --epochs {_twice(result['epochs'])}"
    if beats_tree(result) is False:
        return "a tree does better here: try --lr three times lower and higher, or use the tree"
    if verdict["state"] == "stalled":
        return f"{_use(result)}; more steps alone will not help, another --lr may"
    return None


def _twice(epochs: float) -> int:
    return max(2, round(2 * epochs))
