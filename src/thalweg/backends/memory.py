"""The tensors that a launch of kernels works on: held, in order, and known by their addresses.

Kernels are given addresses. Every tensor that an address belongs to is held here as long as the
table stands; each step the parameters' addresses and sizes are checked and the gradients' are read
anew. A gradient of another type or with other strides is copied into order first; a parameter with
gaps is worked on in a copy and written back, so that nothing outside it is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._dynamo.guards import TensorGuards

from thalweg.backends.base import Group, dense, is_dense
from thalweg.backends.layout import plain


class Memory:
    """Parameters, states and this step's gradients of groups that share a formula."""

    def __init__(self, groups: Sequence[Group]):
        self.rule = groups[0].formula.rule
        self._owners: list[Tensor] = [p for group in groups for p in group.params]
        self._places = list(map(Tensor.data_ptr, self._owners))
        self._forms = list(map(_form, self._owners))
        self._are_owners_alike = comparison(self._owners)
        self._are_grads_alike: Callable[..., bool] = _never
        self.params = list(map(plain, self._owners))
        self.sizes = list(map(Tensor.numel, self.params))
        self.targets = [p if is_dense(p) else p.contiguous() for p in self.params]
        self.staged = [i for i, p in enumerate(self.params) if p is not self.targets[i]]
        self.is_simple = all(map(Tensor.is_contiguous, self.params)) and all(self.sizes)
        self.states = [
            [plain(s) for g in groups for s in g.states[name]] for name in groups[0].state_names
        ]
        self.grads: Sequence[Tensor | None] = ()

    def is_current(self) -> bool:
        """Do the parameters still lie where the table says, at their size and in order?

        `p.data = ...` changes that.
        """
        owners = self._owners
        if list(map(Tensor.data_ptr, owners)) != self._places:
            return False
        return self._are_owners_alike(*owners) or list(map(_form, owners)) == self._forms

    def chunks(self, length: int) -> list[tuple[int, int, int]]:
        """The work in pieces of at most `length` elements: (row, first element, their number)."""
        return [
            (t, start, min(length, size - start))
            for t, size in enumerate(self.sizes)
            for start in range(0, size, length)
        ]

    def take(self, grads: Sequence[Tensor | None]) -> list[int]:
        """The addresses of this step's gradients, those that need it copied into order first.

        0 where there is no gradient; they are held until the step is over.
        """
        addresses = self._addresses_if_simple(grads)
        if addresses is None:
            grads = [None if g is None else self._ordered(g, i) for i, g in enumerate(grads)]
            addresses = [0 if g is None else g.data_ptr() or 64 for g in grads]  # 64: it is empty
        self.grads = grads
        return addresses

    def _addresses_if_simple(self, grads: Sequence[Any]) -> list[int] | None:
        """The gradients' addresses, where all are there, contiguous and of the parameters' type."""
        if self._are_grads_alike(*grads):
            return list(map(Tensor.data_ptr, grads))
        if not self.is_simple:
            return None
        try:
            addresses = list(map(Tensor.data_ptr, grads))
            is_simple = all(map(Tensor.is_contiguous, grads)) and not any(map(Tensor.is_neg, grads))
        except (TypeError, RuntimeError, NotImplementedError):  # None, or a sparse one
            return None
        dtypes = [g.dtype for g in grads]
        if not is_simple or dtypes.count(self.params[0].dtype) < len(dtypes):
            return None
        self._are_grads_alike = comparison(grads)
        return addresses

    def _ordered(self, grad: Tensor, i: int) -> Tensor:
        """A gradient in its parameter's type and order of memory."""
        target, given = self.targets[i], plain(dense(self.rule, grad)).resolve_neg()
        if given.dtype == target.dtype and given.stride() == target.stride():
            return given
        return torch.empty_like(target).copy_(given)

    def copy_in(self) -> None:
        """Fetch parameters with gaps into the copies that are worked on."""
        for i in self.staged:
            self.targets[i].copy_(self.params[i])

    def finish(self) -> None:
        """Write such copies back, and let go of the gradients."""
        for i in self.staged:
            self.params[i].copy_(self.targets[i])
        self.grads = ()


def comparison(tensors: Sequence[Tensor]) -> Callable[..., bool]:
    """A function of as many tensors: are they, for sure, of the same kinds, sizes and strides?

    One call into torch, whose compiler's guard it is; where it says False, look more closely.
    """
    sizes: Any = [list(tensor.shape) for tensor in tensors]
    strides: Any = [list(tensor.stride()) for tensor in tensors]
    return TensorGuards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check


def _never(*_: Any) -> bool:
    return False


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.shape, tensor.stride()


def element_addresses(places: Any) -> list[int]:
    """The addresses of elements, from (flat tensor, index)."""
    return [tensor.data_ptr() + i * tensor.element_size() for tensor, i in places]
