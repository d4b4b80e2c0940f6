"""A plain text as samples: windows of bytes, each with the bytes that come next."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from thalweg.keys import Purpose, key
from thalweg.tasks.metrics import Metric
from thalweg.tasks.sources import whole_of
from thalweg.types import LOOK, Source, Stretch


class Windows:
    """Windows of `length` bytes of a text, side by side; a target is the byte after each.

    text: uint8, (bytes,); moves: in each epoch all windows begin at other places, by less than
    their length, which hang on the seed and the epoch alone
    """

    def __init__(self, text: Tensor, length: int, *, moves: bool = False):
        self.text, self.length, self.moves = text, length, moves
        self._count = (len(text) - (length if moves else 1)) // length
        self.bytes_per_character = len(text) / max(1, num_characters(text))

    def __len__(self) -> int:
        return self._count

    def fetch(self, stretch: Stretch) -> tuple[Tensor, Tensor]:
        """(inputs, targets), int64 of shape (n, length) each."""
        starts = torch.from_numpy(stretch.indices) * self.length + self._shift(stretch)
        places = starts[:, None] + torch.arange(self.length + 1)
        some = self.text[places.to(self.text.device)].long()
        return some[:, :-1], some[:, 1:]

    def to(self, device: torch.device) -> Windows:
        return Windows(self.text.to(device), self.length, moves=self.moves)

    def _shift(self, stretch: Stretch) -> int:
        if not self.moves or stretch.epoch == LOOK:
            return 0
        return key(Purpose.SAMPLE, stretch.seed, stretch.epoch) % self.length


def num_characters(text: Tensor) -> int:
    """Characters of UTF-8: bytes that do not go on with one."""
    return int(((text & 0xC0) != 0x80).sum())


def windows_of(source: Any) -> Windows | None:
    """The windows that a source, or a part of it, is taken from."""
    whole = whole_of(source)
    return whole if isinstance(whole, Windows) else None


def bits_per_byte(loss: float, source: Source | None = None) -> float:
    """Of a mean cross-entropy in nats."""
    return loss / math.log(2)


def bits_per_character(loss: float, source: Source) -> float:
    """Of a text with characters of several bytes it is more than the bits of a byte."""
    windows = windows_of(source)
    return bits_per_byte(loss) * (windows.bytes_per_character if windows else 1.0)


def _unmeasured(outputs: Any, targets: Any) -> float:
    raise AssertionError("bits follow from the loss")


BITS = tuple(
    Metric(name, False, _unmeasured, words, of_loss=function)
    for name, words, function in (
        ("bits_per_character", "surprise at a character, in bits", bits_per_character),
        ("bits_per_byte", "surprise at a byte, in bits", bits_per_byte),
    )
)
