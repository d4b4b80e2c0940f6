"""Averaged weights to look at and to keep, with batch norm's statistics recomputed for them.

What batch norm has seen while it trained are the activations of the trained weights, and an average
of weights has others. Source: Izmailov et al., Averaging weights leads to wider optima and better
generalization, UAI 2018; torch.optim.swa_utils.update_bn does the same over a whole loader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from thalweg.loop.batches import Feed
from thalweg.loop.norms import Statistics, batch_norms
from thalweg.loop.step import Stepper
from thalweg.optim.averages import has_average, keeps_average, show, shown
from thalweg.tasks.draws import put_back

NUM_BATCHES = 20
"""Batches over which the statistics are recomputed, an epoch at most.

Measured on digits, with batches of 16 and 32: the loss is within 1% of that with a whole epoch's.
It costs about what 7 steps cost, and by default 20 steps or more lie between two looks.
"""

Copies = Sequence[tuple[Tensor, Tensor]]


class Averaged:
    """Which weights a descent looks at: the optimizer's average where it keeps one.

    The batches are the first of an order of their own, the same each time: a function of the
    weights and the seed, so that a resumed run finds the same, and the run's own draws go on.
    """

    def __init__(self, stepper: Stepper, feed: Feed):
        self._stepper = stepper
        self._feed = feed
        self._model = stepper.task.model
        self._optimizer = stepper.optimizer

    @property
    def notice(self) -> str | None:
        """What is going to happen to batch norm's statistics, in words; None: nothing."""
        if not (keeps_average(self._optimizer) and batch_norms(self._model)):
            return None
        if self._feed.aside(0) is None:
            return (
                "batch norm's statistics are those of the trained weights, not recomputed for the "
                "averaged ones: the data is a loader, whose batches are read once"
            )
        per_epoch = self._feed.per_epoch or NUM_BATCHES
        return (
            "batch norm's statistics are recomputed for the averaged weights, on "
            f"{min(NUM_BATCHES, per_epoch)} batches of the training data at each look"
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, the model is the one to look at; afterwards it is as before, to the bit."""
        layers = batch_norms(self._model) if has_average(self._optimizer) else []
        kept = _copies(buffer for layer in layers for buffer in layer.buffers(recurse=False))
        with shown(self._optimizer):
            try:
                self._recompute()
                yield
            finally:
                _put_back(kept)

    def show(self) -> None:
        """Leave the model as the one to look at."""
        show(self._optimizer)
        self._recompute()

    @torch.no_grad()
    def _recompute(self) -> None:
        """The mean over the batches of each batch's statistics, as torch's update_bn has it.

        A batch whose loss is not finite is left out; where all are, the statistics stay as they
        were. Nothing else of the model changes.
        """
        layers = batch_norms(self._model) if has_average(self._optimizer) else []
        batches = self._feed.aside(NUM_BATCHES) if layers else None
        if batches is None:
            return
        own = {id(buffer) for layer in layers for buffer in layer.buffers(recurse=False)}
        others = _copies(b for b in self._model.buffers() if id(b) not in own)
        before = _copies(b for b in self._model.buffers() if id(b) in own)
        momenta = [layer.momentum for layer in layers]
        try:
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # the mean of all batches, in place of a running one
            with put_back():
                for number, data in enumerate(batches):
                    self._see(number, data)
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
            _put_back(others)
        if any(layer.num_batches_tracked == 0 for layer in layers):
            _put_back(before)

    def _see(self, number: int, data: Any) -> None:
        """One batch more."""
        statistics = Statistics(self._model)
        statistics.keep()
        loss = self._stepper.aside(number, data)
        statistics.undo_if_skipped({"loss": loss, "gradient_norm": 0.0})


def _copies(tensors: Iterable[Tensor]) -> Copies:
    return [(tensor, tensor.detach().clone()) for tensor in tensors]


@torch.no_grad()
def _put_back(copies: Copies) -> None:
    for tensor, before in copies:
        tensor.copy_(before)
