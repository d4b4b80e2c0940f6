"""One launch of a CPU kernel: the table of all its tensors, kept from step to step.

The table holds addresses. Every tensor that an address belongs to is held here as long as the table
stands; each step the parameters' addresses and sizes are checked and the gradients' are read anew.
A gradient of another type or with other strides is copied into order first; a parameter with gaps
is worked on in a copy and written back, so that nothing outside it is touched.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.backends import kernels, openmp
from thalweg.backends.base import Group, dense
from thalweg.backends.cpu_source import Layout, Word, source
from thalweg.backends.numpy import scale_of
from thalweg.backends.rounding import keys_of
from thalweg.rules.formula import Formula

CHUNK = 16_384
"""Elements that a thread takes at a time: a few arrays of them fit a core's second-level cache."""

_dtype: Callable[[Tensor], torch.dtype] = torch._C.TensorBase.dtype.__get__  # pyright: ignore


def layout_of(group: Group) -> Layout:
    """How a group's tensors are stored, and so which kernel runs it."""
    states = [group.states[name][0] for name in state_names(group)]
    param, *others = (_name(_plain(t).dtype) for t in (group.params[0], *states))
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


@lru_cache(maxsize=None)
def compiled(formula: Formula, layout: Layout) -> dict[str, tuple[int, Callable[[int], None]]]:
    """The kernels of a formula by name: the address, and the same as a callable."""
    import llvmlite
    import numba

    runtime = Path(__file__).with_name("elements.py").read_text(encoding="utf-8")
    module = kernels.module(
        f"{formula.name}_{layout.name}",
        source(formula, layout),
        f"numba {numba.__version__} llvmlite {llvmlite.__version__} {runtime}",
    )
    names = ["norm", *(f"measure{k}" for k in range(len(formula.measures))), "update"]
    addresses = {name: getattr(module, name).address for name in names}
    return {name: (at, openmp.entry(at)) for name, at in addresses.items()}


class Part:
    """One group's rows within a launch, with its counts and running scalars as NumPy arrays."""

    def __init__(self, group: Group, first: int):
        self.group = group
        self.at = slice(first, first + len(group.params))
        self.steps = group.steps.numpy()
        self.scalars = [group.scalars[name].numpy() for name in group.formula.rule.scalars]
        self.keys = np.array(group.keys, dtype=np.int64)

    def is_uniform(self) -> bool:
        """Have all tensors had the same updates?"""
        counts = (self.steps, *self.scalars)
        return len(self.steps) > 0 and all(bool((c == c[0]).all()) for c in counts)


class Launch:
    """All tensors of one formula and layout."""

    def __init__(self, groups: Sequence[Group], layout: Layout):
        self.formula = groups[0].formula
        self.layout = layout
        self.params: list[Tensor] = [_plain(p) for group in groups for p in group.params]
        self.addresses = list(map(Tensor.data_ptr, self.params))
        self.sizes = list(map(Tensor.numel, self.params))
        self.targets = [p if _is_dense(p) else p.contiguous() for p in self.params]
        self.is_simple = all(map(Tensor.is_contiguous, self.params))
        names = state_names(groups[0])
        self.states = [[_plain(s) for g in groups for s in g.states[name]] for name in names]
        self.grads: Sequence[Tensor | None] = ()
        self.active: np.ndarray | None = None
        firsts = np.cumsum([0, *(len(group.params) for group in groups)]).tolist()
        self.parts = [Part(group, first) for group, first in zip(groups, firsts, strict=False)]
        self._kernels = compiled(self.formula, layout)
        self._make_table()

    def _make_table(self) -> None:
        n = len(self.params)
        chunks = [
            (t, start, min(CHUNK, size - start))
            for t, size in enumerate(self.sizes)
            for start in range(0, size, CHUNK)
        ]
        self.chunks = np.array(chunks, dtype=np.int64).reshape(-1, 3)
        self.sums = np.zeros((len(chunks), 4))
        self.num_elements = sum(self.sizes)
        self.coefficients = np.zeros((n, len(self.formula.coefficients)))
        self.factors = np.ones(n)
        self.scales = np.ones((n, len(self.formula.measures)))
        self.keys = np.zeros(n, dtype=np.int64)
        self.counter = np.zeros(1, dtype=np.int64)
        lists = (self.targets, (), *self.states)
        self.arrays = [array("q", map(Tensor.data_ptr, tensors)) for tensors in lists]
        self.arrays[1] = array("q", [0] * n)
        self.segments = np.zeros(n, dtype=np.int64)
        for part in self.parts:
            self.segments[part.at] = part.group.segment
        self.chunk_segments = self.segments[self.chunks[:, 0]]
        self._write_table()

    def _write_table(self) -> None:
        places = {
            Word.COUNTER: self.counter,
            Word.CHUNKS: self.chunks,
            Word.SUMS: self.sums,
            Word.COEFFICIENTS: self.coefficients,
            Word.FACTORS: self.factors,
            Word.SCALES: self.scales,
            Word.KEYS: self.keys,
        }
        self.table = np.zeros(Word.ARRAYS + len(self.arrays), dtype=np.int64)
        for place, values in places.items():
            self.table[place] = values.ctypes.data
        self.table[Word.NUM_CHUNKS] = len(self.chunks)
        for k, addresses in enumerate(self.arrays):
            self.table[Word.ARRAYS + k] = addresses.buffer_info()[0]
        self.table_at = self.table.ctypes.data

    def is_current(self) -> bool:
        """Do the parameters still lie where the table says, at their size?"""
        return (
            list(map(Tensor.data_ptr, self.params)) == self.addresses
            and list(map(Tensor.numel, self.params)) == self.sizes
        )

    def take(self, grads: Sequence[Tensor | None]) -> None:
        """This step's gradients: their addresses, after copying those that need it into order."""
        addresses = self._addresses_if_simple(grads)
        self.active = None
        if addresses is None:
            grads = [None if g is None else self._ordered(g, i) for i, g in enumerate(grads)]
            addresses = [0 if g is None else g.data_ptr() for g in grads]
            is_there = np.array([g is not None for g in grads])
            self.active = None if is_there.all() else is_there
        self.grads = grads  # held until the next step, as the table holds their addresses
        self.arrays[1] = array("q", addresses)
        self.table[Word.ARRAYS + 1] = self.arrays[1].buffer_info()[0]

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
        target, plain = self.targets[i], _plain(dense(self.formula.rule, grad))
        if plain.dtype == target.dtype and plain.stride() == target.stride():
            return plain
        return torch.empty_like(target).copy_(plain)

    def run(self, kernel: str) -> None:
        """Run a kernel over the table, on torch's threads where it is worth waking them."""
        address, entry = self._kernels[kernel]
        self.counter[0] = 0
        num_threads = min(torch.get_num_threads(), len(self.chunks))
        pool = openmp.pool() if num_threads > 1 else None
        if pool is None or self.num_elements < openmp.SERIAL_BELOW:
            entry(self.table_at)
        else:
            pool(address, self.table_at, num_threads, 0)

    def squares(self, num_segments: int) -> np.ndarray:
        """Per segment, the sum of g² that the last kernel found."""
        if num_segments == 1:
            return self.sums[:, 0].sum(keepdims=True)
        return np.bincount(self.chunk_segments, self.sums[:, 0], num_segments)

    def set_factors(self, factors: Sequence[float]) -> None:
        """What each gradient is multiplied with: its segment's factor, uphill with its sign."""
        for part in self.parts:
            self.factors[part.at] = factors[part.group.segment] * part.group.sign

    def clip_tensors(self, limits: Sequence[float | None], scale: float, eps: float) -> None:
        """Further limits, on the norm of each tensor's own gradient."""
        if all(limit is None for limit in limits):
            return
        norms = abs(scale) * np.sqrt(self.per_tensor()[:, 0])
        for part in self.parts:
            limit = limits[part.group.segment]
            if limit is not None:
                self.factors[part.at] *= np.minimum(1.0, limit / (norms[part.at] + eps))

    def update(self) -> None:
        """Count the update, compute its coefficients, make it."""
        for part in self.parts:
            self._advance(part)
        if self.layout.rounding == "stochastic":
            for part in self.parts:
                self.keys[part.at] = keys_of(part.group.seed, part.keys, part.steps)
        staged = [i for i, p in enumerate(self.params) if p is not self.targets[i]]
        for i in staged:
            self.targets[i].copy_(self.params[i])
        for k in range(len(self.formula.measures)):
            self._measure(k)
        self.run("update")
        for i in staged:
            self.params[i].copy_(self.targets[i])

    def _advance(self, part: Part) -> None:
        """Count one update of a group's tensors, and set the coefficients of their rows."""
        steps, hyper = part.steps, part.group.hyper
        if self.active is None:
            steps += 1
            if part.is_uniform():
                scalars = [values[0] for values in part.scalars]
                made, values = self.formula.values(float(steps[0]), scalars, hyper)
                self.coefficients[part.at] = values
                for running, value in zip(part.scalars, made, strict=True):
                    running[:] = value
                return
            active = np.arange(len(steps))
        else:
            active = np.flatnonzero(self.active[part.at])
            steps[active] += 1
        self._advance_each(part, active)

    def _advance_each(self, part: Part, active: np.ndarray) -> None:
        """The same where a group's tensors have not had the same updates so far."""
        known: dict[tuple[float, ...], tuple[list[float], list[float]]] = {}
        for i in active.tolist():
            state = (float(part.steps[i]), *(float(running[i]) for running in part.scalars))
            if state not in known:
                known[state] = self.formula.values(state[0], state[1:], part.group.hyper)
            made, values = known[state]
            self.coefficients[part.at.start + i] = values
            for running, value in zip(part.scalars, made, strict=True):
                running[i] = value

    def _measure(self, k: int) -> None:
        """Sweep once for a whole-tensor number, and set the coefficient that it comes to."""
        measure = self.formula.measures[k]
        self.run(f"measure{k}")
        sums = self.per_tensor()[:, 1:]
        sizes = np.maximum(self.sizes, 1)
        for part in self.parts:
            for i in range(part.at.start, part.at.stop):
                given = sums[i, : len(measure.sums)].tolist()
                value = scale_of(measure, given, float(sizes[i]), part.group.hyper)
                self.scales[i, k] = value

    def per_tensor(self) -> np.ndarray:
        """The last kernel's sums, (n, 4): added up over each tensor's chunks, in their order."""
        total = np.zeros((len(self.params), 4))
        if len(self.chunks):
            owners = self.chunks[:, 0]
            firsts = np.flatnonzero(np.diff(owners, prepend=-1))
            total[owners[firsts]] = np.add.reduceat(self.sums, firsts, axis=0)
        return total


def _plain(tensor: Tensor) -> Tensor:
    """The tensor's numbers, without its graph; a complex one as pairs of reals."""
    plain = tensor.detach()
    return torch.view_as_real(plain.resolve_conj()) if plain.is_complex() else plain


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
