"""A residual MLP: blocks that add to what they are given (Gorishniy et al. 2021)."""

from __future__ import annotations

from torch import Tensor, nn

WIDER = 2
"""A block's hidden layer, as a multiple of its width."""


class ResidualMLP(nn.Module):
    """(n, num_inputs) -> (n, num_outputs), through `depth` blocks of one width."""

    def __init__(
        self, num_inputs: int, width: int, depth: int, num_outputs: int, *, dropout: float = 0.0
    ):
        super().__init__()
        self.enter = nn.Linear(num_inputs, width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).relu())


class Block(nn.Module):
    """x plus two layers of it; normalised first, so that the sum itself passes unchanged."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, WIDER * width)
        self.narrow = nn.Linear(WIDER * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.wide(self.norm(x)).relu())
        return x + self.dropout(self.narrow(hidden))
