"""Pictures and tokens in arrays, for a model that is built by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import DataError
from thalweg.tasks.arrays import of_arrays
from thalweg.tasks.models.build import reads_tables
from thalweg.tasks.models.inputs import Inputs, Pictures, Tokens
from thalweg.tasks.sources import as_source, as_tensor
from thalweg.tasks.study import Study
from thalweg.tasks.text.words import are_texts


def are_samples(data: Any, model: str) -> bool:
    """Is it a pair of arrays that are no table: of more axes, or for a model that reads none?

    Texts are one.
    """
    if not isinstance(data, tuple | list) or len(data) != 2 or are_texts(data[0]):
        return False
    return not reads_tables(model) or len(getattr(data[0], "shape", ())) > 2


def of_samples(data: Any, *, loss: Any, **parting: Any) -> Study:
    """A study of pictures (n, channels, height, width) or token ids (n, length) and a target each.

    loss: by default cross_entropy for whole-number targets, else mse; parting: as in `of_arrays`
    Raises DataError for inputs of another shape or kind.
    """
    inputs, targets = as_tensor(data[0], "inputs"), as_tensor(data[1], "targets")
    read = inputs_of(inputs)
    if targets.dim() != 1:
        raise DataError(
            f"targets have shape {tuple(targets.shape)}: a model by name predicts one thing of "
            "each sample, so they must be (n,)"
        )
    by_default = "mse" if targets.is_floating_point() else "cross_entropy"
    study = of_arrays(as_source((inputs, targets)), loss=loss or by_default, **parting)
    prefers = {"model": "conv" if isinstance(read, Pictures) else "transformer"}
    return replace(study, inputs=read, prefers=prefers)


def inputs_of(inputs: Tensor) -> Inputs:
    """What samples of this shape and type are. Raises DataError where a name cannot read them."""
    shape = tuple(inputs.shape)
    is_whole = not inputs.is_floating_point() and not inputs.is_complex()
    if len(shape) == 4 and not is_whole:
        return Pictures(*shape[1:])
    if len(shape) == 2 and is_whole and inputs.dtype != torch.bool and inputs.min() >= 0:
        return Tokens(num_tokens=int(inputs.max()) + 1)
    raise DataError(
        f"inputs are {inputs.dtype} of shape {shape}: a model by name reads a table (n, columns), "
        "pictures as floats (n, channels, height, width), or token ids (n, length), 0 or more; "
        "for anything else bring a model of your own, fit((X, y), model=net, loss=...)"
    )
