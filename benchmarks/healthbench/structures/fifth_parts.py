"""Networks of the fourth blind set: what its faulty and its sound programs are both made from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.parts import Batch
from benchmarks.healthbench.structures.unseen_data import glyphs


def pixels(*, size: int = 48) -> list[Batch]:
    """Digits as rows of 64 numbers from 0 to 1, 10 classes."""
    return [(x.flatten(1), y) for x, y in glyphs(size=size)]


class UNet(nn.Module):
    """(n, 1, h, w) -> (n, outputs, h, w): down once, up once, with a bridge."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(16, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        bridge = F.relu(self.down(x))
        h = F.relu(self.norm(self.deep(F.max_pool2d(bridge, 2))))
        return self.out(torch.cat([bridge, F.relu(self.up(h))], dim=1))


class Vae(nn.Module):
    """(n, 64) -> logits of the pixels, mean, log of the variance."""

    def __init__(self, *, latents: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.mean, self.log_var = nn.Linear(48, latents), nn.Linear(48, latents)
        self.decoder = nn.Sequential(nn.Linear(latents, 48), nn.ReLU(), nn.Linear(48, 64))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.mean(h), self.log_var(h)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.encode(x)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        return self.decoder(z), mean, log_var


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Of a normal distribution from the standard one, summed over latents, mean of the batch."""
    return (-0.5 * (1 + log_var - mean**2 - log_var.exp())).sum(1).mean()


class Writer(nn.Module):
    """A small language model: (n, t) ids -> (n, t, ids); looks back only where `is_causal`."""

    def __init__(self, *, is_causal: bool = True, ids: int = 128, width: int = 32) -> None:
        super().__init__()
        self.is_causal = is_causal
        self.emb, self.place = nn.Embedding(ids, width), nn.Embedding(24, width)
        nn.init.normal_(self.emb.weight, std=0.1)
        nn.init.normal_(self.place.weight, std=0.1)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, ids)

    def forward(self, ids: Tensor) -> Tensor:
        steps = ids.shape[1]
        h = self.emb(ids) + self.place(torch.arange(steps))
        mask = nn.Transformer.generate_square_subsequent_mask(steps) if self.is_causal else None
        return self.out(self.norm(self.body(h, mask=mask)))


class Reader(nn.Module):
    """(n, t) ids, 0 where there is no word -> (n, outputs): attention over words, then a mean."""

    def __init__(self, outputs: int = 2, width: int = 32) -> None:
        super().__init__()
        self.emb = nn.Embedding(200, width, padding_idx=0)
        self.att = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, outputs)

    def hidden_words(self, ids: Tensor) -> Tensor:
        return ids == 0

    def forward(self, ids: Tensor) -> Tensor:
        hidden, h = self.hidden_words(ids), self.emb(ids)
        h = self.norm(h + self.att(h, h, h, key_padding_mask=hidden, need_weights=False)[0])
        seen = (ids != 0).unsqueeze(2)
        return self.out((h * seen).sum(1) / seen.sum(1).clamp(min=1))


class Lora(nn.Module):
    """A frozen layer and a change of low rank beside it; up starts at zero."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T


def ring(nodes: int = 60, *, alone: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes in a ring: features (n, 6), neighbours (n, n), classes (n,); the last ones alone."""
    draw = torch.Generator().manual_seed(12)
    x = torch.randn(nodes, 6, generator=draw)
    near = torch.eye(nodes).roll(1, 0)
    near = near + near.T
    if alone:
        near[-alone:] = 0
        near[:, -alone:] = 0
    return x, near, ((near @ x)[:, 0] > 0).long()


__all__ = ["Lora", "Reader", "UNet", "Vae", "Writer", "divergence", "pixels", "ring"]
