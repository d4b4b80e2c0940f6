"""How many samples are looked at together, where nothing is learnt from them.

On the CPU as many as leave what a model computes on its way in the caches: 28 x 28 pictures take
half the time 80 at a time that they take 1,300 at a time. Elsewhere as many as memory should take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.sources import Arrays, whole_of
from thalweg.tasks.text.windows import Windows
from thalweg.types import Source

MOST = 4096
"""Samples, of any kind."""


@dataclass(frozen=True, slots=True)
class Room:
    """Places of samples that are looked at together: for each thread of a CPU, and elsewhere."""

    of_thread: int
    elsewhere: int

    def samples(self, places: int, device: torch.device) -> int:
        """So many samples of so many places each."""
        here = min(self.of_thread * torch.get_num_threads(), self.elsewhere)
        room = here if device.type == "cpu" else self.elsewhere
        return max(1, min(MOST, room // max(1, places)))


ROWS = Room(1 << 10, 1 << 12)
TOKENS = Room(1 << 12, 1 << 14)
PIXELS = Room(1 << 16, 1 << 20)


def at_once(source: Source) -> int:
    """Of the samples of a source."""
    whole = whole_of(source)
    if isinstance(whole, Windows):
        return TOKENS.samples(whole.length, whole.text.device)
    if isinstance(whole, PictureSource):
        shape = whole.form.shape
        return PIXELS.samples(shape.width * shape.height, whole.device)
    if isinstance(whole, Arrays):
        return at_once_of(whole.inputs)
    return ROWS.of_thread


def at_once_of(inputs: Any) -> int:
    """Of inputs (n, ...): numbers of a row, whole numbers that stand for tokens, or pictures whose
    last two sides are height and width.
    """
    if not isinstance(inputs, Tensor):
        return ROWS.of_thread
    if inputs.dim() > 2:
        return PIXELS.samples(inputs.shape[-2:].numel(), inputs.device)
    is_tokens = inputs.dim() == 2 and not inputs.is_floating_point()
    room, places = (TOKENS, inputs.shape[1]) if is_tokens else (ROWS, 1)
    return room.samples(places, inputs.device)
