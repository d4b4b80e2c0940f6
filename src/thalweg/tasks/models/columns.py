"""The first layer for tables: categories become learnt vectors, numbers may be spread.

One number in one input can only be scaled by the first layer; several functions of it let the
model bend where the data does (Gorishniy et al. 2022).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from thalweg.tasks.models.inputs import DIGIT, Rows

FREQUENCIES = 16
SPREAD = 0.1
"""Frequencies begin as normal draws with this deviation, in turns a deviation of the column."""
NUMBER_WIDTH = 4
"""Inputs that a spread number becomes, the number itself among them."""


class Columns(nn.Module):
    """(n, rows.num_inputs) -> (n, self.num_outputs): what is neither spread nor a code as it is,
    then the spread numbers, then a vector for each code.
    """

    def __init__(self, rows: Rows, *, spreads: bool):
        super().__init__()
        self.codes = rows.codes
        numbers = rows.numbers if spreads else ()
        others = set(numbers) | {code.place + i for code in rows.codes for i in (0, 1)}
        self.plain = [place for place in range(rows.num_inputs) if place not in others]
        self.numbers = list(numbers)
        self.periodic = Periodic(len(numbers)) if numbers else None
        self.vectors = nn.ModuleList(vectors(code.num_codes, code.width) for code in rows.codes)
        self.num_outputs = (
            len(self.plain) + NUMBER_WIDTH * len(numbers) + sum(code.width for code in rows.codes)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[:, self.plain]]
        if self.periodic is not None:
            parts.append(self.periodic(x[:, self.numbers]))
        for code, table in zip(self.codes, self.vectors, strict=True):
            high, low = x[:, code.place], x[:, code.place + 1]
            parts.append(table(DIGIT * high.long() + low.long()))
        return torch.cat(parts, dim=1)


def vectors(num_codes: int, width: int) -> nn.Embedding:
    """A vector for each code; that of any other value, the last, begins as zero."""
    table = nn.Embedding(num_codes, width)
    nn.init.normal_(table.weight, std=width**-0.5)
    with torch.no_grad():
        table.weight[-1] = 0
    return table


class Periodic(nn.Module):
    """Each of k numbers becomes itself and NUMBER_WIDTH - 1 mixtures of cosines of it.

    (n, k) -> (n, k * NUMBER_WIDTH)
    """

    def __init__(self, num_numbers: int):
        super().__init__()
        self.frequencies = nn.Parameter(SPREAD * torch.randn(num_numbers, FREQUENCIES))
        self.phases = nn.Parameter(math.pi * (2 * torch.rand(num_numbers, FREQUENCIES) - 1))
        bound = FREQUENCIES**-0.5
        shape = (num_numbers, FREQUENCIES, NUMBER_WIDTH - 1)
        self.mix = nn.Parameter(bound * (2 * torch.rand(shape) - 1))
        self.shift = nn.Parameter(bound * (2 * torch.rand(num_numbers, NUMBER_WIDTH - 1) - 1))

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.cos(2 * math.pi * self.frequencies * x[..., None] + self.phases)
        mixed = torch.einsum("nkf,kfo->nko", waves, self.mix) + self.shift
        return torch.cat([x[..., None], mixed], dim=-1).flatten(1)
