"""Does a model fit the data, and can it learn? Two rows tell, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from thalweg.errors import ThalwegError, UsageError
from thalweg.tasks.callables import in_a_line
from thalweg.tasks.draws import put_back
from thalweg.tasks.measure import evaluating
from thalweg.tasks.sources import in_order
from thalweg.tasks.task import Task
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
    if not isinstance(outputs, Tensor):
        raise UsageError(
            f"{what} gives a {type(outputs).__name__} for inputs of shape {given}: it must give a "
            f"tensor; {needs} {wanted}"
        )
    found = tuple(outputs.shape)
    if found != wanted and not (num_outputs == 1 and found == wanted[:1]):
        raise UsageError(
            f"{what} gives outputs of shape {found} for inputs of shape {given}: {needs} {wanted}"
        )
    if not outputs.is_floating_point():
        raise UsageError(
            f"{what} gives outputs of type {outputs.dtype}, which have no gradient: give float32, "
            "and no whole numbers"
        )


def check_gradient(task: Task, source: Source, what: str) -> None:
    """Raise UsageError for a loss through which no gradient comes to the model.

    what: gave it
    """
    batch = source.fetch(in_order(0, min(ROWS, len(source))))
    with evaluating(task.model), put_back():
        loss = task.loss(task.model, batch)
    if not loss.requires_grad:
        raise UsageError(
            f"{what} gives a loss without a gradient, so nothing would be learnt: no parameter "
            "enters it, or its way is cut, by detach, argmax, NumPy or torch.no_grad"
        )


@contextmanager
def at_first_sight(what: str) -> Iterator[None]:
    """Inside, whatever a user's own code raises is a UsageError that names it."""
    try:
        yield
    except ThalwegError:
        raise
    except Exception as error:
        raise UsageError(f"{what} fails on its first batch, with {in_a_line(error)}") from error
