"""Data that comes in batches of its own making: a DataLoader, or anything that can be iterated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from thalweg.errors import DataError
from thalweg.tasks.sources import as_source, on_device
from thalweg.types import Source


@runtime_checkable
class Resumable(Protocol):
    """A loader that knows where it is, as torchdata's StatefulDataLoader does."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Stream:
    """Batches of (inputs, targets) from a loader of the user's own, anew in every epoch.

    loader: a DataLoader or another iterable; each pass over it is an epoch
    """

    def __init__(self, loader: Iterable[Any], device: torch.device | None = None):
        self.loader = loader
        self.device = device or torch.device("cpu")

    def __len__(self) -> int:
        """Batches in an epoch. Raises TypeError where the loader does not know."""
        return len(self.loader)  # pyright: ignore[reportArgumentType]

    @property
    def num_batches(self) -> int | None:
        """Batches in an epoch, or None where the loader does not know."""
        try:
            return len(self)
        except TypeError:
            return None

    def __iter__(self) -> Iterator[Any]:
        """One epoch, begun at once."""
        return map(self._checked, iter(self.loader))

    def _checked(self, batch: Any) -> Any:
        """A batch on the device. Raises DataError for one that is no pair."""
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise DataError(
                f"the loader gave a {type(batch).__name__}: it must give pairs (inputs, targets)"
            )
        return on_device(batch, self.device)

    def to(self, device: torch.device) -> Stream:
        return Stream(self.loader, device)

    def generators(self) -> list[torch.Generator]:
        """Those that the loader and its sampler were given, which its order may come from."""
        owners = (self.loader, getattr(self.loader, "sampler", None))
        found = (getattr(owner, "generator", None) for owner in owners)
        unique = {id(each): each for each in found if isinstance(each, torch.Generator)}
        return list(unique.values())


def as_data(data: Any) -> Source | Stream:
    """What to train on: a source where samples can be had by index, else a stream of batches.

    Raises DataError for what is neither.
    """
    is_loader = hasattr(data, "__iter__") and not hasattr(data, "__getitem__")
    if is_loader and not isinstance(data, Source | str | bytes):
        return Stream(data)
    return data if isinstance(data, Stream) else as_source(data)


def size_of(batch: Any) -> int:
    """Samples in a batch: the length of its first tensor. Raises DataError where there is none."""
    values = batch.values() if isinstance(batch, dict) else batch
    if isinstance(batch, torch.Tensor):
        return len(batch) if batch.dim() else 1
    for value in values if isinstance(values, Iterable) and not isinstance(values, str) else ():
        return size_of(value)
    raise DataError(f"a batch holds no tensor: it is a {type(batch).__name__}")
