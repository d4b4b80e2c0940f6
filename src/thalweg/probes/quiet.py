"""When a hook must not look: under a compiler, while a graph is captured, inside of a transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def may_look() -> bool:
    """Is this an ordinary run, in which reading a number does no harm?"""
    if torch.compiler.is_compiling():
        return False
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        return False
    level = torch._C._functorch.maybe_current_level  # pyright: ignore[reportAttributeAccessIssue]
    return level() is None


class Ear:
    """A hook that a copy of its module does not share, and that is not saved with it."""

    def __init__(self, look: Callable[..., Any] | None = None):
        self._look = look

    def __call__(self, *args: Any) -> None:
        if self._look is not None and may_look():
            self._look(*args)

    def __deepcopy__(self, memo: Any) -> Ear:
        return Ear()

    def __reduce__(self) -> tuple[type[Ear], tuple[()]]:
        return Ear, ()


def remove(handles: list[Any]) -> None:
    """Take hooks away."""
    for handle in handles:
        handle.remove()
    handles.clear()
