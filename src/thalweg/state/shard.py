"""The safetensors format, written and read without a copy in between.

A file is the length of its header (8 bytes, little-endian), the header (JSON: dtype, shape and
place of every tensor; blanks up to a multiple of 8), and the tensors' bytes without a gap. To the
byte it is what the safetensors package writes. It is written here all the same: the package syncs
nothing, reserves nothing, and would have every byte read again for its checksum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thalweg.state.careful import about, counts, memory, of_type, opened, parse, shown, with_keys

DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}
"""By the format's code. They are written from the last to the first: wide elements first, so that
every tensor starts at a multiple of its element's size; the package has this order too."""

CODES = {dtype: code for code, dtype in DTYPES.items()}
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES.values())}

MOST_DIMENSIONS = 64
"""As many as torch takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor in a file: its dtype, its shape, and its bytes, counted from the header's end."""

    dtype: torch.dtype
    shape: list[int]
    start: int
    stop: int


def laid_out(tensors: Mapping[str, Tensor]) -> tuple[Iterator[bytes | memoryview], int]:
    """A file's pieces, and its size: the header, then each tensor's bytes, one on the host at once.

    The tensors need no gradient.
    """
    names = sorted(tensors, key=lambda name: (-_RANK[tensors[name].dtype], name))
    header = _header(tensors, names)
    size = len(header) + sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
    return chain([header], (_bytes_of(tensors[name]) for name in names)), size


def _header(tensors: Mapping[str, Tensor], names: list[str]) -> bytes:
    table, start = {}, 0
    for name in names:
        tensor = tensors[name]
        stop = start + tensor.numel() * tensor.itemsize
        code = CODES[tensor.dtype]
        table[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes_of(tensor: Tensor) -> memoryview:
    plain = tensor.cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().data


def load(path: Path, size: int) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file of `size` bytes; its xxh3, to be compared before a tensor is used.

    Each tensor is read into memory of its own, aligned as torch's always is: views of one block of
    memory would not do, because where memory is not aligned to 16 bytes, MKL's products of a
    matrix and a vector round otherwise, and a resume would not be exact.
    Raises ValueError where the header is none that `laid_out` makes.
    """
    with opened(path, memory(), size) as source:
        length = int.from_bytes(source.take(min(8, size)), "little")
        if size < 8 or length > size - 8 or length % 8:
            raise ValueError(f"{path.name} has {size} bytes, and its header should have {length}")
        with about(path.name):
            entries = _entries(source.take(length), size - 8 - length)
        tensors = {name: torch.empty(entry.shape, dtype=entry.dtype) for name, entry in entries}
        for tensor in tensors.values():
            source.fill(_bytes_of(tensor))
        return tensors, source.xxh3()


def _entries(raw: bytearray, size: int) -> list[tuple[str, Entry]]:
    """Name and place of each tensor, in the order of the file, whose data are `size` bytes."""
    table = parse(raw, "the header")
    entries = [(name, _entry(value, f"tensor {shown(name)}")) for name, value in table.items()]
    entries.sort(key=lambda item: (item[1].start, item[1].stop))
    _check_without_gaps(entries, size)
    return entries


def _entry(value: Any, what: str) -> Entry:
    with_keys(value, "dtype shape data_offsets", what)
    dtype = DTYPES.get(of_type(value["dtype"], str, what))
    if dtype is None:
        raise ValueError(f"{what} is of the unknown dtype {shown(value['dtype'])}")
    shape, offsets = counts(value["shape"], what), counts(value["data_offsets"], what)
    if len(shape) > MOST_DIMENSIONS or math.prod(max(n, 1) for n in shape) >= 1 << 63:
        raise ValueError(f"{what} has the shape {shown(shape)}")
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{what} of shape {shown(shape)} stands at {shown(offsets)}")
    return Entry(dtype, shape, *offsets)


def _check_without_gaps(entries: list[tuple[str, Entry]], size: int) -> None:
    """Every byte belongs to one tensor, and every tensor starts where its elements may."""
    end = 0
    for name, entry in entries:
        if entry.start != end:
            raise ValueError(f"tensor {shown(name)} starts at byte {entry.start}, not {end}")
        if end % entry.dtype.itemsize:
            raise ValueError(f"tensor {shown(name)} starts at byte {end}, within an element")
        end = entry.stop
    if end != size:
        raise ValueError(f"the tensors end at byte {end} of {size}")
