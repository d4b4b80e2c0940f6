"""counted: a Dataset whose random augmentation depends on the sample's place, and on nothing else.

It needs to know the place: `thalweg.Sampler` yields indices that carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thalweg.errors import UsageError
from thalweg.keys import Purpose, key
from thalweg.tasks.draws import put_back, seed_draws
from thalweg.types import LOOK


class Place(int):
    """The index of a sample, which also knows the epoch and the position that it was asked for.

    >>> place = Place(7, epoch=2, position=30)
    >>> place + 1, place.epoch, place.position
    (8, 2, 30)
    """

    epoch: int
    position: int

    def __new__(cls, index: int, epoch: int = LOOK, position: int = 0) -> Place:
        self = super().__new__(cls, index)
        self.epoch, self.position = epoch, position
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (int(self), self.epoch, self.position)


class Counted:
    """The samples of a Dataset, each drawn under the key of its place; `counted` makes it."""

    def __init__(self, dataset: Any, seed: int):
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        (item,) = self.__getitems__([index])
        return item

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of a batch; torch's DataLoader asks for them so."""
        with put_back():
            return [self._item(index) for index in indices]

    def _item(self, index: int) -> Any:
        place = index if isinstance(index, Place) else Place(index, position=int(index))
        seed_draws(key(Purpose.SAMPLE, self.seed, place.epoch, place.position))
        return self.dataset[int(index)]


def counted(dataset: Any, *, seed: int = 0) -> Counted:
    """A Dataset whose samples draw (augmentation) from a seed of their place in the run.

    dataset: with __len__ and __getitem__; it may draw from torch's, NumPy's and Python's own
    generators, which are seeded before each sample and put back afterwards
    seed: of the draws
    With indices from a `thalweg.Sampler` each epoch draws anew, and 0 or 16 workers, before or
    after a resume, give the same samples. With plain indices a sample is the same each time.
    Raises UsageError for what is no Dataset.

    >>> import torch
    >>> class Jittered:
    ...     def __len__(self): return 3
    ...     def __getitem__(self, i): return i + torch.rand(())
    >>> data = counted(Jittered(), seed=0)
    >>> bool(data[1] == data[1]), bool(data[1] == data[2] - 1)
    (True, False)
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise UsageError(
            f"counted() needs a Dataset with __len__ and __getitem__, and got a "
            f"{type(dataset).__name__}: samples are counted by their index"
        )
    return Counted(dataset, seed)
