"""Where batches come from: arrays in memory, batched by index, or a Dataset, item by item."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from thalweg.errors import DataError
from thalweg.tasks.draws import put_back, seed_collate, seed_sample
from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.weights import checked_weights
from thalweg.types import Source, Stretch


class Arrays:
    """Inputs and targets in memory, on one device; a batch is one gather of each.

    inputs: tensor of shape (n, ...); targets: tensor of shape (n,) or (n, k)
    rows: where each sample stands in the data that these were taken out of; None: where it is here
    weights: how much each sample counts, (n,); a batch is then a triple that ends with its own
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        rows: np.ndarray | None = None,
        weights: Tensor | None = None,
    ):
        if len(inputs) != len(targets):
            raise DataError(
                f"{len(inputs):,} inputs but {len(targets):,} targets: there must be one for each"
            )
        if len(inputs) == 0:
            raise DataError("the data holds no samples")
        self.inputs = inputs
        self.targets = targets
        self.rows = rows
        self.weights = weights

    def __len__(self) -> int:
        return len(self.inputs)

    def fetch(self, stretch: Stretch) -> tuple[Tensor, ...]:
        where = torch.from_numpy(stretch.indices).to(self.inputs.device, non_blocking=True)
        pair = self.inputs.index_select(0, where), self.targets.index_select(0, where)
        return pair if self.weights is None else (*pair, self.weights.index_select(0, where))

    def to(self, device: torch.device) -> Arrays:
        weights = None if self.weights is None else self.weights.to(device)
        return Arrays(self.inputs.to(device), self.targets.to(device), self.rows, weights)


class Items:
    """A map-style torch Dataset whose items are (input, target) pairs.

    What an item draws (augmentation) is counted by its place: torch's, NumPy's and Python's
    generators are seeded before each, and put back afterwards.
    """

    def __init__(self, dataset: Any, device: torch.device | None = None):
        self.dataset = dataset
        self.device = device or torch.device("cpu")
        if len(dataset) == 0:
            raise DataError("the data holds no samples")

    def __len__(self) -> int:
        return len(self.dataset)

    def fetch(self, stretch: Stretch) -> tuple[Any, Any]:
        with put_back():
            items = [self._item(stretch, i) for i in range(len(stretch))]
            seed_collate(stretch)
            inputs, targets = default_collate(items)
        return on_device(inputs, self.device), on_device(targets, self.device)

    def _item(self, stretch: Stretch, i: int) -> Any:
        index = int(stretch.indices[i])
        seed_sample(stretch, i)
        item = self.dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(
                f"item {index} of the dataset is a {type(item).__name__}: "
                "it must be a pair (input, target)"
            )
        return item

    def to(self, device: torch.device) -> Items:
        return Items(self.dataset, device)


def on_device(batch: Any, device: torch.device) -> Any:
    """Tensors on the device, with float64 in torch's default dtype, in whatever holds them."""
    if isinstance(batch, Tensor):
        is_double = batch.dtype == torch.float64
        return batch.to(device, torch.get_default_dtype() if is_double else batch.dtype)
    if isinstance(batch, dict):
        return {name: on_device(item, device) for name, item in batch.items()}
    if isinstance(batch, list | tuple):
        return [on_device(item, device) for item in batch]
    return batch


def in_type(batch: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors in this type, in whatever holds them."""
    if isinstance(batch, Tensor):
        return batch.to(dtype) if batch.is_floating_point() else batch
    if isinstance(batch, dict):
        return {name: in_type(item, dtype) for name, item in batch.items()}
    if type(batch) in (list, tuple):
        return type(batch)(in_type(item, dtype) for item in batch)
    return batch


class Part:
    """Some samples of another source: those at `indices`."""

    def __init__(self, source: Source, indices: np.ndarray):
        self.source = source
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, stretch: Stretch) -> tuple[Any, Any]:
        return self.source.fetch(replace(stretch, indices=self.indices[stretch.indices]))

    def to(self, device: torch.device) -> Part:
        return Part(self.source.to(device), self.indices)


def whole_of(source: Any) -> Any:
    """What a source is a part of, or itself."""
    while isinstance(source, Part):
        source = source.source
    return source


def as_source(data: Any) -> Source:
    """A source from (inputs, targets) or (inputs, targets, weights), from a Dataset, or itself.

    Arrays, frames, lists and tensors are taken; float64 becomes torch's default dtype, whole-number
    targets int64.
    """
    if isinstance(data, tuple | list) and len(data) in (2, 3):
        pair = Arrays(as_tensor(data[0], "inputs"), as_tensor(data[1], "targets"))
        return pair if len(data) == 2 else with_weights(pair, data[2])
    if isinstance(data, Source):
        return data
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return Items(data)
    raise DataError(
        f"data is a {type(data).__name__}: give a pair (inputs, targets), or a Dataset with "
        "__len__ and __getitem__"
    )


def as_tensor(values: Any, name: str) -> Tensor:
    """Numbers as a tensor: floats in torch's default dtype, whole-number targets int64."""
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        with warnings.catch_warnings():  # an array that may not be written: nobody writes it here
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"the {name} are no numbers ({error})") from None
    if tensor.is_floating_point():
        return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor
    return tensor.long() if name == "targets" else tensor


def with_weights(source: Arrays, weights: Any) -> Arrays:
    """The samples with a weight each. Raises DataError for weights that cannot be used."""
    found = torch.from_numpy(weights_of(weights, len(source))).float()
    return Arrays(source.inputs, source.targets, source.rows, found.to(source.inputs.device))


def weights_of(given: Any, count: int) -> np.ndarray:
    """The weights of so many samples, float64. Raises DataError for what cannot be used as such."""
    values = as_tensor(given, "weights").double().numpy(force=True)
    if values.shape != (count,):
        raise DataError(
            f"{count:,} samples but weights of shape {values.shape}: there must be one for each"
        )
    return checked_weights(values, "weight", "sample")


def scaled(source: Arrays) -> Arrays:
    """The samples with weights whose mean is 1, so that the loss keeps its size."""
    assert source.weights is not None
    weights = source.weights.double()
    found = (weights / weights.mean()).to(source.weights.dtype)
    return Arrays(source.inputs, source.targets, source.rows, found)


def take(source: Source, indices: np.ndarray) -> Source:
    """The samples of `source` at `indices`: copied out of arrays, a view of anything else."""
    if isinstance(source, Arrays):
        inputs, targets, *weights = source.fetch(Stretch(indices))
        return Arrays(inputs, targets, rows_of(source, indices), *weights)
    return Part(source, indices)


def rows_of(source: Source, indices: np.ndarray) -> np.ndarray:
    """Where the samples at `indices` stand in the data as it was given, before any split."""
    while isinstance(source, Part):
        source, indices = source.source, source.indices[indices]
    if isinstance(source, Arrays | PictureSource) and source.rows is not None:
        return source.rows[indices]
    return indices


def in_order(first: int, last: int) -> Stretch:
    """Samples first .. last - 1 as they stand in the data, to look at."""
    return Stretch(np.arange(first, last), start=first)


def draws_apart(source: Source) -> bool:
    """Does the first sample differ when it is fetched twice under one key?"""
    if not isinstance(whole_of(source), Items):
        return False
    first, again = (source.fetch(in_order(0, 1)) for _ in range(2))
    return not _is_alike(first, again)


def _is_alike(one: Any, other: Any) -> bool:
    """Are all tensors equal to the bit, a NaN to itself? What is no tensor is not compared."""
    if isinstance(one, Tensor):
        return bool(torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)))
    if isinstance(one, dict):
        return all(_is_alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return all(map(_is_alike, one, other))
    return True
