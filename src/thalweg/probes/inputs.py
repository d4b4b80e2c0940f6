"""What goes into a model: the sizes of its columns, and whether samples differ at all."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from thalweg.facts import Columns

FIRST = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase)

FEWEST_ALIKE, FEWEST_APART = 8, 16
"""Samples that it takes to say that all are alike, or that columns say one thing."""

MOST_SYMBOLS = 1_000_000

NO_SIZE, ONE = 1e-4, 1e-4
"""Of the largest column's deviation; and of a column's variance, what the others leave of it."""


def tensors_of(value: Any) -> Any:
    """The tensors of nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_of(item)


def flat(x: Tensor, module: nn.Module) -> Tensor | None:
    """Rows and columns: channels of a convolution, else the last dimension; at most 4,096 rows."""
    if not x.is_floating_point() or x.ndim < 2 or x.numel() == 0:
        return None
    dims = module.weight.ndim - 2 if isinstance(module, nn.modules.conv._ConvNd) else 0
    if dims and x.ndim >= dims + 1:
        x = x.movedim(-dims - 1, -1)
    rows = x.detach().reshape(-1, x.shape[-1])
    return rows[:: -(-rows.shape[0] // 4096)].float()


def is_data(module: nn.Module, x: Tensor) -> bool:
    """Does this layer see numbers that no weight has made?"""
    return isinstance(module, FIRST) and x.is_floating_point() and not x.requires_grad


def columns_of(name: str, module: nn.Module, x: Tensor, *, is_given: bool = True) -> Columns | None:
    """The sizes of a first layer's inputs; None where there are too few samples. is_given: the
    model was given these
    """
    rows = flat(x, module)
    if rows is None or rows.shape[0] < 2:
        return None
    rows = rows.double()
    bad = int((~torch.isfinite(rows)).sum())
    rms, std, mean = rows.square().mean(0).sqrt(), rows.std(0), rows.mean(0).abs()
    num_apart, directions = (0, 0) if bad or is_picture(module) else apart(rows)
    varied = (std > 0).nonzero().flatten()
    if bad or len(varied) == 0:
        return Columns(name, rows.shape[1], 0.0, 0, 0.0, 0, 0.0, 0, 0.0, bad, is_given=is_given)
    sizes, centres = rms[varied], mean[varied] / std[varied]
    high, low, off = int(sizes.argmax()), int(sizes.argmin()), int(centres.argmax())
    return Columns(
        module=name,
        count=rows.shape[1],
        largest=float(sizes[high]),
        largest_at=int(varied[high]),
        smallest=float(sizes[low]),
        smallest_at=int(varied[low]),
        off_centre=float(centres[off]),
        off_centre_at=int(varied[off]),
        row_norm=float(rows.norm(dim=1).median()),
        num_nonfinite=0,
        num_apart=num_apart,
        directions=directions,
        least_off_centre=float(centres.min()),
        is_given=is_given,
    )


def is_picture(module: nn.Module) -> bool:
    """Are its columns channels?"""
    return isinstance(module, nn.modules.conv._ConvNd)


def apart(rows: Tensor) -> tuple[int, int]:
    """The columns that vary, and of how many of them all are multiples, up to a shift: 1, 2, or 0
    for more.

    >>> x, y = torch.randn(2, 32, 1)
    >>> row = torch.tensor([1.0, -2.0, 3.0, 0.5])
    >>> apart(x * row + 7), apart(x * row + y), apart(torch.randn(32, 4))
    ((4, 1), (4, 2), (4, 0))
    """
    away = (rows - rows.mean(0)).double()
    deviation = away.square().mean(0).sqrt()
    kept = deviation > NO_SIZE * deviation.max()
    if len(rows) < FEWEST_APART or not bool(kept.any()):
        return int(kept.sum()), 0
    away = away[:, kept] / deviation[kept]
    for directions in (1, 2):
        largest = away[:, away.square().mean(0).argmax()]
        away = away - largest[:, None] * (largest @ away / (largest @ largest))
        if bool((away.square().mean(0) < ONE).all()):
            return int(kept.sum()), directions
    return int(kept.sum()), 0


def symbols_of(args: Any) -> Tensor | None:
    """A copy of the whole numbers, (samples, places), that a model is given; None where there is
    more, or something else.
    """
    tensors = list(tensors_of(args))
    x = tensors[0] if len(tensors) == 1 else None
    if x is None or x.ndim != 2 or x.dtype not in (torch.int64, torch.int32) or not is_plain(x):
        return None
    return x.detach().clone() if x.numel() <= MOST_SYMBOLS else None


def rows_of(args: Any) -> Tensor | None:
    """The columns of numbers, (samples, columns), that a model is given; None where there is more,
    or something else.
    """
    tensors = list(tensors_of(args))
    x = tensors[0] if len(tensors) == 1 else None
    is_table = x is not None and x.ndim == 2 and x.is_floating_point() and is_plain(x)
    return x.detach() if is_table and x is not None and x.numel() <= MOST_SYMBOLS else None


def is_plain(tensor: Tensor) -> bool:
    """Is it neither sparse nor nested, so that its values can be looked at?"""
    return tensor.layout == torch.strided and not tensor.is_nested


class Given:
    """What the whole model was given in a step: data, which need no graph."""

    def __init__(self) -> None:
        self.pointers: set[int] = set()
        self.shapes: set[tuple[int, ...]] = set()
        self._are_alike: list[Literal["", "zero", "alike"]] = []

    def see(self, args: Any) -> None:
        """Note what a pass was given. Sparse and nested tensors are not looked into."""
        tensors = list(tensors_of(args))
        plain = [tensor for tensor in tensors if is_plain(tensor)]
        self.pointers |= {t.data_ptr() for t in plain}
        self.shapes |= {tuple(t.shape) for t in plain}
        self._are_alike.append(alike(plain) if len(plain) == len(tensors) else "")

    @property
    def are_alike(self) -> Literal["", "zero", "alike"]:
        """ "zero" or "alike" where all that was given is the same for every sample."""
        if not self._are_alike or "" in self._are_alike:
            return ""
        return "zero" if set(self._are_alike) == {"zero"} else "alike"


def alike(tensors: list[Tensor]) -> Literal["", "zero", "alike"]:
    """Are all of these the same for every sample? A single number to a sample does not count."""
    if not tensors or any(t.ndim < 2 or t.requires_grad for t in tensors):
        return ""
    few = any(len(t) < FEWEST_ALIKE or t[0].numel() < 2 for t in tensors)
    if few or not all(bool((t == t[:1]).all()) for t in tensors):
        return ""
    return "zero" if not any(bool(t.any()) for t in tensors) else "alike"
