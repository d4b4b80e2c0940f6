"""The first layer for tables: categories become learnt vectors, numbers may be spread over bins."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.tasks.models.bins import Bins
from thalweg.tasks.models.inputs import DIGIT, Rows


class Columns(nn.Module):
    """(n, rows.num_inputs) -> (n, self.num_outputs): what is neither spread nor a code as it is,
    then the spread numbers, then a vector for each code.
    """

    def __init__(self, rows: Rows, *, has_bins: bool):
        super().__init__()
        self.codes = rows.codes
        self.numbers = list(rows.numbers) if has_bins else []
        taken = {*self.numbers, *(code.place + i for code in rows.codes for i in (0, 1))}
        self.plain = [place for place in range(rows.num_inputs) if place not in taken]
        self.bins = Bins(len(self.numbers)) if self.numbers else None
        self.vectors = nn.ModuleList(vectors(code.num_codes, code.width) for code in rows.codes)
        self.num_outputs = (
            len(self.plain)
            + Bins.num_outputs * len(self.numbers)
            + sum(code.width for code in rows.codes)
        )

    def learn(self, inputs: Tensor) -> None:
        """Set what is learnt from the training rows at the start, (n, rows.num_inputs)."""
        if self.bins is not None:
            self.bins.learn(inputs[:, self.numbers])

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[:, self.plain]]
        if self.bins is not None:
            parts.append(self.bins(x[:, self.numbers]))
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
