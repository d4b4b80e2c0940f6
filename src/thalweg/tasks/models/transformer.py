"""A small transformer over tokens: one answer for the whole text, or the next token everywhere.

Positions are rotations of queries and keys (Su et al. 2021), so no length is too long.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from thalweg.scale.exact import strictly

WIDER = 4
"""A block's hidden layer, as a multiple of its width."""
FILLER = 0
"""The token that fills up short texts: it is not looked at."""
BASE = 10_000.0
"""The slowest rotation turns once in about 2 pi times so many places."""


class Transformer(nn.Module):
    """Token ids, int64 (n, length), to (n, num_outputs): the mean over all places, then a head.

    is_language: instead, what comes next at each place, from those before it alone; outputs are
    (n, num_outputs, length), as torch's cross-entropy takes them for targets (n, length)
    """

    def __init__(
        self,
        num_tokens: int,
        width: int,
        depth: int,
        num_outputs: int,
        *,
        num_heads: int,
        dropout: float = 0.0,
        is_language: bool = False,
    ):
        super().__init__()
        self.is_language = is_language
        self.tokens = nn.Embedding(num_tokens, width)
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width, num_heads, dropout, is_causal=is_language) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens.long()
        is_text = None if self.is_language else tokens != FILLER
        x = self.dropout(self.tokens(tokens))
        for block in self.blocks:
            x = block(x, is_text)
        x = self.norm(x)
        if is_text is None:
            return self.head(x).transpose(1, 2)
        return self.head(mean_where(x, is_text))


class Block(nn.Module):
    """x plus attention, plus a small MLP at each place; normalised before each."""

    def __init__(self, width: int, num_heads: int, dropout: float, *, is_causal: bool):
        super().__init__()
        self.num_heads, self.is_causal = num_heads, is_causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, WIDER * width), nn.Linear(WIDER * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, is_text: Tensor | None) -> Tensor:
        x = x + self.dropout(self.attend(self.norm1(x), is_text))
        return x + self.dropout(self.narrow(gelu(self.wide(self.norm2(x)))))

    def attend(self, x: Tensor, is_text: Tensor | None) -> Tensor:
        """Each place takes in the others' values; fillers give none."""
        heads = self.queries_keys_values(x).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (n, heads, length, width of a head)
        mask = None if is_text is None else seen(is_text)
        mixed = scaled_dot_product_attention(
            rotated(q), rotated(k), v, attn_mask=mask, is_causal=self.is_causal
        )
        strictly(v, mixed)
        return self.mix(mixed.transpose(1, 2).flatten(2))


def seen(is_text: Tensor) -> Tensor:
    """The keys that are looked at, (n, 1, 1, length); of an empty text its first filler."""
    first = torch.zeros_like(is_text)
    first[:, 0] = ~is_text.any(dim=1)
    return (is_text | first)[:, None, None]


def mean_where(x: Tensor, is_text: Tensor) -> Tensor:
    """The mean over the places that hold text, (n, width); of an empty text zero."""
    weight = is_text.to(x.dtype)
    return (x * weight[..., None]).sum(dim=1) / weight.sum(dim=1, keepdim=True).clamp(min=1)


def rotated(x: Tensor) -> Tensor:
    """Pairs of (n, heads, length, size) turned by an angle that grows with the place.

    The product of two of them then depends on how far apart they stand.
    """
    half = x.shape[-1] // 2
    places = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)
    speeds = BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles = places[:, None] * speeds
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
