"""When a hook must not look: in a trial, under a compiler, in a captured graph, in a transform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_hushed: list[bool] = []  # no ContextVar: backward hooks run on threads of their own


@contextmanager
def hushed() -> Iterator[None]:
    """Inside, no hook of ours looks: what happens there is none of the run's steps."""
    _hushed.append(True)
    try:
        yield
    finally:
        _hushed.pop()


def may_look() -> bool:
    """Is this an ordinary run, in which reading a number does no harm?"""
    if _hushed:
        return False
    if torch.compiler.is_compiling():
        return False
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        return False
    level = torch._C._functorch.maybe_current_level  # pyright: ignore[reportAttributeAccessIssue]
    return level() is None


class Ear:
    """A hook that a copy of its module does not share, and that is not saved with it.

    asks: whether it may look, before it does; else `look` has to
    """

    def __init__(self, look: Callable[..., Any] | None = None, *, asks: bool = True):
        self._look = look
        self._asks = asks

    def __call__(self, *args: Any) -> None:
        if self._look is not None and (not self._asks or may_look()):
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
