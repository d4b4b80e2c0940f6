"""A plain function of one array: its values, its gradients, and how many of each were asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import UsageError

Array = np.ndarray | Tensor

_ONE_ARRAY = (
    "minimize takes one array of numbers: join several with torch.cat and take them apart inside f"
)


class Point:
    """A place, the value of f there, and its gradient, computed when first asked for.

    x: detached tensor, never changed; value: a float
    """

    __slots__ = ("_differentiate", "_gradient", "_norm", "value", "x")

    def __init__(self, x: Tensor, value: float, differentiate: Callable[[], Tensor]):
        self.x = x
        self.value = value
        self._differentiate: Callable[[], Tensor] | None = differentiate
        self._gradient: Tensor | None = None
        self._norm: float | None = None

    @property
    def gradient(self) -> Tensor:
        """Of the shape and dtype of x."""
        if self._gradient is None:
            assert self._differentiate is not None
            self._gradient = self._differentiate()
            self._differentiate = None  # frees autograd's graph
        return self._gradient

    @property
    def norm(self) -> float:
        """The Euclidean norm of the gradient, over all elements."""
        norm = self._norm
        if norm is None:
            norm = self._norm = float(torch.linalg.vector_norm(self.gradient))
        return norm

    @property
    def is_finite(self) -> bool:
        """Whether the value and the gradient are; the gradient is not asked where f is not."""
        return math.isfinite(self.value) and math.isfinite(self.norm)


class Function:
    """f over tensors, whatever kind of array the caller's own f speaks.

    gradient: None for autograd, else a function of x; f and gradient are then given what x0 was
    is_numpy: whether x0 was no tensor
    num_evaluations, num_gradients: calls of f, and gradients computed, so far
    """

    def __init__(self, f: Callable, gradient: Callable | None, *, is_numpy: bool):
        self._f = f
        self._given = gradient
        self._is_numpy = is_numpy
        self.num_evaluations = 0
        self.num_gradients = 0

    def at(self, x: Tensor) -> Point:
        """f at x, of x0's shape and dtype."""
        self.num_evaluations += 1
        return self._at_with_graph(x) if self._given is None else self._at_given(x)

    def shown(self, x: Tensor) -> Array:
        """x as the caller knows arrays: NumPy for anything that was no tensor."""
        return x.cpu().numpy()[()] if self._is_numpy else x

    def _at_with_graph(self, x: Tensor) -> Point:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            try:
                value = self._f(leaf)
            except (TypeError, RuntimeError, AttributeError) as error:
                if _is_numpys(error):
                    raise UsageError(_without_graph("is written in NumPy")) from error
                error.add_note(
                    "(thalweg.minimize called f with a torch tensor; an f written in NumPy needs "
                    "gradient=)"
                )
                raise
            number = _number(value)
            if not isinstance(value, Tensor):
                raise UsageError(_without_graph(f"returned a {type(value).__name__}"))
            if not value.requires_grad:
                raise UsageError(_without_graph("returned a tensor that is detached from x"))
            value = value.reshape(())
        return Point(x, number, lambda: self._differentiate(leaf, value))

    def _differentiate(self, leaf: Tensor, value: Tensor) -> Tensor:
        self.num_gradients += 1
        gradient = torch.autograd.grad(value, leaf, allow_unused=True)[0]
        if gradient is None:
            raise UsageError(_without_graph("returned a tensor that does not depend on x"))
        return gradient.detach()

    def _at_given(self, x: Tensor) -> Point:
        return Point(x, _number(self._f(self._own(x))), lambda: self._ask(x))

    def _ask(self, x: Tensor) -> Tensor:
        self.num_gradients += 1
        assert self._given is not None
        return _gradient_like(x, self._given(self._own(x)))

    def _own(self, x: Tensor) -> Array:
        """A copy that the caller's functions may do with as they like."""
        return x.numpy().copy() if self._is_numpy else x.clone()


def tensor_of(x0: Any) -> tuple[Tensor, bool]:
    """x0 as a fresh float tensor, and whether it came as NumPy (or as numbers, lists of numbers).

    Whole numbers become float64. Raises UsageError for what is no array of float32 or float64.
    """
    if isinstance(x0, Tensor):
        _check_kind(str(x0.dtype).removeprefix("torch."))
        whole = not x0.is_floating_point()
        return _filled(x0.detach().to(torch.float64 if whole else x0.dtype, copy=True)), False
    holds_tensors = isinstance(x0, list | tuple) and any(isinstance(e, Tensor) for e in x0)
    if isinstance(x0, Mapping | set) or holds_tensors:
        what = f"{type(x0).__name__} of tensors" if holds_tensors else type(x0).__name__
        raise UsageError(f"x0 is a {what}: {_ONE_ARRAY}")
    try:
        array = np.asarray(x0)
    except ValueError:
        raise UsageError(f"x0 is a list of uneven lists: {_ONE_ARRAY}") from None
    kind = {"U": "text", "S": "text", "O": f"a {type(x0).__name__}"}.get(array.dtype.kind)
    _check_kind(kind or array.dtype.name)
    dtype = array.dtype.newbyteorder("=") if array.dtype.kind == "f" else np.float64
    return _filled(torch.from_numpy(np.array(array, dtype=dtype, order="C"))), True


def _check_kind(kind: str) -> None:
    """Raise UsageError unless numbers of this kind can be minimised over."""
    if kind.startswith("complex"):
        raise UsageError(
            f"x0 is {kind}: minimize takes real numbers; give real and imaginary parts apart"
        )
    if kind not in ("float64", "float32") and not kind.startswith(("int", "uint")):
        raise UsageError(f"x0 holds {kind}: it must hold numbers, float64 (best) or float32")


def _filled(x: Tensor) -> Tensor:
    if x.numel() == 0:
        raise UsageError(f"x0 is empty, of shape {tuple(x.shape)}: there is nothing to minimise")
    if not x.isfinite().all():
        raise UsageError("x0 holds a number that is nan or infinite: start from finite numbers")
    return x


def _number(value: Any) -> float:
    """What f returned, as a float. Raises UsageError where it is not one real number."""
    if isinstance(value, Tensor):
        shape, kind = tuple(value.shape), str(value.dtype)
    elif isinstance(value, Number | np.ndarray):
        value = np.asarray(value)
        shape, kind = value.shape, value.dtype.name
    else:
        raise UsageError(f"f returned {_named(value)}: it must return one number")
    if math.prod(shape) != 1:
        raise UsageError(
            f"f returned an array of shape {shape}: it must return one number, such as its sum"
        )
    if "complex" in kind:
        raise UsageError("f returned a complex number: it must return a real one, such as its abs")
    return float(value.item())


def _is_numpys(error: BaseException) -> bool:
    """Whether f failed because NumPy was given a tensor: raised inside NumPy, or by its wish."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    inside = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return inside.startswith("numpy") or "numpy()" in str(error)


def brief(value: Any) -> str:
    """A value's repr on one line, cut where it is long."""
    line = " ".join(repr(value).split())
    return line if len(line) <= 60 else f"{line[:57]}..."


def _named(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return "a tuple (the gradient is given apart, as gradient=)"
    return f"a {type(value).__name__}"


def _gradient_like(x: Tensor, answer: Any) -> Tensor:
    """What gradient= returned, as a tensor like x. Raises UsageError where it does not fit."""
    try:
        found = answer.detach() if isinstance(answer, Tensor) else torch.as_tensor(_real(answer))
    except (TypeError, ValueError):
        raise UsageError(f"gradient returned {_named(answer)}: it must return an array") from None
    if found.shape != x.shape:
        raise UsageError(
            f"gradient returned shape {tuple(found.shape)}: it must be x0's, {tuple(x.shape)}"
        )
    if found.is_complex():
        raise UsageError("gradient returned complex numbers: they must be real")
    return found.to(x, copy=True)


def _real(answer: Any) -> np.ndarray:
    array = np.asarray(answer)
    if array.dtype.kind not in "fiuc":
        raise TypeError
    return array.astype(array.dtype.newbyteorder("="), order="C")


def _without_graph(what: str) -> str:
    return (
        f"f {what}, so autograd cannot differentiate it: compute it from x with torch operations, "
        "or give its gradient, gradient=..."
    )
