"""A callback for Hugging Face's Trainer: health, guard and record in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from thalweg.adapters.session import Loop, Session, Wanted, say
from thalweg.errors import UsageError
from thalweg.loop.alerts import Alert
from thalweg.record.foreign.words import in_our_words
from thalweg.types import Finding, Mode, Verdict

try:
    _transformers: Any = import_module("transformers")
    _Base: Any = _transformers.TrainerCallback
except ImportError:
    _transformers, _Base = None, object

FRAMES = 12
"""So far up the stack a trainer is looked for."""

_NO_METRIC = ("runtime", "per_second", "_time", "epoch")


class HuggingFaceCallback(_Base):
    """`Trainer(..., callbacks=[HuggingFaceCallback("runs/mine")])`.

    folder: of the record, which `thalweg diagnose` reads; None: kept in memory alone
    guard: "advise" says what it would do, and takes the gradients of a step that is not finite away
    before the optimizer sees them, so that it is no step (the schedule goes on); "act" does so with
    outliers too, scales gradients down, and rolls weights and optimizer back, lowers the rate or
    stops the training; "off" only looks. With several processes "act" is "advise", and where
    gradients are sharded (FSDP, DeepSpeed) it is "off".
    alert: an address or a command for findings that need an act; tell: where lines go
    verdict, findings: what is wrong, now or at the end

    The loss is the one that is trained on, of every micro-batch, whatever `compute_loss` is and
    before any filter. To see it, the trainer's `train`, `training_step`, `compute_loss` and its
    accelerator's `clip_grad_norm_` are wrapped while training goes on. Added later, by
    `trainer.add_callback`, it leaves its hooks on where a training fails, until `close()`.

    Raises UsageError without transformers, and for a guard that there is not.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        guard: Mode = "advise",
        alert: Alert | str | None = None,
        tell: Callable[[str], None] | None = say,
    ):
        if _transformers is None:
            raise UsageError("HuggingFaceCallback needs transformers: pip install 'thalweg[hf]'")
        self._wanted = Wanted.of(folder, guard, alert, tell)
        self._session: Session | None = None
        self._wrapped = Wrapped()
        self._last: Verdict | None = None
        self._loss: Tensor | None = None
        self._norm: Any = None
        self._is_share: bool | None = None

    @property
    def verdict(self) -> Verdict:
        """What can be said so far, or was said at the end."""
        if self._session is not None:
            return self._session.verdict()
        return self._last or Verdict("unknown", "no training has begun")

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, oldest first."""
        return list(self.verdict.findings)

    def close(self) -> None:
        """End it, as at the end of a training; nothing where it has ended."""
        session, self._session = self._session, None
        self._wrapped.undo()
        self._loss = self._norm = None
        if session is not None:
            self._last = session.close()

    # ------------------------------------------------------------ what the trainer calls

    def on_init_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Wrap `train`, so that nothing is left behind where it fails."""
        trainer = trainer_above()
        train = trainer.train

        @wraps(train)
        def watched(*asked: Any, **named: Any) -> Any:
            try:
                return train(*asked, **named)
            finally:
                self.close()

        trainer.train = watched

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.close()
        trainer = trainer_above()
        optimizer = inner(given["optimizer"])
        self._is_share = None
        self._session = Session(
            self._wanted,
            Loop(
                model=given["model"],
                optimizers=[optimizer],
                tool="huggingface",
                settings=settings_of(args, state, optimizer),
                number=state.global_step,
                scaler=getattr(given["optimizer"], "scaler", None),
                rank=args.process_index,
                num_processes=args.world_size,
                is_sharded=trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled,
            ),
        )
        self._wrap(trainer)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if self._session is not None:
            self._session.before_step(self._norm)
            self._norm = None

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        if self._session is not None:
            batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            number = state.global_step + 1
            self._session.after_step(samples=number * batch, epoch=state.epoch or 0.0)
            control.should_training_stop |= self._session.is_stopped

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **given: Any
    ) -> None:
        if self._session is not None:
            self._session.evaluation(measures_of(metrics or {}))

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.close()

    # ------------------------------------------------------------ the true loss

    def _wrap(self, trainer: Any) -> None:
        self._wrapped.put(trainer, "compute_loss", self._computed)
        self._wrapped.put(trainer, "training_step", lambda *given: self._trained(trainer, *given))
        self._wrapped.put(trainer.accelerator, "clip_grad_norm_", self._clipped)

    def _computed(self, original: Any, *given: Any, **named: Any) -> Any:
        """Keep the loss with its graph; evaluations have none."""
        result = original(*given, **named)
        loss = result[0] if isinstance(result, tuple) else result
        if torch.is_grad_enabled():
            self._loss = loss
        return result

    def _trained(self, trainer: Any, original: Any, *given: Any, **named: Any) -> Any:
        """After the backward pass: what the trainer adds up as the loss of the step."""
        share = original(*given, **named)
        loss, self._loss = self._loss, None
        if self._session is not None and isinstance(loss, Tensor) and loss.numel() == 1:
            self._session.saw_loss(self._shown(loss, share, trainer))
        return share

    def _shown(self, loss: Tensor, share: Tensor, trainer: Any) -> Tensor:
        """A loss that, averaged over the step's micro-batches, is the step's: one that was divided
        by the items of all of them counts so many times.
        """
        whole = trainer.args.gradient_accumulation_steps
        count = getattr(trainer, "current_gradient_accumulation_steps", whole)  # fewer at the end
        if count == 1:
            return loss
        if self._is_share is None and float(share) != 0:
            self._is_share = torch.equal(loss.detach(), share)
        return loss * count if self._is_share else loss

    def _clipped(self, original: Any, *given: Any, **named: Any) -> Any:
        self._norm = original(*given, **named)
        return self._norm


class Wrapped:
    """Methods of objects that are wrapped, and put back as they were."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def put(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        """Calls of the method go to around(original, ...)."""
        original, own = getattr(owner, name), vars(owner).get(name)

        @wraps(original)
        def wrapped(*given: Any, **named: Any) -> Any:
            return around(original, *given, **named)

        def undo() -> None:
            setattr(owner, name, own) if own is not None else vars(owner).pop(name, None)

        setattr(owner, name, wrapped)
        self._undo.append(undo)

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()


def trainer_above() -> Any:
    """The trainer whose method called the callbacks: they are handed all but it.

    Raises UsageError where it was not a trainer who called.
    """
    frame = sys._getframe(1)
    for _ in range(FRAMES):
        owner = frame.f_locals.get("self")
        if isinstance(owner, _transformers.Trainer):
            return owner
        if frame.f_back is None:
            break
        frame = frame.f_back
    raise UsageError("HuggingFaceCallback works in a transformers.Trainer only")


def inner(optimizer: Any) -> torch.optim.Optimizer:
    """The optimizer that accelerate has wrapped."""
    while isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def settings_of(args: Any, state: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """In our words; the rate is what the schedule starts from."""
    group = optimizer.param_groups[0]
    known = in_our_words({**args.to_dict(), "max_steps": state.max_steps})
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "float32"
    rate = float(group.get("initial_lr", group["lr"]))
    name = type(optimizer).__name__.lower()
    return {**known, "optimizer": name, "lr": rate, "precision": precision}


def measures_of(metrics: dict[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation, without their prefix and without times.

    >>> measures_of({"eval_loss": 0.5, "eval_runtime": 3.0, "epoch": 1.0})
    {'loss': 0.5}
    """
    return {
        name.removeprefix("eval_"): float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not name.endswith(_NO_METRIC)
    }
