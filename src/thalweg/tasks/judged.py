"""The baselines of a study that is weighted, or watched by another metric: scored alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.tasks import scikit
from thalweg.tasks.baselines import MOST_VALUES, TREE_DEPTH, Scores
from thalweg.tasks.metrics import Metric
from thalweg.tasks.reading import Reading
from thalweg.tasks.sources import Arrays
from thalweg.tasks.study import Study


def judged_baselines(
    study: Study, metrics: tuple[Metric, ...], reading: Reading
) -> Callable[[int], dict[str, Scores]]:
    """baselines(seed) -> the constant and a tree on the encoded inputs, by the metrics given.

    Where the data is not in memory, or has no single target, the study's own are kept.
    """
    train, test = study.train, study.test
    if not isinstance(train, Arrays) or not isinstance(test, Arrays) or train.targets.dim() != 1:
        return study.baselines
    judge = _Judge(study, metrics, train, test, reading)

    def score(seed: int) -> dict[str, Scores]:
        found = {"constant": judge.constant()}
        is_text = study.schema is not None and study.schema.words is not None
        if train.inputs.numel() <= MOST_VALUES and not is_text:
            found["tree"] = judge.tree(seed)
        return found

    return score


class _Judge:
    """Scores answers that no model gave, as a model's are scored."""

    def __init__(
        self,
        study: Study,
        metrics: tuple[Metric, ...],
        train: Arrays,
        test: Arrays,
        reading: Reading,
    ):
        self.study, self.metrics = study, metrics
        self.train, self.test = train.to(torch.device("cpu")), test.to(torch.device("cpu"))
        self.reading = reading
        self.mass = None if train.weights is None else self.train.weights.double().numpy()  # pyright: ignore[reportOptionalMemberAccess]

    def constant(self) -> Scores:
        """The commonest class with every class's share, or the mean, or the quantiles."""
        truth = self.train.targets.numpy()
        count = len(self.test)
        if self.study.kind == "classification":
            names = self.study.classes or tuple(str(i) for i in range(int(truth.max()) + 1))
            shares = np.bincount(truth, self.mass, minlength=len(names)).astype(np.float64)
            label = f"always {names[int(shares.argmax())]}"
            return {"label": label, **self._of_classes(np.tile(shares / shares.sum(), (count, 1)))}
        mean = float(np.average(truth.astype(np.float64), weights=self.mass))
        found = self._of_numbers(np.full(count, mean))
        shown = mean * self.study.deviation + self.study.mean
        return {"label": f"always the mean, {shown:.4g}", **found, **self._of_levels(truth)}

    def tree(self, seed: int) -> Scores:
        """A tree of depth TREE_DEPTH."""
        label = f"decision tree, depth {TREE_DEPTH}"
        inputs, more = (x.inputs.flatten(1).numpy() for x in (self.train, self.test))
        truth = self.train.targets.numpy()
        of_classes = self.study.kind == "classification"
        model = scikit.tree(of_classes=of_classes, max_depth=TREE_DEPTH, random_state=seed)
        model.fit(inputs, truth, sample_weight=self.mass)
        if not of_classes:
            return {"label": label, **self._of_numbers(model.predict(more))}
        count = max(len(self.study.classes or ()), int(max(model.classes_)) + 1)
        probabilities = np.zeros((len(more), count))
        probabilities[:, model.classes_] = model.predict_proba(more)
        return {"label": label, **self._of_classes(probabilities)}

    def _of_classes(self, probabilities: np.ndarray) -> Scores:
        """Logarithms are logits whose softmax gives the probabilities back."""
        logits = torch.from_numpy(np.log(probabilities.clip(1e-15)))
        return self._scores(logits, Reading("softmax", positive=self.reading.positive))

    def _of_numbers(self, numbers: np.ndarray) -> Scores:
        found = self._scores(torch.from_numpy(numbers.astype(np.float64)), Reading("identity"))
        if self.reading.link == "quantiles":
            found.pop("pinball", None)  # one number is no interval
        return found

    def _of_levels(self, truth: np.ndarray) -> Scores:
        """The training rows' own quantiles."""
        if self.reading.link != "quantiles":
            return {}
        order = np.argsort(truth, kind="stable")
        mass = np.ones(len(truth)) if self.mass is None else self.mass
        reached = np.cumsum(mass[order]) / mass.sum()
        places = np.searchsorted(reached, self.reading.quantiles).clip(max=len(truth) - 1)
        levels = torch.from_numpy(truth[order][places].astype(np.float64))
        found = self._scores(levels.expand(len(self.test), -1), self.reading)
        return {name: found[name] for name in ("pinball",) if name in found}

    def _scores(self, outputs: Tensor, reading: Reading) -> dict[str, Any]:
        rows = (metric.bound(reading, metric.deviation) for metric in self.metrics)
        return {row.name: row(outputs, self.test.targets, self.test.weights) for row in rows}
