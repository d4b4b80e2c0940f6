"""One launch of CPU kernels: the table of all its tensors, kept from step to step."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.backends import cpu_object, openmp
from thalweg.backends.base import Group, elementwise
from thalweg.backends.cpu_prologue import HYPER_HEAD
from thalweg.backends.cpu_source import source, tasks
from thalweg.backends.cpu_words import Ask, Word
from thalweg.backends.layout import Layout
from thalweg.backends.memory import Memory, element_addresses
from thalweg.rules.formula import Formula

CHUNK = 16_384
"""Elements that a thread takes at a time: a few arrays of them fit a core's second-level cache."""

LINKED = ("elements", "cpu_common", "cpu_words", "base", "layout", "rounding")
"""The modules that a kernel's text takes code or numbers from: compiled anew if one has changed."""


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
    here = Path(__file__).parent
    runtime = "".join((here / f"{name}.py").read_text(encoding="utf-8") for name in LINKED)
    name = f"{formula.name}_{layout.name}"
    address = cpu_object.address_of(name, source(formula, layout), f"{version('numba')} {runtime}")
    return address, openmp.entry(address)


class Launch:
    """All tensors of one formula and layout."""

    def __init__(self, groups: Sequence[Group], layout: Layout, shared: Shared):
        self.formula = elementwise(groups[0].formula)
        self.shared = shared
        self.memory = Memory(groups)
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
        counts = [-(-size // CHUNK) for size in self.memory.sizes]
        self.chunks = np.array(self.memory.chunks(CHUNK), dtype=np.int64).reshape(-1, 3)
        self.firsts = np.cumsum([0, *counts], dtype=np.int64)
        self.num_elements = sum(self.memory.sizes)

    def _make_table(self, groups: Sequence[Group]) -> None:
        """Everything that the kernels read or write, and the table that says where it lies."""
        n, formula, shared = len(self.memory.params), self.formula, self.shared
        scalars = list(formula.rule.scalars)
        self.counter = np.zeros(1, dtype=np.int64)
        self.sums = np.zeros((len(self.chunks), 4))
        self.hyper = np.zeros((len(groups), HYPER_HEAD + len(formula.rule.hypers)))
        self.hyper[:, 0] = np.array([g.seed % 2**64 for g in groups], np.uint64).view(np.float64)
        self.grads_at = array("q", [0] * n)
        self._pack = Struct(f"{n}q").pack_into
        lists = [self.memory.targets, *self.memory.states]
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

    def take(self, grads: Sequence[Tensor | None]) -> None:
        """Write the addresses of this step's gradients into the table."""
        self._pack(self.grads_at, 0, *self.memory.take(grads))

    def set_hyper(self) -> None:
        """Write this step's hyperparameters into the table."""
        for k, part in enumerate(self.parts):
            group = part.group
            values = map(group.hyper.__getitem__, part.names)
            self.hyper[k, 1:] = (group.sign, *values)

    def smallest_clip(self) -> float:
        """The least that a row's gradient was multiplied with, where the formula clips it too."""
        factors = np.abs(self._held[Word.FACTORS] / self.shared.request[Ask.SCALE])
        for k in self.formula.clips:
            factors = factors * self._held[Word.SCALES][:, k]
        return float(factors.min(initial=1.0))

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

    def per_tensor(self) -> np.ndarray:
        """The last kernel's sums, (n, 4): added up over each tensor's chunks, in their order."""
        total = np.zeros((len(self.memory.params), 4))
        has_chunks = np.diff(self.firsts) > 0
        if len(self.chunks):
            total[has_chunks] = np.add.reduceat(self.sums, self.firsts[:-1][has_chunks], axis=0)
        return total


def _addresses(places: Any) -> np.ndarray:
    return np.array(element_addresses(places), dtype=np.int64)
