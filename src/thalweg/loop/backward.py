"""The backward pass of a loss, by the shortest way to torch's engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Variable

_run: Any = Variable._execution_engine.run_backward  # pyright: ignore[reportAttributeAccessIssue]


def backward(loss: Tensor) -> None:
    """`loss.backward()`: add the gradient of a 0-d loss to `.grad`.

    On the CPU the engine itself is called. What `Tensor.backward` asks and stores before is for
    other arguments and for the threads of other devices, and takes as long as the update of a small
    network (20 to 30 us). Raises RuntimeError in torch's words for a loss without a gradient.

    >>> p = torch.ones(2, requires_grad=True)
    >>> backward((3 * p).sum()); p.grad
    tensor([3., 3.])
    """
    if type(loss) is Tensor and loss.dim() == 0 and loss.device.type == "cpu":
        ones = (torch.ones_like(loss),)
        _run((loss,), ones, False, False, (), allow_unreachable=True, accumulate_grad=True)
    else:
        loss.backward()
