"""A small residual convolutional net for pictures of any size (He et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def conv(
    channels: int, widths: Sequence[int], num_outputs: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """A block for each width, each after the first at half the resolution; the mean over all
    places; a linear head. (n, channels, height, width) -> (n, num_outputs)
    """
    blocks = [
        Block(before, after, stride=1 if i == 0 else 2)
        for i, (before, after) in enumerate(pairwise([widths[0], *widths]))
    ]
    return nn.Sequential(
        nn.Conv2d(channels, widths[0], 3, padding=1, bias=False),
        *blocks,
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(widths[-1], num_outputs),
    )


class Block(nn.Module):
    """x plus two convolutions of it, normalised first; where the shape changes, so does x, by a
    convolution of its own.
    """

    def __init__(self, before: int, after: int, *, stride: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        is_same = before == after and stride == 1
        self.skip = nn.Identity() if is_same else nn.Conv2d(before, after, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm1(x).relu()
        hidden = self.conv2(self.norm2(self.conv1(normal)).relu())
        return self.skip(x) + hidden
