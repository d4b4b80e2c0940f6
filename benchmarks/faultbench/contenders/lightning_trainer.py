"""Lightning's Trainer: gradient_clip_val=1.0 as its docs advise, detect_anomaly off as it comes.

Its docs ask for a stateful loader where a run is to go on within an epoch: torchdata's. Checkpoints
by steps with `save_last`, all kept; started again with `ckpt_path="last"`. In fp16 it refuses to
clip for a fused optimizer, so AdamW is not fused there.
"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.faultbench.job import LOG_EVERY, Job, adamw
from benchmarks.faultbench.planted import Loss


class Module(LightningModule):
    """The network, the loss, AdamW and the scheduler, which steps with every batch."""

    def __init__(self, network: nn.Module, loss: Loss, job: Job):
        super().__init__()
        self.network = network
        self.loss = loss
        self.job = job

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        x, y = batch
        loss = self.loss(self.network(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = adamw(self.network, fused=self.job.fault.precision == "float32")
        scheduler = self.job.scheduler(optimizer)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class Watch(Callback):
    """Disturbs the rate where the fault does, and reads what the Trainer logs."""

    def __init__(self, job: Job):
        self._job = job

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        scheduler = trainer.lr_scheduler_configs[0].scheduler
        self._job.disturb(trainer.global_step + 1, scheduler)  # pyright: ignore

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % LOG_EVERY == 0:
            self._job.logged("loss", trainer.callback_metrics["loss"])


def train(job: Job) -> nn.Module:
    """Train with Lightning's Trainer."""
    seed_everything(job.seed, verbose=False)
    network, loss = job.wired()
    checkpoints = ModelCheckpoint(
        dirpath=job.folder / "checkpoints",
        every_n_train_steps=job.plan.every,
        save_top_k=-1,
        save_last=True,
    )
    loader = StatefulDataLoader(
        job.samples(),
        batch_size=job.task.problem.batch_size,
        num_workers=job.fault.num_workers,
        collate_fn=lambda batch: batch,
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=job.plan.num_steps,
        precision="16-mixed" if job.fault.precision == "fp16" else "32-true",
        gradient_clip_val=1.0,
        log_every_n_steps=LOG_EVERY,
        logger=CSVLogger(job.folder),
        callbacks=[checkpoints, Watch(job)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(network, loss, job), loader, ckpt_path="last")
    return network
