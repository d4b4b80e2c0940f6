"""Snapshots: recent good states in memory, for a guard that has to go back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from torch import Tensor

from thalweg.errors import UsageError
from thalweg.state.tree import Packed, Tree, pack, unpack


@dataclass(frozen=True, slots=True)
class _Snapshot:
    number: int
    packed: Packed


class Ring:
    """The last `size` states that were kept, each with its step's number.

    Once it is full, keeping one more copies into the memory of the one that it replaces: no memory
    is taken then, as long as the tensors keep their shapes. Ties stay ties.

    >>> import torch
    >>> ring, weight = Ring(size=2), torch.zeros(1)
    >>> for number in (1, 2, 3):
    ...     ring.keep(number, {"weight": weight.fill_(number)})
    >>> ring.before(3)
    (2, {'weight': tensor([2.])})
    >>> ring.before(2) is None
    True
    """

    def __init__(self, size: int = 2):
        if size < 1:
            raise UsageError(f"size={size}: a ring keeps at least 1 snapshot")
        self._size = size
        self._kept: deque[_Snapshot] = deque()
        self._spare: list[dict[str, Tensor]] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def numbers(self) -> list[int]:
        """The steps of the snapshots at hand, oldest first."""
        return [snapshot.number for snapshot in self._kept]

    def keep(self, number: int, tree: Tree) -> None:
        """Copy a state; `number` is above those kept before, or they are dropped as `drop_from`.

        Raises UsageError where the tree holds what no tree may.
        """
        packed = pack(tree)
        self.drop_from(number)
        if len(self._kept) == self._size:
            self._spare.append(self._kept.popleft().packed.tensors)
        old = self._spare.pop() if self._spare else {}
        copies = {name: _copied(t, old.pop(name, None)) for name, t in packed.tensors.items()}
        self._kept.append(_Snapshot(number, replace(packed, tensors=copies)))

    def before(self, number: int) -> tuple[int, Tree] | None:
        """The newest snapshot older than a step, and its number; None where there is none.

        The tensors are the ring's own: copy from them before the next `keep`, and never into them.
        """
        for snapshot in reversed(self._kept):
            if snapshot.number < number:
                return snapshot.number, unpack(snapshot.packed)
        return None

    def drop_from(self, number: int) -> None:
        """Forget the snapshots of this step and of all after it."""
        while self._kept and self._kept[-1].number >= number:
            self._spare.append(self._kept.pop().packed.tensors)


def _copied(tensor: Tensor, old: Tensor | None) -> Tensor:
    """The tensor's values, in the memory of an old copy where that fits."""
    if old is None or _form(old) != _form(tensor):
        return tensor.clone()
    return old.copy_(tensor)


def _form(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device
