"""A phase of a run: a model and the optimizer that trains it, as one state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from thalweg.scale.precision import LossScale
from thalweg.state.live import (
    check_optimizer_tree,
    model_tree,
    optimizer_tree,
    restore_model,
    restore_optimizer,
)


class Phase:
    """model, optimizer; loss_scale: fp16's, or None."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_scale: LossScale | None = None,
    ):
        self.model = model
        self.optimizer = optimizer
        self.loss_scale = loss_scale

    def to_tree(self) -> dict[str, Any]:
        """All of it as a tree; nothing is copied."""
        scale = self.loss_scale
        return {
            "model": model_tree(self.model),
            "optimizer": optimizer_tree(self.optimizer, self.model),
            "loss_scale": None if scale is None else scale.to_tree(),
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `to_tree` gave. Raises RunError for another model's or optimizer's."""
        check_optimizer_tree(self.optimizer, self.model, tree["optimizer"])
        restore_model(self.model, tree["model"])
        restore_optimizer(self.optimizer, self.model, tree["optimizer"])
        if self.loss_scale is not None and tree["loss_scale"] is not None:
            self.loss_scale.restore(tree["loss_scale"])
