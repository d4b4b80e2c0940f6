"""What goes in when it trains beside what goes in when it is evaluated: sizes, column by column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from thalweg.health.data import DEVIATIONS, TIMES
from thalweg.probes.rows import thinned
from thalweg.sample_facts import Apart

ENOUGH, FEWEST = 512, 32
"""Rows of each that are measured, the first ones."""


class Sizes:
    """Sums on the tensors' own device, which are read when facts are asked for.

    >>> sizes, x = Sizes(), torch.linspace(0, 1, 128).view(64, 2)
    >>> sizes.trained([x])
    >>> sizes.evaluated([255 * x])
    >>> sizes.facts().num_off, round(sizes.facts().scale, 3)
    (2, 255.0)
    """

    def __init__(self) -> None:
        self._train, self._other = _Sums(), _Sums()

    def trained(self, inputs: Sequence[Tensor]) -> None:
        """A batch that is trained on."""
        self._train.add(inputs)

    def evaluated(self, inputs: Sequence[Tensor]) -> None:
        """One that an evaluation measures."""
        self._other.add(inputs)

    def facts(self) -> Apart | None:
        """None: of one of them too few rows came, or they cannot be set beside each other."""
        if min(self._train.rows, self._other.rows) < FEWEST:
            return None
        mean, square, size = self._train.read()
        other_mean, other_square, other_size = self._other.read()
        if len(mean) != len(other_mean):
            return None
        spread = np.sqrt(np.maximum(square - mean**2, 0.0))
        varies = np.flatnonzero((spread > 1e-6 * np.maximum(size, 1e-30)) & (other_size > 0))
        if not len(varies):
            return None
        # a few outliers rule the squares, and noise on what is mostly 0 the absolute values
        by_square = np.sqrt(other_square[varies] / square[varies])
        scale = np.minimum(other_size[varies] / size[varies], by_square)
        shift = np.abs(other_mean - mean)[varies] / spread[varies]
        worst = int(np.argmax(np.maximum(scale / TIMES, shift / DEVIATIONS)))
        num_off = int(((scale > TIMES) | (shift > DEVIATIONS)).sum())
        place, numbers = int(varies[worst]), (float(scale[worst]), float(shift[worst]))
        return Apart(len(varies), num_off, place, *numbers)


class _Sums:
    """Of values, squares and absolute values, a column each; the last are not ruled by outliers."""

    def __init__(self) -> None:
        self.rows = 0
        self._parts: list[Tensor] = []

    @torch.no_grad()
    def add(self, inputs: Sequence[Tensor]) -> None:
        x = inputs[0]
        if self.rows >= ENOUGH or not x.is_floating_point():
            return
        values = thinned(x.detach()[: ENOUGH - self.rows]).double()
        self.rows += len(values)
        kinds = values, values.square(), values.abs()
        self._parts.append(torch.stack([each.sum(0) for each in kinds]))

    def read(self) -> np.ndarray:
        """The three means, (3, columns); no columns where batches differ in width."""
        if len({part.shape for part in self._parts}) != 1:
            return np.empty((3, 0))
        return torch.stack(self._parts).sum(0).cpu().numpy() / self.rows
