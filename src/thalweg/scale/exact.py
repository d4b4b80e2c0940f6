"""torch's deterministic switch, turned on for a run and put back afterwards."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_INEXACT = re.compile(
    r"(?:(\S+) does not have a deterministic implementation"
    r"|((?:\S+ )+[Aa]ttention) defaults to a non-deterministic algorithm"
    r"|Deterministic behavior was enabled)"
)

_PRODUCTS = "matrix products on this GPU (CUBLAS_WORKSPACE_CONFIG was set too late)"


@contextmanager
def deterministic(tell: Callable[[str], None], *, compiles: bool = False) -> Iterator[None]:
    """Deterministic operations only; `tell` hears once the name of each that torch lacks.

    compiles: is torch's compiler going to be used inside?
    Memory is not filled before use (torch's default under this switch), which would cost time and
    change nothing.
    """
    was_on = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    switch: Any = torch.utils.deterministic
    was_filling = switch.fill_uninitialized_memory
    told: set[str] = set()

    def hear(
        message: Warning | str, category: type[Warning], *place: object, **more: object
    ) -> None:
        name = _INEXACT.match(str(message))
        if name is None:
            show(message, category, *place, **more)  # pyright: ignore[reportArgumentType, reportCallIssue]
        elif (inexact := name[1] or name[2] or _PRODUCTS) not in told:
            told.add(inexact)
            tell(inexact)

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read with CUDA's first product
    show = warnings.showwarning
    _switch(True, warn_only=True, compiles=compiles)
    switch.fill_uninitialized_memory = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", message=_INEXACT.pattern)
            warnings.showwarning = hear
            yield
    finally:
        _switch(was_on, warn_only=was_warning, compiles=compiles)
        switch.fill_uninitialized_memory = was_filling


def strictly(given: Tensor, made: Tensor) -> None:
    """Let what made one of the other have a gradient that is exact to the bit, in an exact run.

    For attention: on CUDA torch takes its deterministic backward pass only under the switch's
    strict form, under which an operation that has none is an error; a run uses the lenient one.
    The strict form holds from when the gradient of `made` is there until that of `given` is.
    """
    if (
        made.is_cuda
        and made.requires_grad
        and given.requires_grad
        and torch.is_deterministic_algorithms_warn_only_enabled()
        and not torch.compiler.is_compiling()
    ):
        made.register_hook(lambda _: torch._C._set_deterministic_algorithms(True, warn_only=False))
        given.register_hook(lambda _: torch._C._set_deterministic_algorithms(True, warn_only=True))


def _switch(is_on: bool, *, warn_only: bool, compiles: bool) -> None:
    """torch.use_deterministic_algorithms, which imports torch's compiler to tell it as well: that
    takes seconds, and is left out where the compiler is not there and nothing is compiled.
    """
    if compiles or "torch._inductor.config" in sys.modules:
        torch.use_deterministic_algorithms(is_on, warn_only=warn_only)
    else:
        torch._C._set_deterministic_algorithms(is_on, warn_only=warn_only)
