"""Lightning's Trainer in its barebones mode: no logger, bar, checkpoints, summary or checks.

The data come from a DataLoader over a TensorDataset, without workers (in memory they only cost).
"""

import logging
import warnings

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.network import Predict, built, criterion, fused_adamw, predictor
from benchmarks.problem import Problem
from benchmarks.referee import Referee


class Module(LightningModule):
    """The network with its loss and fused AdamW."""

    def __init__(self, network: nn.Module, loss: nn.Module):
        super().__init__()
        self.network = network
        self.loss = loss

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        x, y = batch
        return self.loss(self.network(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return fused_adamw(self.network)


class Whistle(Callback):
    """Asks the referee at each epoch's end."""

    def __init__(self, referee: Referee, predict: Predict):
        self._referee = referee
        self._predict = predict

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._referee.epoch(self._predict):
            trainer.should_stop = True


def train(problem: Problem, referee: Referee, *, seed: int) -> None:
    """Train with Lightning's Trainer."""
    quieten()
    network = built(problem, seed=seed)
    predict = predictor(network, problem.kind)
    tensors = (torch.from_numpy(problem.train.x), torch.from_numpy(problem.train.y))

    referee.start()
    loader = DataLoader(TensorDataset(*tensors), batch_size=problem.batch_size, shuffle=True)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=problem.num_epochs,
        barebones=True,
        callbacks=[Whistle(referee, predict)],
    )
    trainer.fit(Module(network, criterion(problem.kind)), loader)


def quieten() -> None:
    """Keep its advice and greetings off the terminal, where they would cost time and lines."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
