"""Lightning's Trainer with early stopping and a checkpoint of the best, without logger and bar."""

import math
import tempfile

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.nn import functional

from benchmarks.contenders.lightning_trainer import quieten
from benchmarks.same.posed import WEIGHT_DECAY, Posed

Batch = list[torch.Tensor]


class Module(LightningModule):
    """The network, cross-entropy, fused AdamW, warm-up and cosine."""

    def __init__(self, posed: Posed):
        super().__init__()
        self.network, self.posed = posed.network, posed

    def training_step(self, batch: Batch) -> torch.Tensor:
        x, y = batch
        return functional.cross_entropy(self.network(x), y)

    def validation_step(self, batch: Batch) -> None:
        x, y = batch
        self.log("val_loss", functional.cross_entropy(self.network(x), y))

    def configure_optimizers(self):
        posed = self.posed
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=posed.lr, weight_decay=WEIGHT_DECAY, fused=True
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._share)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def _share(self, step: int) -> float:
        warmup, steps = self.posed.warmup, self.posed.steps
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def train(posed: Posed) -> nn.Module:
    """The network with its best weights."""
    quieten()
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(dirpath=folder, monitor="val_loss")
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=posed.steps,
            max_epochs=-1,
            val_check_interval=posed.evaluate_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            gradient_clip_val=posed.clip,
            callbacks=[EarlyStopping("val_loss", patience=posed.patience), best],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module = Module(posed)
        trainer.fit(module, posed.train_loader, posed.validation_loader)
        state = torch.load(best.best_model_path, weights_only=True)["state_dict"]
        module.load_state_dict(state)
    return posed.network
