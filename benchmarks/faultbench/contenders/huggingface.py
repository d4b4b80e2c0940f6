"""Hugging Face's Trainer as it comes: max_grad_norm=1.0 and logging_nan_inf_filter stay on.

It is given the network, the loss (through `compute_loss`), AdamW and the scheduler. Checkpoints by
steps, all kept; started again with `resume_from_checkpoint=True`, its way of finding the newest.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from benchmarks.faultbench.job import LOG_EVERY, Job, adamw
from benchmarks.faultbench.planted import Loss


class WithLoss(Trainer):
    """A Trainer whose loss is ours."""

    def __init__(self, *, loss: Loss, **settings: Any):
        super().__init__(**settings)
        self._loss = loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        outputs = model(inputs["x"])
        loss = self._loss(outputs, inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class Watch(TrainerCallback):
    """Disturbs the rate where the fault does, and reads what the Trainer logs."""

    def __init__(self, job: Job, scheduler: LambdaLR):
        self._job = job
        self._scheduler = scheduler

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._job.disturb(state.global_step + 1, self._scheduler)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        for name in ("loss", "grad_norm"):
            if logs and name in logs:
                self._job.logged(name, logs[name])


def train(job: Job) -> nn.Module:
    """Train with the Trainer."""
    network, loss = job.wired()
    optimizer = adamw(network)
    scheduler = job.scheduler(optimizer)
    trainer = WithLoss(
        loss=loss,
        model=network,
        args=arguments(job),
        train_dataset=job.samples(),
        data_collator=lambda batch: {"x": batch[0], "labels": batch[1]},
        optimizers=(optimizer, scheduler),
        callbacks=[Watch(job, scheduler)],
    )
    trainer.train(resume_from_checkpoint=has_checkpoint(job.folder))
    return network


def arguments(job: Job) -> TrainingArguments:
    """One pass in order, everything about stability at its default."""
    return TrainingArguments(
        output_dir=str(job.folder),
        max_steps=job.plan.num_steps,
        per_device_train_batch_size=job.task.problem.batch_size,
        train_sampling_strategy="sequential",
        save_strategy="steps",
        save_steps=job.plan.every,
        logging_steps=LOG_EVERY,
        seed=job.seed,
        fp16=job.fault.precision == "fp16",
        dataloader_num_workers=job.fault.num_workers,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )


def has_checkpoint(folder: Path) -> bool:
    """Is there anything to go on from?"""
    return folder.is_dir() and get_last_checkpoint(str(folder)) is not None


torch.set_num_threads(1)  # accelerate asks for the cores when it is first imported
