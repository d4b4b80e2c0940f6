"""A callback for Lightning: health, guard and record in one line."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import Tensor

from thalweg.adapters.session import Loop, Session, Wanted, say
from thalweg.errors import UsageError
from thalweg.loop.alerts import Alert
from thalweg.loop.columns import settings_of
from thalweg.record.foreign.names import HELD
from thalweg.record.foreign.words import in_our_words
from thalweg.types import Finding, Mode, Verdict

try:
    _lightning: Any = import_module("lightning.pytorch")
    _Base: Any = _lightning.Callback
except ImportError:
    _lightning, _Base = None, object

_HELD = re.compile(f"(?:{'|'.join(sorted(HELD, key=len, reverse=True))})[_/. -]+", re.IGNORECASE)
_SHARDED = ("fsdp", "deepspeed", "model_parallel")


class LightningCallback(_Base):
    """`Trainer(..., callbacks=[LightningCallback("runs/mine")])`, of `lightning.pytorch`.

    folder: of the record, which `thalweg diagnose` reads; None: kept in memory alone
    guard: "advise" says what it would do, and takes the gradients of a step that is not finite away
    before the optimizer sees them, so that it is no step (the schedule goes on); "act" does so with
    outliers too, scales gradients down, and rolls weights and optimizer back, lowers the rate or
    stops the training; "off" only looks. With several processes "act" is "advise"; with several
    optimizers, and where gradients are sharded (FSDP, DeepSpeed), it is "off".
    alert: an address or a command for findings that need an act; tell: where lines go
    verdict, findings: what is wrong, now or at the end

    An evaluation is what `self.log` was given under a name that begins with val, valid, eval, ...

    Raises UsageError without lightning, and for a guard that there is not.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        guard: Mode = "advise",
        alert: Alert | str | None = None,
        tell: Callable[[str], None] | None = say,
    ):
        if _lightning is None:
            raise UsageError("LightningCallback needs lightning: pip install 'thalweg[lightning]'")
        self._wanted = Wanted.of(folder, guard, alert, tell)
        self._session: Session | None = None
        self._last: Verdict | None = None
        self._is_due = False

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
        if session is not None:
            self._last = session.close()

    # ------------------------------------------------------------ what the trainer calls

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.close()
        self._is_due = False
        optimizers = list(trainer.optimizers)
        if not optimizers:
            return
        strategy = type(trainer.strategy).__name__.lower()
        self._session = Session(
            self._wanted,
            Loop(
                model=pl_module,
                optimizers=optimizers,
                tool="lightning",
                settings=known_of(trainer, optimizers[0]),
                number=trainer.global_step // len(optimizers),
                scaler=scaler_of(trainer),
                rank=trainer.global_rank,
                num_processes=trainer.world_size,
                is_sharded=any(word in strategy for word in _SHARDED),
            ),
        )

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """The loss as it is: Lightning has divided it by the micro-batches, and scaled it."""
        if self._session is None or loss.numel() != 1:
            return
        scaler, count = scaler_of(trainer), trainer.accumulate_grad_batches
        if scaler is not None:
            loss = loss / scaler.scale(loss.new_ones((), dtype=loss.dtype)).detach()
        self._session.saw_loss(loss * count if count > 1 else loss)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Gradients are unscaled here, and not clipped yet."""
        if self._session is not None and optimizer is trainer.optimizers[-1]:
            self._session.before_step()
            self._is_due = True

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._session is None or not self._is_due:
            return
        self._is_due = False
        batches = trainer.num_training_batches
        epoch = trainer.current_epoch + ((batch_idx + 1) / batches if batches else 0.0)
        self._session.after_step(epoch=epoch)
        if self._session.is_stopped:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self._session is not None and not trainer.sanity_checking:
            self._session.evaluation(measures_of(trainer.callback_metrics))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.close()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.close()


def scaler_of(trainer: Any) -> Any:
    """fp16's, or None."""
    return getattr(trainer.precision_plugin, "scaler", None)


def known_of(trainer: Any, optimizer: Any) -> dict[str, Any]:
    """The settings in our words; the rate is what the schedule starts from."""
    group = optimizer.param_groups[0]
    stated = {
        "gradient_clip_val": trainer.gradient_clip_val,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "max_epochs": trainer.max_epochs,
        "batch_size": getattr(trainer.train_dataloader, "batch_size", None),
        "precision": trainer.precision,
    }
    steps = trainer.estimated_stepping_batches
    if math.isfinite(steps):
        stated["max_steps"] = int(steps)
    rate = float(group.get("initial_lr", group["lr"]))
    return {**settings_of(optimizer), **in_our_words(stated), "lr": rate}


def measures_of(metrics: Any) -> dict[str, float]:
    """The numbers of an evaluation, without the word that says so.

    >>> measures_of({"val_loss": 0.5, "valid/acc": 0.9, "train_loss": 0.4})
    {'loss': 0.5, 'acc': 0.9}
    """
    found = ((_HELD.match(name), name, value) for name, value in metrics.items())
    return {name[held.end() :]: float(value) for held, name, value in found if held}
