"""One launch of CPU kernels: the table of all its tensors, kept from step to step.

The table holds addresses. Every tensor that an address belongs to is held here as long as the table
stands; each step the parameters' addresses and sizes are checked and the gradients' are read anew.
A gradient of another type or with other strides is copied into order first; a parameter with gaps
is worked on in a copy and written back, so that nothing outside it is touched.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.backends import kernels, openmp
from thalweg.backends.base import Group, dense
from thalweg.backends.cpu_prologue import HYPER_HEAD
from thalweg.backends.cpu_source import Layout, source, tasks
from thalweg.backends.cpu_words import Ask, Word
from thalweg.rules.formula import Formula

CHUNK = 16_384
"""Elements that a thread takes at a time: a few arrays of them fit a core's second-level cache."""

_dtype: Callable[[Tensor], torch.dtype] = torch._C.TensorBase.dtype.__get__  # pyright: ignore


class Shared:
    """What the launches of one optimizer share: the request, and norms and limits by segment."""

    def __init__(self, num_segments: int):
        self.squares = np.zeros(num_segments)
        self.limits = np.full(num_segments, np.inf)
        self.own_limits = np.full(num_segments, np.inf)
        self.request = np.zeros(len(Ask))


@dataclass(frozen=True, slots=True)
class Part:
    """One group's rows within a launch."""

    group: Group
    at: slice
    names: tuple[str, ...]


@cache
def compiled(formula: Formula, layout: Layout) -> tuple[int, Callable[[int], None]]:
    """The kernel of a formula: its address, and the same as a callable of a table's address."""
    import llvmlite
    import numba

    runtime = Path(__file__).with_name("elements.py").read_text(encoding="utf-8")
    module = kernels.module(
        f"{formula.name}_{layout.name}",
        source(formula, layout),
        f"numba {numba.__version__} llvmlite {llvmlite.__version__} {runtime}",
    )
    address = module.main.address
    return address, openmp.entry(address)


def layout_of(group: Group) -> Layout:
    """How a group's tensors are stored, and so which kernel runs it."""
    states = [group.states[name][0] for name in state_names(group)]
    param, *others = (_name(plain(t).dtype) for t in (group.params[0], *states))
    is_double = param == "float64" or group.is_double
    return Layout(
        param=param,
        grad=param,
        states=tuple(others),
        arithmetic="float64" if is_double else "float32",
        rounding=group.rounding,
    )


def state_names(group: Group) -> list[str]:
    """The states in the order of a kernel's table."""
    return [*group.formula.states, *(["kahan_comp"] if group.rounding == "kahan" else [])]


class Launch:
    """All tensors of one formula and layout."""

    def __init__(self, groups: Sequence[Group], layout: Layout, shared: Shared):
        self.formula = groups[0].formula
        self.shared = shared
        self.owners: list[Tensor] = [p for group in groups for p in group.params]
        self.places = _places(self.owners)
        self.params: list[Tensor] = list(map(plain, self.owners))
        self.sizes = list(map(Tensor.numel, self.params))
        self.targets = [p if _is_dense(p) else p.contiguous() for p in self.params]
        self.staged = [i for i, p in enumerate(self.params) if p is not self.targets[i]]
        self.is_simple = all(map(Tensor.is_contiguous, self.params)) and all(self.sizes)
        self.is_complex = any(p.is_complex() for group in groups for p in group.params)
        self.states = [
            [plain(s) for g in groups for s in g.states[name]] for name in state_names(groups[0])
        ]
        self.grads: Sequence[Tensor | None] = ()
        self._address, self._entry = compiled(self.formula, layout)
        self._tasks = {name: k for k, name in enumerate(tasks(self.formula))}
        self._make_rows(groups)
        self._make_table(groups)

    def _make_rows(self, groups: Sequence[Group]) -> None:
        """Which rows each group has; the chunks of every row."""
        firsts = np.cumsum([0, *(len(group.params) for group in groups)]).tolist()
        names = tuple(row.name for row in self.formula.rule.hypers)
        self.parts = [
            Part(group, slice(first, first + len(group.params)), names)
            for group, first in zip(groups, firsts, strict=False)
        ]
        chunks = [
            (t, start, min(CHUNK, size - start))
            for t, size in enumerate(self.sizes)
            for start in range(0, size, CHUNK)
        ]
        counts = [-(-size // CHUNK) for size in self.sizes]
        self.chunks = np.array(chunks, dtype=np.int64).reshape(-1, 3)
        self.firsts = np.cumsum([0, *counts], dtype=np.int64)
        self.num_elements = sum(self.sizes)

    def _make_table(self, groups: Sequence[Group]) -> None:
        """Everything that the kernels read or write, and the table that says where it lies."""
        n, formula, shared = len(self.params), self.formula, self.shared
        scalars = list(formula.rule.scalars)
        self.counter = np.zeros(1, dtype=np.int64)
        self.sums = np.zeros((len(self.chunks), 4))
        self.hyper = np.zeros((len(groups), HYPER_HEAD + len(formula.rule.hypers)))
        self.grads_at = array("q", [0] * n)
        lists = [self.targets, *self.states]
        arrays = [array("q", map(Tensor.data_ptr, tensors)) for tensors in lists]
        rows = [(k, i, group) for k, group in enumerate(groups) for i in range(len(group.params))]
        self._held: dict[Word, Any] = {
            Word.COUNTER: self.counter,
            Word.CHUNKS: self.chunks,
            Word.SUMS: self.sums,
            Word.FIRSTS: self.firsts,
            Word.GROUPS: np.array([k for k, _, _ in rows], dtype=np.int64),
            Word.SEGMENTS: np.array([group.segment for _, _, group in rows], dtype=np.int64),
            Word.STEPS: _addresses((group.steps, i) for _, i, group in rows),
            Word.SCALARS: _addresses((g.scalars[s], i) for _, i, g in rows for s in scalars),
            Word.NAMES: np.array([group.keys[i] for _, i, group in rows], dtype=np.int64),
            Word.HYPER: self.hyper,
            Word.SQUARES: shared.squares,
            Word.LIMITS: shared.limits,
            Word.OWN_LIMITS: shared.own_limits,
            Word.REQUEST: shared.request,
            Word.COEFFICIENTS: np.zeros((n, len(formula.coefficients))),
            Word.FACTORS: np.ones(n),
            Word.SCALES: np.ones((n, len(formula.measures))),
            Word.KEYS: np.zeros(n, dtype=np.int64),
        }
        self._arrays = [arrays[0], self.grads_at, *arrays[1:]]
        table = self.table = np.zeros(Word.ARRAYS + len(self._arrays), dtype=np.int64)
        for place, values in self._held.items():
            table[place] = values.ctypes.data
        table[Word.NUM_CHUNKS] = len(self.chunks)
        table[Word.NUM_ROWS] = n
        table[Word.NUM_SEGMENTS] = len(shared.squares)
        for k, addresses in enumerate(self._arrays):
            table[Word.ARRAYS + k] = addresses.buffer_info()[0]
        self.table_at = table.ctypes.data

    def is_current(self) -> bool:
        """Do the parameters still lie where the table says, at their size and in order?

        The parameters themselves are asked: what stands in `params` keeps the memory that they had.
        """
        return _places(self.owners) == self.places

    def take(self, grads: Sequence[Tensor | None]) -> None:
        """This step's gradients: their addresses, after copying those that need it into order."""
        addresses = self._addresses_if_simple(grads)
        if addresses is None:
            grads = [None if g is None else self._ordered(g, i) for i, g in enumerate(grads)]
            addresses = [0 if g is None else g.data_ptr() or 1 for g in grads]  # 1: it is empty
        self.grads = grads  # held as long as the table's addresses of them are used
        self.grads_at[:] = array("q", addresses)

    def _addresses_if_simple(self, grads: Sequence[Any]) -> list[int] | None:
        """The gradients' addresses, where all are there, contiguous and of the parameters' type."""
        if not self.is_simple:
            return None
        try:
            addresses = list(map(Tensor.data_ptr, grads))
            is_simple = all(map(Tensor.is_contiguous, grads))
        except (TypeError, RuntimeError, NotImplementedError):  # None, or a sparse one
            return None
        dtypes = set(map(_dtype, grads))
        return addresses if is_simple and dtypes == {self.params[0].dtype} else None

    def _ordered(self, grad: Tensor, i: int) -> Tensor:
        """A gradient in its parameter's type and order of memory."""
        target, given = self.targets[i], plain(dense(self.formula.rule, grad))
        if given.dtype == target.dtype and given.stride() == target.stride():
            return given
        return torch.empty_like(target).copy_(given)

    def set_hyper(self) -> None:
        """Write this step's hyperparameters into the table."""
        for k, part in enumerate(self.parts):
            group = part.group
            values = map(group.hyper.__getitem__, part.names)
            self.hyper[k] = (group.sign, group.seed, *values)

    @property
    def is_small(self) -> bool:
        """Is the work so little that waking other threads would not pay?"""
        return self.num_elements < openmp.SERIAL_BELOW

    def run(self, task: str) -> None:
        """Do a task in this thread alone."""
        self.table[Word.TASK] = self._tasks[task]
        self._entry(self.table_at)

    def sweep(self, task: str) -> None:
        """Do a task that takes chunks, on torch's threads where it is worth waking them."""
        self.counter[0] = 0
        self.table[Word.TASK] = self._tasks[task]
        num_threads = 1 if self.is_small else min(torch.get_num_threads(), len(self.chunks))
        pool = openmp.pool() if num_threads > 1 else None
        if pool is None:
            self._entry(self.table_at)
        else:
            pool(self._address, self.table_at, num_threads, 0)

    def update(self) -> None:
        """The sweep itself, after `settle`; measures first, where the formula has any."""
        for k in range(len(self.formula.measures)):
            self.sweep(f"measure{k}")
            self.run(f"scale{k}")
        self.sweep("update")

    def copy_in(self) -> None:
        """Fetch parameters with gaps into the copies that are worked on."""
        for i in self.staged:
            self.targets[i].copy_(self.params[i])

    def finish(self) -> None:
        """Write parameters with gaps back, and let go of the gradients."""
        for i in self.staged:
            self.params[i].copy_(self.targets[i])
        self.grads = ()

    def per_tensor(self) -> np.ndarray:
        """The last kernel's sums, (n, 4): added up over each tensor's chunks, in their order."""
        total = np.zeros((len(self.params), 4))
        has_chunks = np.diff(self.firsts) > 0
        if len(self.chunks):
            total[has_chunks] = np.add.reduceat(self.sums, self.firsts[:-1][has_chunks], axis=0)
        return total


def plain(tensor: Tensor) -> Tensor:
    """The tensor's numbers, without its graph; a complex one as pairs of reals."""
    numbers = tensor.detach()
    return torch.view_as_real(numbers.resolve_conj()) if numbers.is_complex() else numbers


def _places(tensors: Sequence[Tensor]) -> tuple[list[int], list[int], list[bool]]:
    """Where tensors lie, their sizes, and which of them are in order."""
    return (
        list(map(Tensor.data_ptr, tensors)),
        list(map(Tensor.numel, tensors)),
        list(map(Tensor.is_contiguous, tensors)),
    )


def _addresses(places: Any) -> np.ndarray:
    """The addresses of elements, from (flat tensor, index)."""
    found = [tensor.data_ptr() + i * tensor.element_size() for tensor, i in places]
    return np.array(found, dtype=np.int64)


def _is_dense(tensor: Tensor) -> bool:
    """Does the tensor fill a stretch of memory, each place once, in whatever order?"""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
