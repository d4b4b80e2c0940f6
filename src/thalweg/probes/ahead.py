"""Does a place of a sequence see those that follow it? Read from the graph of a model's output,
before the backward pass lets go of what it keeps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.probes.graph import below, kind_of
from thalweg.probes.squared import kept

MOST_NODES = 20_000
MASKS = ("_saved_attn_mask", "_saved_attn_bias")

HIDDEN = -1e3
"""What is added to a score so that its place is not seen."""


@torch.no_grad()
def sees_ahead(output: Tensor, places: int) -> bool:
    """Does some attention between so many places use later ones?

    >>> x = torch.randn(2, 5, 5, requires_grad=True)
    >>> sees_ahead(x.softmax(2) @ x, 5)
    True
    >>> mask = torch.ones(5, 5).triu(1).bool()
    >>> sees_ahead(x.masked_fill(mask, float("-inf")).softmax(2) @ x, 5)
    False
    """
    seen: set[Any] = set()
    waiting = [output.grad_fn]
    while waiting and len(seen) < MOST_NODES:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        kind = kind_of(node)
        if kind.startswith("ScaledDotProduct") and is_open(node, places):
            return True
        if kind == "Softmax" and looks_on(kept(node, "_saved_result"), places):
            return True
        waiting.extend(below(node))
    return False


def is_open(node: Any, places: int) -> bool:
    """Is it torch's attention, of these places to each other, with no mask before later ones?"""
    query, key = kept(node, "_saved_query"), kept(node, "_saved_key")
    if query is None or key is None or getattr(node, "_saved_is_causal", True):
        return False
    if query.shape[-2] != places or key.shape[-2] != places:
        return False
    masks = [mask for mask in (kept(node, name) for name in MASKS) if mask is not None]
    if not masks:
        return True
    mask = masks[0]
    if mask.dtype == torch.bool or mask.shape[-1] < places or mask.ndim < 2:
        return False
    mask = mask[..., :places].expand(*mask.shape[:-2], places, places)
    return bool((mask > HIDDEN).triu(1).any())


def looks_on(shares: Tensor | None, places: int) -> bool:
    """Do (..., places, places) shares of attention give any to a later place?"""
    if shares is None or shares.ndim < 3 or tuple(shares.shape[-2:]) != (places, places):
        return False
    return bool(shares.triu(1).any())
