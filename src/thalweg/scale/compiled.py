"""torch.compile of a step's forward pass and loss: as one graph, or not at all.

One graph for batches of one form; any other, such as an epoch's shorter last one, is computed as
ever. So what is computed for a batch depends on the batch alone, and not on those before it, as it
would where graphs are made anew for other shapes. Draws (dropout) are the uncompiled model's own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from thalweg.errors import UsageError

OFF, AUTO, ON = WISHES = ("off", "auto", "on")

BACKEND = "inductor"

OPTIONS: dict[str, Any] = {"fallback_random": True}

LONGEST_REASON = 160

Loss = Callable[[nn.Module, Any], Tensor | Mapping[str, Tensor]]
"""(model, batch) -> the mean loss of the batch, 0-d, or several by name, whose sum it is."""

Form = tuple[Any, ...]
"""How a batch is nested, and the shape and dtype of each of its tensors."""


def wish_of(value: Any) -> str:
    """One of `WISHES`; True is "auto". Raises UsageError for anything else."""
    if isinstance(value, bool):
        return AUTO if value else OFF
    if value in WISHES:
        return value
    raise UsageError(
        f"compile is {value!r}: it must be on, off, or auto (the same as --compile alone), which "
        "takes it where a short measurement shows a gain"
    )


class Compiled:
    """The loss of batches of one form, compiled with the model's forward pass inside.

    tell: hears, once, that the compiler gave up later on; from then on all is computed as ever
    Names of parameters stay as they are: the model itself is not wrapped.
    """

    def __init__(self, loss: Loss, form: Form):
        self.form = form
        self.tell: Callable[[str], None] = lambda text: None
        self._loss = loss
        compiler: Any = torch.compile  # whose overloads do not know `isolate_recompiles`
        self._compiled: Loss | None = compiler(
            loss,
            fullgraph=True,
            dynamic=False,
            backend=BACKEND,
            options=OPTIONS if BACKEND == "inductor" else None,
            isolate_recompiles=True,
        )

    def __call__(self, model: nn.Module, batch: Any) -> Tensor | Mapping[str, Tensor]:
        if self._compiled is None or form_of(batch) != self.form:
            return self._loss(model, batch)
        try:
            return self._compiled(model, batch)
        except Exception as error:
            if not is_compilers(error):
                raise
            self._compiled = None
            self.tell(reason_of(error))
            return self._loss(model, batch)


def form_of(batch: Any) -> Form:
    """Of the parts of a batch that are no tensors only the type counts."""
    leaves, nesting = _pytree.tree_flatten(batch)
    kinds = [(x.shape, x.dtype) if isinstance(x, Tensor) else type(x) for x in leaves]
    return nesting, *kinds


def is_compilers(error: BaseException) -> bool:
    """Was it raised by the compiler, and not by the model?"""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def reason_of(error: BaseException) -> str:
    """Why something could not be compiled, in one line."""
    text = str(error)
    if "C++ compiler" in text:
        return "no C++ compiler was found that works: install g++, or name one in CXX"
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    head = lines[1] if lines[0].endswith("raised:") and len(lines) > 1 else lines[0]
    return head if len(head) <= LONGEST_REASON else f"{head[:LONGEST_REASON]}..."


def compiler_of(device: torch.device) -> str:
    """What turns graphs into machine code, with its version, as far as it can be told."""
    if device.type != "cpu":
        return BACKEND  # its Triton comes with torch, whose version is a fact of its own
    cpp = getattr(torch, "_inductor").config.cpp.cxx  # noqa: B009  (loaded by compiling)
    for name in cpp if isinstance(cpp, tuple) else (cpp,):
        try:
            asked = [name or "", "-dumpfullversion", "-dumpversion"]
            found = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            continue
        return f"{BACKEND}, {name} {found.stdout.strip()}"
    return BACKEND
