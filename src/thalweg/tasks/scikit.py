"""The one door to scikit-learn. It opens when something of it is first needed: its import takes a
second or two, and up to the first step hardly anything is.
"""

from __future__ import annotations

from typing import Any


def tree(*, of_classes: bool, **settings: Any) -> Any:
    """A decision tree, not yet grown."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    return (DecisionTreeClassifier if of_classes else DecisionTreeRegressor)(**settings)


def metrics() -> Any:
    """`sklearn.metrics`."""
    from sklearn import metrics

    return metrics


def digits() -> Any:
    """Handwritten digits: `data` (1,797, 64), `target` and `feature_names`."""
    from sklearn.datasets import load_digits

    return load_digits()
