"""One launch of GPU kernels: the table of all its tensors, which lives on the device.

What the host has to say each step (addresses of gradients, hyperparameters, the request) goes over
in one copy, and only where something changed; what already is on the device is copied there.
Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.backends import kernels
from thalweg.backends.base import Group, elementwise
from thalweg.backends.gpu_source import source
from thalweg.backends.gpu_words import ARGUMENTS, Ask
from thalweg.backends.layout import SIZES, Layout
from thalweg.backends.memory import Memory, element_addresses
from thalweg.rules.formula import Formula

BLOCK = 1024
"""Elements that a program holds at a time."""

BYTES = 16
"""What a thread reads of an array at a time: as much as one instruction can."""

OPTIONS = {"enable_fp_fusion": False}
"""No multiplication and addition in one: the device gives the bits that the interpreter gives."""

WIDTH = 1024
"""Numbers that are summed at a time, of a row's chunks or of all rows."""

LANES = 128
"""Rows whose coefficients one program computes."""

MOST_BLOCKS = 16
"""Blocks in a chunk, where there is work enough for every part of the largest GPUs."""

PROGRAMS = 4096
"""Programs that such a GPU should have at least, before chunks grow."""


@cache
def compiled(formula: Formula, layout: Layout) -> ModuleType:
    """The kernels of a formula; Triton compiles each when it is first launched."""
    runtime = Path(__file__).with_name("gpu_elements.py").read_text(encoding="utf-8")
    name, text = f"gpu_{formula.name}_{layout.name}", source(formula, layout)
    return kernels.module(kernels.place(name, text, f"triton {version('triton')} {runtime}"), text)


class Inbox:
    """Words that the host writes and the device reads: whole numbers and float64, side by side."""

    def __init__(self, device: torch.device):
        self._device = device
        self._size = 0
        self._live: list[tuple[int, Tensor]] = []
        self._sent: bytes | None = None

    def reserve(self, count: int) -> slice:
        """A place for so many words, on a boundary of 128 bytes."""
        start = self._size
        self._size += -(-count // 16) * 16
        return slice(start, start + count)

    def open(self) -> None:
        """All is reserved: from now on it can be written."""
        self.words = np.zeros(self._size, dtype=np.int64)
        self.numbers = self.words.view(np.float64)
        self.device_words = torch.zeros(self._size, dtype=torch.int64, device=self._device)
        self.device_numbers = self.device_words.view(torch.float64)

    def put(self, place: int, value: Any) -> None:
        """A number; where it is a tensor on the device, it is read there."""
        if isinstance(value, Tensor) and value.device == self._device:
            self._live.append((place, value))
        else:
            self.numbers[place] = float(value)

    def send(self) -> None:
        """Bring the device up to date, without waiting for it."""
        content = self.words.tobytes()
        if content != self._sent:
            words = torch.frombuffer(bytearray(content), dtype=torch.int64)
            words = words.pin_memory() if self._device.type == "cuda" else words
            self.device_words.copy_(words, non_blocking=True)
            self._sent = content
        for place, value in self._live:
            self.device_numbers[place].copy_(value.detach().reshape(()))
            self._sent = None  # the device now differs from what was sent
        self._live.clear()


class Shared:
    """What the launches of one optimizer share: the request, and all rows with their segments."""

    def __init__(self, segments: Sequence[int], device: torch.device):
        self.device = device
        self.num_segments = 1 + max(segments, default=0)
        self.num_all = len(segments)
        self.inbox = Inbox(device)
        self.ask = self.inbox.reserve(len(Ask))
        self.limits = self.inbox.reserve(2 * self.num_segments)
        self.segments = torch.tensor(segments, dtype=torch.int64, device=device)
        self.squares = zeros(device, 4, self.num_all)
        self.clips = zeros(device, self.num_all) + 1.0
        self.outcome = zeros(device, 1)


class Launch:
    """All tensors of one formula and layout; `first` is the place of its first row among all."""

    def __init__(self, groups: Sequence[Group], layout: Layout, shared: Shared, first: int):
        self.groups = groups
        self.formula = elementwise(groups[0].formula)
        self.shared = shared
        self.memory = Memory(groups)
        self.rows = slice(first, first + len(self.memory.params))
        self.kernels = compiled(self.formula, layout)
        self._names = [row.name for row in self.formula.rule.hypers]
        self._sweep_options = {**OPTIONS, "num_warps": num_warps(layout)}
        self._num_rows = len(self.memory.params)
        self._grads_at = shared.inbox.reserve(self._num_rows)
        self._hyper_at = shared.inbox.reserve(len(groups) * (1 + len(self._names)))
        self._seeds_at = shared.inbox.reserve(len(groups))

    def open(self) -> None:
        """Build the table, once the inbox stands."""
        device, shared = self.shared.device, self.shared
        chunks = self.memory.chunks(chunk_length(sum(self.memory.sizes)))
        self.num_chunks = len(chunks)
        table = self._table(chunks)
        self._is_aligned = _are_aligned(self._addresses)
        self._is_grad_aligned = True
        num_made = 1 + len(self.formula.coefficients) + len(self.formula.measures)
        self.sums = zeros(device, 4, self.num_chunks)
        self.made = zeros(device, num_made, self._num_rows)
        words, numbers = shared.inbox.device_words, shared.inbox.device_numbers
        arguments = {
            "ask": numbers[shared.ask],
            "limits": numbers[shared.limits],
            "hyper": numbers[self._hyper_at],
            "seeds": words[self._seeds_at],
            "grads": words[self._grads_at],
            "chunks": torch.tensor(chunks, dtype=torch.int64, device=device).reshape(-1, 3),
            "table": torch.from_numpy(table).to(device),
            "sums": self.sums,
            "made": self.made,
            "keys": torch.zeros(self._num_rows, dtype=torch.int64, device=device),
            "segments": shared.segments,
            "squares": shared.squares,
            "clips": shared.clips,
            "outcome": shared.outcome,
            "num_rows": self._num_rows,
            "num_chunks": self.num_chunks,
            "num_all": shared.num_all,
            "num_segments": shared.num_segments,
        }
        self._arguments = [arguments[name] for name in ARGUMENTS]
        for k, group in enumerate(self.groups):
            shared.inbox.words[self._seeds_at][k] = np.uint64(group.seed % 2**64).view(np.int64)

    def _table(self, chunks: Sequence[tuple[int, int, int]]) -> np.ndarray:
        """What stays the same from step to step, a column for each Column and each address."""
        counts = np.bincount([t for t, _, _ in chunks], minlength=self._num_rows)
        ends = np.cumsum(counts)
        rows = [(k, i, g) for k, g in enumerate(self.groups) for i in range(len(g.params))]
        scalars = self.formula.rule.scalars
        self._addresses = np.array(
            [list(map(Tensor.data_ptr, ts)) for ts in (self.memory.targets, *self.memory.states)]
        )
        columns = [
            ends - counts,
            ends,
            np.maximum(self.memory.sizes, 1),
            [k for k, _, _ in rows],
            [group.segment for _, _, group in rows],
            range(self.rows.start, self.rows.stop),
            element_addresses((group.steps, i) for _, i, group in rows),
            [group.keys[i] for _, i, group in rows],
            *(element_addresses((g.scalars[name], i) for _, i, g in rows) for name in scalars),
            *self._addresses,
        ]
        return np.array([np.asarray(column, dtype=np.int64) for column in columns])

    def take(self, grads: Sequence[Tensor | None]) -> None:
        """Write this step's gradients and hyperparameters into the inbox."""
        inbox = self.shared.inbox
        addresses = np.array(self.memory.take(grads), dtype=np.int64)
        inbox.words[self._grads_at] = addresses
        self._is_grad_aligned = _are_aligned(addresses)
        places = iter(range(self._hyper_at.start, self._hyper_at.stop))
        for group in self.groups:
            inbox.put(next(places), group.sign)
            for name in self._names:
                inbox.put(next(places), group.hyper[name])

    def norm(self) -> None:
        """The sums of g² of every row."""
        self._sweep("norm")
        self.collect(1)

    def collect(self, num_slots: int) -> None:
        """Add up the first sums of every row's chunks."""
        kernel = self.kernels.collect[(self._num_rows,)]
        kernel(*self._arguments, num_slots=num_slots, width=WIDTH, **OPTIONS)

    def clips(self) -> Tensor:
        """What each row's gradient was multiplied with, where the formula clips it too."""
        found = self.shared.clips[self.rows]
        for k in self.formula.clips:
            found = found * self.made[1 + len(self.formula.coefficients) + k]
        return found

    def settle(self) -> None:
        """Decide whether the step is taken; count it, and compute its coefficients."""
        kernel = self.kernels.settle[(-(-self._num_rows // LANES),)]
        kernel(*self._arguments, lanes=LANES, width=WIDTH, **OPTIONS)

    def update(self) -> None:
        """The sweep itself, after `settle`; measures first, where the formula has any."""
        for k in range(len(self.formula.measures)):
            self._sweep(f"measure{k}")
            scale = getattr(self.kernels, f"scale{k}")[(self._num_rows,)]
            scale(*self._arguments, width=WIDTH, **OPTIONS)
        self._sweep("update")

    def _sweep(self, name: str) -> None:
        if self.num_chunks:
            is_aligned = self._is_grad_aligned and (name == "norm" or self._is_aligned)
            kernel = getattr(self.kernels, name)[(self.num_chunks,)]
            kernel(*self._arguments, is_aligned=is_aligned, block=BLOCK, **self._sweep_options)


def zeros(device: torch.device, *shape: int) -> Tensor:
    """Float64 numbers on a device."""
    return torch.zeros(shape, dtype=torch.float64, device=device)


def num_warps(layout: Layout) -> int:
    """Groups of 32 threads for a sweep, so that each reads 16 bytes of the parameter at a time."""
    return BLOCK * SIZES[layout.param] // (32 * BYTES)


def _are_aligned(addresses: np.ndarray) -> bool:
    """Can all be read by 16 bytes at a time?"""
    return not np.bitwise_or.reduce(addresses, axis=None) % BYTES


def chunk_length(num_elements: int) -> int:
    """How much one program works on: little while there are few programs, for an even spread."""
    blocks = num_elements // (BLOCK * PROGRAMS)
    return BLOCK * min(MOST_BLOCKS, max(1, blocks))
