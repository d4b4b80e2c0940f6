"""Lightning's Trainer three times: barebones, as it comes, and with the loss logged and shown."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.nn import functional

from benchmarks.contenders.lightning_trainer import quieten
from benchmarks.loops.work import Batch, Stream, Work
from benchmarks.network import fused_adamw


class Module(LightningModule):
    """The network, cross-entropy and fused AdamW; `logs` sends the loss to logger and bar."""

    def __init__(self, network: nn.Module, *, logs: bool):
        super().__init__()
        self.network = network
        self.logs = logs

    def training_step(self, batch: Batch) -> torch.Tensor:
        x, y = batch
        loss = functional.cross_entropy(self.network(x), y)
        if self.logs:
            self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return fused_adamw(self.network)


def barebones(work: Work) -> float:
    """Its fastest mode, meant for measuring it."""
    return trained(work, quiet_trainer(barebones=True))


def default(work: Work) -> float:
    """As it comes."""
    return with_logger_and_bar(work, logs=False)


def logging(work: Work) -> float:
    """As it comes, with the loss logged and shown each step."""
    return with_logger_and_bar(work, logs=True)


def with_logger_and_bar(work: Work, *, logs: bool) -> float:
    """Its defaults: a TensorBoard log (into a temporary folder), a bar, a checkpoint at the end.

    The bar writes to nowhere, which costs no more than a terminal would.
    """
    with tempfile.TemporaryDirectory() as folder, silence():
        return trained(work, quiet_trainer(default_root_dir=folder), logs=logs)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Send stdout and stderr of Python code to nowhere."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def quiet_trainer(**settings: Any) -> Trainer:
    """A Trainer of one epoch on the CPU that does not greet."""
    quieten()
    return Trainer(accelerator="cpu", devices=1, max_epochs=1, **settings)


def trained(work: Work, trainer: Trainer, *, logs: bool = False) -> float:
    """CPU seconds of the timed steps under this Trainer."""
    stream = Stream(work)
    trainer.fit(Module(work.network(), logs=logs), stream)
    return stream.seconds
