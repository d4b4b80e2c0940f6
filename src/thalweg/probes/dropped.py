"""Dropout that goes on in evaluation mode: called as a function, it hears of no mode."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from thalweg.probes.quiet import Ear

DROPS: tuple[Callable[..., Any], ...] = (
    functional.dropout,
    functional.dropout1d,
    functional.dropout2d,
    functional.dropout3d,
    functional.alpha_dropout,
    functional.feature_alpha_dropout,
)
_GIVEN = {drop: inspect.signature(drop) for drop in DROPS}
ATTENTION = functional.scaled_dot_product_attention
FAST = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
"""Modules that take another path where somebody listens."""

LAST = 5
"""The place of `dropout_p` among attention's arguments, counted from one."""


class Dropped(TorchFunctionMode):
    """Hears which functions are called, and changes none of them.

    share: the largest share that one of them dropped; name: which it was

    >>> import torch
    >>> with Dropped() as heard:
    ...     _ = functional.dropout(torch.ones(8), 0.5)
    ...     _ = functional.dropout(torch.ones(8), 0.9, training=False)
    >>> heard.name, heard.share
    ('dropout', 0.5)
    """

    def __init__(self) -> None:
        super().__init__()
        self.share, self.name = 0.0, ""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in DROPS or func is ATTENTION:
            share = _share_of(func, args, kwargs)
            if share > self.share:
                self.share, self.name = share, func.__name__
        return func(*args, **kwargs)


def _share_of(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """What it drops; 0 where it was told not to."""
    if func is ATTENTION:
        share = args[LAST - 1] if len(args) >= LAST else kwargs.get("dropout_p", 0.0)
        return float(share)
    given = _GIVEN[func].bind(*args, **kwargs)
    given.apply_defaults()
    return float(given.arguments["p"]) if given.arguments["training"] else 0.0


def hears(model: nn.Module) -> Dropped | None:
    """Listens to the pass that the model is about to make, in which no dropout is to be at work.

    None: some of it is on by intent, as for an average over passes (Monte Carlo); or a part would
    take its slow path for being listened to, whose last digits are others.
    """
    drops = (m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    is_meant = any(module.training for module in drops)
    if is_meant or any(isinstance(module, FAST) for module in model.modules()):
        return None
    heard = Dropped()
    heard.__enter__()

    def end(*_: Any) -> None:
        handle.remove()
        heard.__exit__(None, None, None)

    handle = model.register_forward_hook(Ear(end, asks=False), always_call=True)
    return heard
