"""A model's weights as a value: kept in memory for the best step, and on disk as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_model
from torch import Tensor, nn

from thalweg.errors import DataError, RunError, UsageError


@dataclass(frozen=True, slots=True)
class Weights:
    """A copy of a model's parameters and buffers, with the step and the loss that it had there."""

    number: int
    loss: float
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, number: int, loss: float) -> Weights:
        return cls(number, loss, {k: v.detach().clone() for k, v in model.state_dict().items()})

    def to_tree(self) -> dict[str, Any]:
        return {"number": self.number, "loss": self.loss, "tensors": self.tensors}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Weights:
        return cls(tree["number"], tree["loss"], tree["tensors"])

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Copy the values back into the model's own tensors."""
        for name, tensor in model.state_dict().items():
            tensor.copy_(self.tensors[name])


def save_weights(model: nn.Module, path: Path) -> None:
    """Write all parameters and buffers; tensors that are shared are stored once.

    Raises UsageError where the place cannot be written.
    """
    try:
        save_model(model, str(path))
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} cannot be written: {error}") from None


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote. Raises RunError where the file does not fit the model."""
    try:
        load_model(model, str(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        line = " ".join(str(error).split())
        raise RunError(f"{path} does not hold the weights of this model: {line}") from None


def weights_in(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name. Raises DataError for anything else."""
    if path.is_dir():
        raise DataError(f"{path} is a folder, and not that of a run: name a file of safetensors")
    try:
        return load_file(path)
    except FileNotFoundError:
        raise DataError(
            f"{path} does not exist: check the spelling, or give the full path"
        ) from None
    except (SafetensorError, OSError) as error:
        line = " ".join(str(error).split())
        raise DataError(
            f"{path} is no safetensors file ({line}): save weights with "
            "safetensors.torch.save_model(model, path)"
        ) from None
