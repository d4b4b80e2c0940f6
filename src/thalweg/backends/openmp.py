"""Launch compiled kernels on the threads that torch computes with.

A kernel takes work from a shared counter until none is left, so any number of threads may run it.
On Linux it is handed to torch's own OpenMP pool, through the GOMP_parallel of the library that
torch has loaded: no second pool, torch.set_num_threads is obeyed, a fork is survived. Elsewhere
the calling thread does all of it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache

import torch

SERIAL_BELOW = 131_072
"""Elements below which one thread is quicker than waking others."""

_is_forked = False


def _note_fork() -> None:
    global _is_forked  # noqa: PLW0603
    _is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)

_Entry = ctypes.CFUNCTYPE(None, ctypes.c_int64)


def entry(address: int) -> Callable[[int], None]:
    """A kernel as a Python callable of a table's address; runs in this thread, without the GIL."""
    return _Entry(address)


def pool() -> Callable[[int, int, int, int], None] | None:
    """As `_pool`; None after a fork as well, where the threads of the parent's pool are gone and
    whoever asks them for work (torch, too) waits for ever.
    """
    return None if _is_forked else _pool()


@cache
def _pool() -> Callable[[int, int, int, int], None] | None:
    """GOMP_parallel(kernel, table, threads, 0) of torch's own library; None where there is none."""
    path = _library()
    if path is None:
        return None
    function = ctypes.CDLL(path).GOMP_parallel
    function.restype = None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    return function


def _library() -> str | None:
    """The libgomp in this process's memory that came with torch, or the only one there is."""
    torch.get_num_threads()
    try:
        with open("/proc/self/maps", encoding="utf-8") as file:
            paths = {line.split(maxsplit=5)[5].strip() for line in file if "libgomp" in line}
    except (OSError, IndexError):
        return None
    home = os.path.dirname(os.path.dirname(torch.__file__))
    inside = sorted(path for path in paths if path.startswith(home))
    if inside:
        return inside[0]
    return paths.pop() if len(paths) == 1 else None
