"""In which numbers a model computes: float32, or bfloat16 and float16 where torch finds them safe.

The weights stay in float32, and so do the optimizer's states. In `bf16-weights` the model's own are
bfloat16, and the optimizer keeps float32 ones beside them (the "master weights").
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from thalweg.errors import UsageError


@dataclass(frozen=True, slots=True)
class Precision:
    """name: as users ask for it; dtype: of autocast, or None; needs_scale: has it a small range?

    weights: what the model's weights are stored in, or None: as they come
    """

    name: str
    dtype: torch.dtype | None = None
    needs_scale: bool = False
    weights: torch.dtype | None = None

    def forward(self, device: torch.device) -> AbstractContextManager[Any]:
        """Around the forward pass and the loss; the backward pass follows its dtypes."""
        if self.dtype is None:
            return _NOTHING
        return torch.autocast(device.type, dtype=self.dtype)


_NOTHING = nullcontext()

FLOAT32 = Precision("float32")

PRECISIONS = {
    row.name: row
    for row in (
        FLOAT32,
        Precision("bf16", torch.bfloat16),
        Precision("fp16", torch.float16, needs_scale=True),
        Precision("bf16-weights", weights=torch.bfloat16),
    )
}


def precision_of(name: str | Precision) -> Precision:
    """By name. Raises UsageError for an unknown one."""
    if isinstance(name, Precision):
        return name
    if name not in PRECISIONS:
        raise UsageError(
            f"precision {name!r} is unknown: choose one of {', '.join(PRECISIONS)} (weights and "
            "optimizer stay in float32; in bf16-weights the optimizer keeps float32 weights)"
        )
    return PRECISIONS[name]


@torch.no_grad()
def cast(model: nn.Module, dtype: torch.dtype) -> None:
    """Give a model weights of this type; layers with running statistics keep theirs.

    A running mean in bfloat16 would stand still: its steps are lost in rounding. Optimizers may
    hold the parameters already: they stay the same objects.
    """
    for module in model.modules():
        if not isinstance(module, _NormBase):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(dtype)


class LossScale:
    """fp16's loss scale: doubled after 2,000 steps without overflow, halved at each.

    Kept on the device, so that no step waits for it. Source: Micikevicius et al., Mixed precision
    training, ICLR 2018; the constants are those of torch's GradScaler.
    """

    START, LEAST = 65536.0, 1.0
    GROWTH, BACK_OFF, INTERVAL = 2.0, 0.5, 2000

    def __init__(self, device: torch.device):
        self.value = torch.tensor(self.START, device=device)
        self.num_good = torch.tensor(0, device=device)

    def saw(self, gradient_norm: Tensor | float) -> None:
        """A step was taken with a gradient of this norm; not finite: the scale was too large."""
        norm = torch.as_tensor(gradient_norm, device=self.value.device)
        is_good = torch.isfinite(norm)
        num_good = torch.where(is_good, self.num_good + 1, 0)
        is_long = num_good >= self.INTERVAL
        grown = torch.where(is_long, self.value * self.GROWTH, self.value)
        halved = torch.clamp(self.value * self.BACK_OFF, min=self.LEAST)
        self.value = torch.where(is_good, grown, halved)
        self.num_good = torch.where(is_long, 0, num_good)

    def to_tree(self) -> dict[str, Any]:
        return {"value": self.value.item(), "num_good": int(self.num_good.item())}

    def restore(self, tree: dict[str, Any]) -> None:
        self.value.fill_(tree["value"])
        self.num_good.fill_(tree["num_good"])
