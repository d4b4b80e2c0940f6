"""Hugging Face's Trainer with early stopping and the best model at the end; no reports, no bar."""

import tempfile
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import default_collate
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from benchmarks.same.posed import WEIGHT_DECAY, Posed


class WithLoss(nn.Module):
    """The network as this Trainer wants it: named inputs, and the loss in its answer."""

    def __init__(self, network: nn.Module):
        super().__init__()
        # It cannot save weights whose channels come last.
        self.network = network.to(memory_format=torch.contiguous_format)  # pyright: ignore

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": functional.cross_entropy(self.network(inputs), labels)}


def train(posed: Posed) -> nn.Module:
    """The network with its best weights."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=posed.steps,
            per_device_train_batch_size=posed.batch_size,
            per_device_eval_batch_size=posed.look_size,
            learning_rate=posed.lr,
            weight_decay=WEIGHT_DECAY,
            max_grad_norm=posed.clip or 0.0,
            lr_scheduler_type="cosine",
            warmup_steps=posed.warmup,
            optim="adamw_torch_fused",
            eval_strategy="steps",
            eval_steps=posed.evaluate_every,
            save_steps=posed.evaluate_every,
            save_total_limit=1,
            save_only_model=True,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            prediction_loss_only=True,
            label_names=["labels"],
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            seed=posed.seed,
        )
        model = WithLoss(posed.network)
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=posed.train,
            eval_dataset=posed.validation,
            data_collator=collated,
            callbacks=[EarlyStoppingCallback(posed.patience)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return posed.network


def collated(items: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, Any]:
    """A batch by name."""
    inputs, labels = default_collate(items)
    return {"inputs": inputs, "labels": labels}
