"""What flows through a model in one step, seen by a hook on every module's forward.

The hook is torch's global one: it costs the same for one module or a thousand, and modules keep
their fast paths. It sees every module of the process and looks at those that it was told of.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from thalweg.facts import Columns, Ran
from thalweg.probes.graph import PASSING, below, kind_of
from thalweg.probes.inputs import Given, columns_of, flat, is_data, tensors_of
from thalweg.probes.quiet import Ear, may_look, remove

UNITS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "ThresholdBackward": "relu"}
THROUGH = PASSING | {"MaxPool2DWithIndices", "MaxPool1D", "AvgPool2D", "Mul", "Mean", "MaxPool2D"}
"""Nodes that may stand between a unit and the layer that it feeds: pools, dropout."""

FEWEST_ROWS = 16
"""Samples that it takes to call a unit dead."""

CLOSE = 0.01
"""A value this close to a bound is saturated."""


class Flow:
    """Watches the forward passes of a step.

    modules: those that hold weights, by name; outsiders: others, of which it is told whether they
    ran; one_by_one: a hook on each instead of the global one, of which compiled modules complain
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        outsiders: Iterable[nn.Module] = (),
        *,
        one_by_one: bool = False,
    ):
        self._modules = {id(module): name for name, module in modules.items()}
        self._each = list(modules.values()) if one_by_one else []
        self._outsiders = {id(module): False for each in outsiders for module in each.modules()}
        self._handles: list[Any] = []
        self.seconds = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget the step."""
        self._ran: dict[str, Ran] = {}
        self.given = Given()
        self._made: dict[tuple[int, int], str] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._times: Counter[str] = Counter()
        self._in_order: dict[str, tuple[int, int]] = {}
        self.columns: Columns | None = None

    def start(self) -> None:
        """Begin to watch."""
        if not self._handles:
            each = [module.register_forward_hook(Ear(self._look)) for module in self._each]
            self._handles = each or [register_module_forward_hook(self._look)]

    def stop(self) -> None:
        """Take the hooks away."""
        remove(self._handles)

    def saw_input(self, args: Any) -> None:
        """The whole model is about to run on this."""
        self.given.see(args)

    @property
    def ran(self) -> tuple[Ran, ...]:
        """The modules in the order in which they first ran."""
        again = ((ran, self._times[name]) for name, ran in self._ran.items())
        return tuple(ran if times == 1 else replace(ran, times=times) for ran, times in again)

    def mixed(self, output: tuple[int, ...]) -> str:
        """A layer over sequences that was given (samples, steps, values) and takes (steps, samples,
        values). output: the shape of what the model gave: one answer a sample, if it is known
        """
        for name, (rows, steps) in self._in_order.items():
            is_given = any(shape[:2] == (rows, steps) for shape in self.given.shapes)
            if is_given and len(output) < 3 and output[:1] == (rows,) and 1 < rows != steps > 1:
                return name
        return ""

    def outsider_ran(self, module: nn.Module | None) -> bool:
        return any(self._outsiders.get(id(m), False) for m in module.modules()) if module else False

    # ------------------------------------------------------------ one module

    def _look(self, module: nn.Module, args: Any, output: Any) -> None:
        if not may_look():
            return
        if id(module) in self._outsiders:
            self._outsiders[id(module)] = torch.is_grad_enabled()
        name = self._modules.get(id(module))
        if name is None:
            return
        began = time.perf_counter()
        try:
            self._note(name, module, next(tensors_of(args), None), output)
        except Exception:  # a probe must not end what it looks at
            self.stop()
        self.seconds += time.perf_counter() - began

    @torch.no_grad()
    def _note(self, name: str, module: nn.Module, x: Tensor | None, output: Any) -> None:
        made = next(tensors_of(output), None)
        if made is not None:
            self._made[made.data_ptr(), made.numel()] = name
        self._times[name] += 1
        known = self._ran.get(name)
        with_grad = made is not None and made.requires_grad
        if known is not None and (known.with_grad or not with_grad):
            return  # the first pass that trains is what counts
        if x is not None and self.columns is None and is_data(module, x):
            is_given = x.data_ptr() in self.given.pointers
            self.columns = columns_of(name, module, x, is_given=is_given)
        if x is not None and x.ndim == 3 and getattr(module, "batch_first", True) is False:
            self._in_order[name] = x.shape[0], x.shape[1]
        self._ran[name] = self._fact(name, module, x, made, len(self._ran) + 1)
        if with_grad and made is not None:
            self._shapes[name] = tuple(made.shape)

    def _fact(
        self, name: str, module: nn.Module, x: Tensor | None, made: Tensor | None, order: int
    ) -> Ran:
        rows = flat(x, module) if x is not None and x.is_floating_point() else None
        unit = unit_of(x) if x is not None else ""
        dead, saturated = shares(rows, unit) if rows is not None else (0.0, 0.0)
        rms, spread = size_of(flat(made, module)) if made is not None else (1.0, 1.0)
        with_grad = made is not None and made.requires_grad
        is_cut = x is not None and with_grad and x.is_floating_point() and not x.requires_grad
        cut_from = self._source(x, name) if is_cut and x is not None else ""
        return Ran(
            module=name,
            kind=type(module).__name__,
            order=order,
            mode=module.training,
            with_grad=with_grad,
            rows=0 if x is None else (x.numel() if rows is None else rows.shape[0]),
            width=0 if rows is None else rows.shape[1],
            unit=unit,
            dead=dead,
            saturated=saturated,
            rms=rms,
            spread=spread,
            cut_from=cut_from,
            drawn_from=self._like(x) if cut_from == "?" and x is not None else (),
        )

    def _like(self, x: Tensor) -> tuple[str, ...]:
        """Modules whose outputs have an input's very shape, two or more; else one that gave twice
        its width.
        """
        shape = tuple(x.shape)
        twice = (*shape[:-1], 2 * shape[-1])
        same = tuple(name for name, each in self._shapes.items() if each == shape)
        return same if len(same) > 1 else tuple(n for n, e in self._shapes.items() if e == twice)

    def _source(self, x: Tensor, name: str) -> str:
        """Whose output an input without a graph is; nothing for data."""
        if x.data_ptr() in self.given.pointers:
            return ""
        source = self._made.get((x.data_ptr(), x.numel()), "")
        if source and source != name:
            return source
        return "?" if self.given.pointers and self._ran else ""


def unit_of(x: Tensor) -> str:
    """The unit that made a layer's input, pools and dropout between them apart."""
    node = x.grad_fn
    for _ in range(6):
        if node is None:
            return ""
        kind = kind_of(node)
        if kind in UNITS:
            return UNITS[kind]
        if kind not in THROUGH or len(below(node)) != 1:
            return ""
        node = below(node)[0]
    return ""


def shares(rows: Tensor, unit: str) -> tuple[float, float]:
    """The share of columns that are all zero, and of values close to a bound."""
    if rows.shape[0] < FEWEST_ROWS:
        return 0.0, 0.0
    if unit == "relu":
        return float((rows == 0).all(0).float().mean()), 0.0
    if unit == "tanh":
        return 0.0, float((rows.abs() > 1 - CLOSE).float().mean())
    if unit == "sigmoid":
        return 0.0, float(((rows - 0.5).abs() > 0.5 - CLOSE).float().mean())
    return 0.0, 0.0


def size_of(rows: Tensor | None) -> tuple[float, float]:
    """Root mean square, and how far the rows differ as a share of it."""
    if rows is None or rows.shape[0] < 2:
        return 1.0, 1.0
    rms = float(rows.square().mean().sqrt())
    spread = float(rows.var(0).mean().sqrt())
    return rms, spread / rms if rms > 0 else 0.0
