"""Random augmentation that is counted: a picture's shift and flip are a function of its key alone.

The key is that of the seed, the epoch and the place in its order, so that a run which goes on, or
has other workers, sees the same pictures.
"""

from __future__ import annotations

import numpy as np

from thalweg.keys import Purpose, key
from thalweg.tasks.images.words import FLIP, NONE
from thalweg.types import LOOK, Stretch

SHARE = 8
"""A picture is shifted by up to a SHARE-th of its sides, each way."""


def reach(side: int) -> int:
    """Pixels that it is shifted by at most."""
    return max(1, round(side / SHARE))


def augmented(pictures: np.ndarray, stretch: Stretch, kind: str) -> np.ndarray:
    """Pictures (n, height, width, channels), each drawn anew; as they are for a mere look."""
    if kind == NONE or stretch.epoch == LOOK:
        return pictures
    found = np.empty_like(pictures)
    for i, picture in enumerate(pictures):
        value = key(Purpose.SAMPLE, stretch.seed, stretch.epoch, stretch.start + i)
        found[i] = _drawn(picture, value, has_flips=kind == FLIP)
    return found


def _drawn(picture: np.ndarray, value: int, *, has_flips: bool) -> np.ndarray:
    """The picture, shifted and perhaps flipped, as a key of 63 bits says."""
    height, width = picture.shape[:2]
    value, down = divmod(value, 2 * reach(height) + 1)
    value, right = divmod(value, 2 * reach(width) + 1)
    rows = _mirrored(height, down - reach(height))
    columns = _mirrored(width, right - reach(width))
    if has_flips and value % 2:
        columns = columns[::-1]
    return picture.take(rows, axis=0).take(columns, axis=1)


def _mirrored(side: int, shift: int) -> np.ndarray:
    """Where each pixel comes from; beyond the edge the picture is mirrored."""
    places = np.arange(side) - shift
    places = np.where(places < 0, -1 - places, places)
    return np.where(places >= side, 2 * side - 1 - places, places)
