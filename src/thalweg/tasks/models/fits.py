"""Does a model fit the data? Two rows tell, before anything is trained or written."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.tasks.callables import in_a_line
from thalweg.tasks.measure import evaluating
from thalweg.tasks.sources import in_order
from thalweg.types import Source

ROWS = 2


def check_outputs(
    model: nn.Module, source: Source, num_outputs: int, *, what: str, needs: str, seed: int
) -> None:
    """Raise UsageError, with the shapes, for a model that fails on the data's rows, or whose
    outputs are no (n, num_outputs); for a single output (n,) is as good.

    The model's modes and torch's generator are left as they were; weights that a lazy layer makes
    at its first sight of data are a function of the seed.
    """
    inputs, _ = source.fetch(in_order(0, min(ROWS, len(source))))
    given = tuple(inputs.shape)
    with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            outputs = model(inputs)
        except Exception as error:
            raise UsageError(
                f"{what} fails on inputs of shape {given} and type {inputs.dtype}, with "
                f"{in_a_line(error)}"
            ) from error
    wanted = (given[0], num_outputs)
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if found == wanted or (num_outputs == 1 and found == wanted[:1]):
        return
    raise UsageError(
        f"{what} gives outputs of shape {found} for inputs of shape {given}: {needs} {wanted}"
    )
