"""How a result compares with its baselines, and what to do next, in a few words each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

METRICS = {
    "classification": "accuracy",
    "regression": "rmse",
    "multilabel": "accuracy",
    "language": "bits_per_character",
}
STRONG = {
    "tree": "a depth-6 tree",
    "words": "naive Bayes on the same tokens",
    "trigram": "a table of triples of bytes",
}
"""The stronger baseline of each kind of data, in words."""

Side = Literal["better", "equal", "worse"]


def beside(result: Mapping[str, Any], baseline: str) -> Side | None:
    """The model's test score beside that of the "tree" or the "constant"; None: not comparable."""
    metric = _compared_by(result)
    row = result["baselines"].get(baseline)
    if metric is None or row is None or metric not in result["test"] or metric not in row:
        return None
    own, other = result["test"][metric], row[metric]
    if own == other:
        return "equal"
    rises = metric == "accuracy"
    rises = result["metric_rises"] if metric == result.get("metric") else rises
    return "better" if (own > other) == rises else "worse"


def _compared_by(result: Mapping[str, Any]) -> str | None:
    """The metric that was asked for, where the constant has it as well, or that of the kind."""
    asked = result.get("metric", "loss")
    has_it = asked in result["baselines"].get("constant", {})
    return asked if has_it else METRICS.get(result["task"]["kind"])


def comparison(result: Mapping[str, Any]) -> str | None:
    """The model beside the baselines, in a few words; None where there is nothing to compare."""
    strong = next((name for name in STRONG if name in result["baselines"]), "tree")
    tree, constant = beside(result, strong), beside(result, "constant")
    if constant is None:
        return None
    if constant != "better":
        also = f", and worse than {STRONG[strong]}" if tree == "worse" else ""
        return f"no better than {result['baselines']['constant']['label']}{also}"
    words = {
        "better": "better than both baselines",
        "equal": f"as good as {STRONG[strong]}, which is simpler",
        "worse": f"worse than {STRONG[strong]}",
        None: f"better than {result['baselines']['constant']['label']}",
    }
    return words[tree]


def next_step(result: Mapping[str, Any]) -> str:
    """The one thing to try next, or how to use the model."""
    return _remedy(result) or _use(result)


def _use(result: Mapping[str, Any]) -> str:
    if result["run"] is None:
        return "predict new rows, run.predict(...)"
    if result["task"]["kind"] == "language":
        return f'let it write, thalweg predict {result["run"]} --prompt "..."'
    if result["target"] is None:
        made = f"model={result['model']}(...)"
        return f"predict in Python, thalweg.load({result['run']!r}, {made}).predict(inputs)"
    if result.get("images"):
        return f"predict new pictures, thalweg predict {result['run']} NEW.png"
    return f"predict new rows, thalweg predict {result['run']} NEW.csv"


def _remedy(result: Mapping[str, Any]) -> str | None:
    """What to change, where something is to be changed."""
    verdict, rates = result["verdict"], _rates(result["lr"])
    if verdict["findings"]:
        return verdict["findings"][0]["advice"]
    if result["status"] == "interrupted":
        return f"{_use(result)}; or {_end(result['run'])}"
    if verdict["state"] == "unknown":
        return f"{_use(result)}; or train longer, --epochs {_twice(result['epochs'])}"
    if beside(result, "constant") in ("equal", "worse"):
        return f"it has learnt nothing of use: try other rates, --lr {rates}"
    if beside(result, "tree") == "worse" and verdict["state"] != "improving":
        return f"a tree does better: try other rates, --lr {rates}, or use the tree"
    return None if result["test"].get("accuracy") == 1.0 else _more(result)


def _end(run: str | None) -> str:
    """How a run that was interrupted comes to its end."""
    return "run it again to its end" if run is None else f"go on to its end, thalweg resume {run}"


def _more(result: Mapping[str, Any]) -> str | None:
    """How a model that is of use may become better yet."""
    more = {
        "improving": f"or train longer, --epochs {_twice(result['epochs'])}",
        "stalled": "more steps alone will not help, another --lr may",
    }.get(result["verdict"]["state"])
    return None if more is None else f"{_use(result)}; {more}"


def _rates(lr: float) -> str:
    """A lower and a higher learning rate."""
    return f"{lr / 3:.1g} and {lr * 3:.1g}"


def _twice(epochs: float) -> int:
    return max(2, round(2 * epochs))
