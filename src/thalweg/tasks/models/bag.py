"""A bag of features: one vector for each, their weighted sum, then a linear head.

The weights are those of TF-IDF, learnt from the training texts (Salton and Buckley, Term-Weighting
Approaches in Automatic Text Retrieval, 1988); the rest is fastText's classifier (Joulin et al., Bag
of Tricks for Efficient Text Classification, 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

FILLER = 0
"""The token that fills up short texts: it counts for nothing."""

CHUNK = 1024
"""Texts that are counted at once."""

SMALL = 0.1
"""Vectors begin small, so that tokens about which nothing was learnt say nothing."""

GAIN = 4.0
"""Makes Adam's steps at its customary rate large enough for features that most texts lack."""


class Bag(nn.Module):
    """Token ids, whole numbers (n, length), to (n, num_outputs); their order does not matter.

    rarity: of each token, (num_tokens,), kept with the weights; 0 of tokens that no training text
    holds, which therefore count for nothing
    """

    rarity: Tensor

    def __init__(self, num_tokens: int, width: int, num_outputs: int, *, dropout: float = 0.0):
        super().__init__()
        self.vectors = nn.Embedding(num_tokens, width)
        nn.init.normal_(self.vectors.weight, std=SMALL * width**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_outputs)
        self.register_buffer("rarity", torch.ones(num_tokens))
        self.rarity[FILLER] = 0

    def learn(self, tokens: Tensor) -> None:
        """Set how rare each token is from the training texts, (n, length)."""
        num_texts = torch.zeros(len(self.rarity))
        for some in tokens.cpu().long().split(CHUNK):
            ordered = some.sort(dim=1).values
            is_first = torch.ones_like(ordered, dtype=torch.bool)
            is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
            num_texts += torch.bincount(ordered[is_first], minlength=len(self.rarity))
        num_texts[FILLER] = 0
        rarity = torch.log((1 + len(tokens)) / (1 + num_texts)) + 1
        self.rarity.copy_(rarity.masked_fill(num_texts == 0, 0))

    def forward(self, tokens: Tensor) -> Tensor:
        weights = self.rarity[tokens.long()]
        weights = weights / weights.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
        table = self.vectors.weight
        bag = embedding_bag(tokens, table, per_sample_weights=weights.to(table.dtype), mode="sum")
        return self.head(self.dropout(GAIN * bag))
