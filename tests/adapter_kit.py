"""What test_adapters shares: tiny models of both packages, data, and a training in one call."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import thalweg


def points(count: int = 64, bad: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard normal inputs (count, 8), and a class that depends on them; one of them NaN."""
    x = torch.randn(count, 8, generator=torch.Generator().manual_seed(3))
    y = x[:, :4].argmax(1)
    if bad is not None:
        x[bad] = float("nan")
    return x, y


class Net(nn.Module):
    """Two layers and dropout. softmax: before the loss, which is wrong"""

    def __init__(self, *, softmax: bool = False):
        super().__init__()
        self.one, self.two, self.drop = nn.Linear(8, 16), nn.Linear(16, 4), nn.Dropout(0.1)
        self.last = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.two(self.drop(torch.relu(self.one(x)))))


def net(**given: Any) -> Net:
    torch.manual_seed(1)
    return Net(**given)


def num_hooks(model: nn.Module, optimizer: Any) -> int:
    """Hooks on a model's modules and weights, and on an optimizer's step."""
    own = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    of_weights = sum(
        len(p._backward_hooks or ()) + len(getattr(p, "_post_accumulate_grad_hooks", None) or ())
        for p in model.parameters()
    )
    of_steps = len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)
    return own + of_weights + of_steps


class Rows(torch.utils.data.Dataset):
    """Samples as the Trainer wants them. fails: the place of one that cannot be read"""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, fails: int | None = None):
        self.x, self.y, self.fails = x, y, fails

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        if i == self.fails:
            raise KeyError(i)
        return {"x": self.x[i], "labels": self.y[i]}


class Pairs(Rows):
    """The same, as a loop of Lightning's wants them."""

    def __getitem__(self, i: int) -> Any:
        return tuple(super().__getitem__(i).values())


@contextlib.contextmanager
def quietly():
    """Their own warnings, such as of few workers, are no errors of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Trained:
    """What is left of a training: the callback, the model, its optimizer and torch's generator."""

    def __init__(self, callback: Any, model: nn.Module, optimizer: Any, trainer: Any):
        self.callback, self.model, self.optimizer = callback, model, optimizer
        self.trainer = trainer
        self.state = torch.get_rng_state()

    @property
    def weights(self) -> list[torch.Tensor]:
        return [p.detach() for p in self.model.parameters()]

    @property
    def codes(self) -> set[str]:
        return {finding.code for finding in self.callback.findings}


def by_huggingface(
    callback: Any,
    folder: Any,
    *,
    rows: Any = None,
    model: Any = None,
    held: Any = None,
    parts: Any = None,
    loss: Any = None,
    resume: Any = None,
    **settings: Any,
) -> Trained:
    """A training by the Trainer. parts: the parameters that its optimizer holds"""
    transformers = pytest.importorskip("transformers", reason="it is not installed here")

    class Plain(nn.Module):
        def __init__(self, inside: nn.Module):
            super().__init__()
            self.inside = inside

        def forward(self, x: Any, labels: Any = None) -> Any:
            logits = self.inside(x)
            if labels is None:
                return {"logits": logits}
            return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    model = model if model is not None else Plain(net())
    model = model if hasattr(model, "inside") or hasattr(model, "config") else Plain(model)
    asked = {
        "learning_rate": 0.01,
        "num_train_epochs": 5,
        "per_device_train_batch_size": 8,
        "logging_steps": 5,
        "save_strategy": "no",
        **settings,
    }
    args = transformers.TrainingArguments(
        str(folder), use_cpu=True, report_to=[], disable_tqdm=True, seed=0, **asked
    )
    optimizer = None
    if parts is not None:
        optimizer = torch.optim.AdamW(parts(model), lr=asked["learning_rate"])
    trainer = transformers.Trainer(
        model=model,
        args=args,
        train_dataset=rows if rows is not None else Rows(*points()),
        eval_dataset=held,
        callbacks=[callback] if callback is not None else [],
        optimizers=(optimizer, None),
        compute_loss_func=loss,
    )
    trained = Trained(callback, model, None, trainer)
    try:
        trainer.train(resume_from_checkpoint=resume)
    finally:
        trained.optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        trained.state = torch.get_rng_state()
    return trained


def by_lightning(
    callback: Any,
    folder: Any,
    *,
    rows: Any = None,
    model: Any = None,
    held: Any = None,
    parts: Any = None,
    lr: float = 0.01,
    resume: Any = None,
    batch_size: int = 8,
    others: Any = (),
    **settings: Any,
) -> Trained:
    """A training by Lightning's Trainer."""
    lightning = pytest.importorskip("lightning.pytorch", reason="it is not installed here")

    class Module(lightning.LightningModule):
        def __init__(self, inside: nn.Module):
            super().__init__()
            self.inside = inside

        def training_step(self, batch: Any, number: int) -> Any:
            x, y = batch
            return functional.cross_entropy(self.inside(x), y)

        def validation_step(self, batch: Any, number: int) -> None:
            x, y = batch
            out = self.inside(x)
            self.log("val_loss", functional.cross_entropy(out, y))
            self.log("val_accuracy", (out.argmax(1) == y).float().mean())

        def configure_optimizers(self) -> Any:
            held = parts(self) if parts is not None else self.parameters()
            return torch.optim.AdamW(held, lr=lr)

    rows = rows if rows is not None else Pairs(*points())
    module = Module(model if model is not None else net())
    torch.manual_seed(0)
    asked = {"max_epochs": 5, "enable_checkpointing": False, "gradient_clip_val": 1.0, **settings}
    with quietly():
        trainer = lightning.Trainer(
            default_root_dir=str(folder),
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[*others, *([callback] if callback is not None else [])],
            **asked,
        )
        loader = torch.utils.data.DataLoader
        train = loader(rows, batch_size=batch_size, shuffle=True)
        validation = None if held is None else loader(held, batch_size=batch_size)
        trained = Trained(callback, module, None, trainer)
        try:
            trainer.fit(module, train, validation, ckpt_path=resume)
        finally:
            trained.optimizer = trainer.optimizers[0]
            trained.state = torch.get_rng_state()
    return trained


TOOLS = {
    "huggingface": (by_huggingface, "HuggingFaceCallback", Rows, "learning_rate"),
    "lightning": (by_lightning, "LightningCallback", Pairs, "lr"),
}
PACKAGES = {"huggingface": "transformers", "lightning": "lightning"}


class Tool:
    """One package, and a folder for what its trainings write. lines: what was told"""

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        self.by, callback, self.rows, self.rate = TOOLS[name]
        self.callback = getattr(thalweg, callback)
        self.lines: list[str] = []

    def watch(self, place: str | None = "run", **settings: Any) -> Any:
        folder = None if place is None else self.folder / place
        return self.callback(folder, tell=self.lines.append, **settings)

    def train(self, callback: Any, **settings: Any) -> Any:
        if "rate" in settings:
            settings[self.rate] = settings.pop("rate")
        return self.by(callback, self.folder / "out", **settings)
