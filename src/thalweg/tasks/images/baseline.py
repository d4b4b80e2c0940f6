"""What pictures are scored beside: the same answer always, and a tree on a few pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from thalweg.tasks import baselines
from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.table import several
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.target import Target

SIDE = 8
"""The tree sees a picture as the means of so many fields a side."""

MOST_GROWN = 10_000
"""Training pictures of which it is grown, spread over them."""

BLOCK = 256


def baselines_of(
    sources: tuple[PictureSource, PictureSource], target: Target
) -> Callable[[int], dict[str, baselines.Scores]]:
    """baselines(seed) -> scores on the test pictures; sources: to train and to test."""

    def score(seed: int) -> dict[str, baselines.Scores]:
        step = -(-len(sources[0]) // MOST_GROWN)
        train, test = np.arange(0, len(sources[0]), step), np.arange(len(sources[1]))
        inputs = _pixels(sources[0], train), _pixels(sources[1], test)
        labels = [
            source.targets.numpy(force=True)[rows]
            for source, rows in zip(sources, (train, test), strict=True)
        ]
        if target.num_outputs > 1 and target.task != "classification":
            rows = Split(np.arange(len(train)), np.arange(0), len(train) + test)
            return several.scores(
                np.concatenate(inputs), np.concatenate(labels), rows, target, seed
            )
        if target.task != "classification":
            labels = [row.astype(np.float64) * target.deviation + target.mean for row in labels]
        names = target.classes if target.task == "classification" else None
        found = baselines.scores((inputs[0], labels[0]), (inputs[1], labels[1]), names, seed)
        if "tree" in found:
            found["tree"]["label"] = f"decision tree, {SIDE}x{SIDE} pixels"
        return found

    return score


def _pixels(source: PictureSource, rows: np.ndarray) -> np.ndarray:
    """Each picture as the means of SIDE x SIDE fields, float32 (n, values)."""
    found = []
    for some in np.array_split(rows, max(1, -(-len(rows) // BLOCK))):
        batch = torch.from_numpy(source.bytes_of(some)).permute(0, 3, 1, 2).float()
        found.append(adaptive_avg_pool2d(batch, SIDE).flatten(1).numpy())
    return np.concatenate(found)
