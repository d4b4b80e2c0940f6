"""A table of which it is known what matters in it, and tasks of every kind on it."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.metrics import log_loss

import thalweg

ROWS = 600


def rows(count=ROWS, seed=7) -> pl.DataFrame:
    """`copy` tells the class but in the town c; `size` tells a little, noise nothing."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 2, count)
    town = draw.choice(["a", "b", "c"], count, p=[0.5, 0.3, 0.2])
    wrong = (town == "c") & (draw.random(count) < 0.6)
    copy = np.where(wrong, 1 - truth, truth) + 0.01 * draw.normal(size=count)
    return pl.DataFrame(
        {
            "noise": draw.normal(size=count),
            "copy": copy,
            "more noise": draw.normal(size=count),
            "town": town,
            "flat": np.ones(count),
            "size": 3.0 * truth + draw.normal(size=count) * 4,
            "class": np.where(truth == 1, "yes", "no"),
        }
    )


def fit(frame=None, target="class", **settings):
    given = {"model": "linear", "epochs": 20, "lr": 0.05, "out": None, "quiet": True, **settings}
    return thalweg.fit(rows() if frame is None else frame, target=target, **given)


TASKS = {
    "classes": ({"target": "class"}, "accuracy"),
    "numbers": ({"target": "size"}, "rmse"),
    "by auc": ({"target": "class", "metric": "auc"}, "auc"),
    "by loss": ({"target": "class", "metric": "loss"}, "accuracy"),
    "one's own metric": ({"target": "class", "metric": log_loss}, "log_loss"),
    "quantiles": ({"target": "size", "quantiles": "0.1,0.9"}, "rmse"),
    "several": ({"target": "size,copy"}, "rmse"),
    "weights": ({"target": "class", "weights": "heavy"}, "accuracy"),
    "one output": ({"target": "class", "loss": "bce"}, "accuracy"),
    "categories": ({"target": "copy", "columns": "town,size"}, "rmse"),
    "one column": ({"target": "class", "columns": "copy"}, "accuracy"),
}
"""Settings of a fit, and the metric in which it is measured."""
