"""Numbers spread over bins, so that a model can bend where the data lies (Gorishniy et al. 2022).

A number that enters as one input can only be scaled by the first layer. Here it becomes NUM_BINS
more, one for each bin: 0 below it, 1 above it, and in between the share of the way through.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

NUM_BINS = 16
MOST_ROWS = 100_000
"""Training rows, evenly spaced, from which edges are learnt."""


class Bins(nn.Module):
    """(n, k) -> (n, k * num_outputs): each number itself, then its place in each of its bins.

    low, size: of the bins, (k, NUM_BINS), learnt from the training rows and kept with the weights;
    a bin of size 0 gives 0
    """

    low: Tensor
    size: Tensor
    num_outputs = 1 + NUM_BINS

    def __init__(self, num_numbers: int):
        super().__init__()
        self.register_buffer("low", torch.zeros(num_numbers, NUM_BINS))
        self.register_buffer("size", torch.zeros(num_numbers, NUM_BINS))

    def learn(self, numbers: Tensor) -> None:
        """Set the edges from training rows, (n, k)."""
        some = numbers[:: max(1, len(numbers) // MOST_ROWS)].numpy(force=True)
        edges = torch.from_numpy(np.stack([edges_of(column) for column in some.T]))
        self.low.copy_(edges[:, :-1])
        self.size.copy_(edges[:, 1:] - edges[:, :-1])

    def forward(self, x: Tensor) -> Tensor:
        x = x[..., None]
        is_empty = self.size == 0
        share = (x - self.low) / torch.where(is_empty, 1, self.size)
        share = share.clamp(0, 1).masked_fill(is_empty, 0)
        return torch.cat([x, share], dim=-1).flatten(1)


def edges_of(values: np.ndarray) -> np.ndarray:
    """NUM_BINS + 1 edges, ascending, as many values between each as between any others.

    A value that stands in more rows than a bin would hold counts as one bin's worth, so that a
    column of mostly zeros does not spend its bins on them.
    """
    levels, counts = np.unique(values, return_counts=True)
    shares = np.minimum(counts, len(values) / NUM_BINS).cumsum()
    wanted = np.linspace(0, shares[-1], NUM_BINS + 1)
    return levels[np.searchsorted(shares, wanted).clip(max=len(levels) - 1)].astype(np.float32)
