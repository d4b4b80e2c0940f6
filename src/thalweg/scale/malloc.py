"""glibc told to keep large buffers, for as long as the process lives.

A step allocates and frees the same large buffers again and again. glibc gives them back to the
kernel each time, and the kernel clears each page before it hands it out anew. Kept, they cost
memory instead: the process holds on to the most that it ever had in use.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

from thalweg.scale.choice import Choice

KEPT, LEFT = "kept", "left"

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's numbers for them, the same in every glibc
_FROM_THE_HEAP = (1 << 30, 1 << 25)
"""Bytes of the largest buffer that comes from the heap; older versions take no more than 32 MiB."""

_NEVER_TRIM = (1 << 31) - 1


@cache
def tune_malloc() -> Choice:
    """Keep large buffers from now on instead of returning them to the kernel; it cannot be undone.

    The value is "kept", or "left" with the reason where it does nothing: there is no glibc, another
    allocator stands in its place, or the environment sets it already.

    >>> import thalweg
    >>> thalweg.tune_malloc().value in ("kept", "left")
    True
    """
    reason = _reason_against()
    if reason is not None:
        return Choice(LEFT, reason)
    library = ctypes.CDLL(None)
    library.malloc_trim(0)  # what is free now, after the data was read, is not for the steps
    taken = next((size for size in _FROM_THE_HEAP if library.mallopt(_MMAP_THRESHOLD, size)), None)
    if taken is None or not library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM):
        return Choice(LEFT, "glibc refused")
    return Choice(KEPT, f"buffers up to {taken >> 20:,} MiB stay in the process")


def is_tuned() -> bool:
    """Has `tune_malloc` been called?"""
    return tune_malloc.cache_info().currsize > 0


def _reason_against() -> str | None:
    """Why there is nothing to tune."""
    if platform.libc_ver()[0] != "glibc":
        return "the C library is not glibc"
    if not _is_glibcs_own():
        return "another allocator stands in for glibc's"
    given = os.environ.get("GLIBC_TUNABLES", "")
    names = [name for name in os.environ if name.startswith("MALLOC_") and name.endswith("_")]
    if names or "glibc.malloc." in given:
        return f"{names[0] if names else 'GLIBC_TUNABLES'} is set in the environment"
    return None


def _is_glibcs_own() -> bool:
    """Does the process allocate with glibc, and not with a library that was loaded before it?"""
    return _address(None) == _address("libc.so.6")


def _address(library: str | None) -> int | None:
    """Where the allocator lies, as the process or as one library sees it.

    `posix_memalign` is what torch calls. `malloc` itself would not do: some builds of Python hold
    an entry of their own that only leads to it.
    """
    return ctypes.cast(ctypes.CDLL(library).posix_memalign, ctypes.c_void_p).value
