"""Which tool made a log, so that advice is given in the words of its settings."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from thalweg.record.foreign.pickled import NAME as TRAINING_ARGS

_KERAS_TAGS = {"epoch_loss", "evaluation_loss_vs_iterations", "batch_loss"}
_KERAS_OWN = {"epoch", "loss", "val_loss", "learning_rate", "lr"}
_KERAS_BAR = ("ms/step", "s/step - ", "s/epoch - ")
_TRAINER = {"loss", "learning_rate", "epoch"}


@dataclass(frozen=True, slots=True)
class _Evidence:
    """names: of the columns, in lower case; last: the part of each after its last slash"""

    format: str
    names: set[str]
    last: set[str]
    text: str

    @property
    def is_events(self) -> bool:
        return self.format == "tensorboard"

    @property
    def is_text(self) -> bool:
        return self.format == "text"

    @property
    def is_table(self) -> bool:
        return self.format in ("csv", "jsonl")


def tool_of(format: str, names: Collection[str], path: Path | None, text: str = "") -> str:
    """The tool's name in _SIGNS or _by_place, or "" where nothing tells.

    path: the log's file or folder; text: of a log that is one
    """
    lower = {name.lower() for name in names}
    evidence = _Evidence(format, lower, {name.rpartition("/")[2] for name in lower}, text)
    told = next((tool for tool, is_so in _SIGNS if is_so(evidence)), "")
    return told or ("" if path is None else _by_place(path, lower))


def _has_suffixes(e: _Evidence) -> bool:
    """Both the same name per step and per epoch, as Lightning logs with on_step and on_epoch."""
    steps = {name.removesuffix("_step") for name in e.names if name.endswith("_step")}
    return any(f"{name}_epoch" in e.names for name in steps)


def _is_keras_table(e: _Evidence) -> bool:
    """A column, and the same with val_ before it; in a history no column counts the epochs."""
    if not e.is_table or "loss" not in e.names or "step" in e.names:
        return False
    metrics = {name.removeprefix("val_") for name in e.names - _KERAS_OWN}
    is_paired = all({name, f"val_{name}"} <= e.names for name in metrics)
    return is_paired and ("val_loss" in e.names or ("epoch" in e.names and bool(metrics)))


_SIGNS: tuple[tuple[str, Callable[[_Evidence], bool]], ...] = (
    ("huggingface", lambda e: e.format == "trainer_state" or "train/global_step" in e.names),
    ("huggingface", lambda e: {*_TRAINER, "grad_norm"} <= e.last),
    ("huggingface", lambda e: {*_TRAINER, "eval_loss"} <= e.names),
    ("megatron", lambda e: {"consumed samples", "lm loss"} <= e.names),
    ("megatron", lambda e: e.is_events and "lm loss" in e.last),
    ("keras", lambda e: e.is_events and bool(e.last & _KERAS_TAGS)),
    ("keras", lambda e: e.is_text and any(bar in e.text for bar in _KERAS_BAR)),
    ("keras", _is_keras_table),
    ("nanogpt", lambda e: e.is_text and {"iter", "loss", "time ms"} <= e.names),
    ("lightning", lambda e: "trainer/global_step" in e.names),
    ("lightning", lambda e: e.is_text and "v_num" in e.names),
    ("lightning", lambda e: e.is_events and ("hp_metric" in e.names or _has_suffixes(e))),
    ("lightning", lambda e: e.is_table and {"epoch", "step"} <= e.names and _has_suffixes(e)),
    ("lightning", lambda e: not e.is_text and any(name.startswith("lr-") for name in e.names)),
    ("fastai", lambda e: e.is_table and {"epoch", "train_loss", "valid_loss", "time"} <= e.names),
)
"""What only one tool writes; the first that fits."""


def _by_place(path: Path, names: set[str]) -> str:
    """From the files and folders around a log."""
    folder = path if path.is_dir() else path.parent
    if (folder / "run.toml").is_file():
        return "thalweg"
    has_hparams = (folder / "hparams.yaml").is_file() and ("step" in names or path.is_dir())
    if has_hparams or "lightning_logs" in path.parts:
        return "lightning"
    is_trainer = (folder / TRAINING_ARGS).is_file()
    return "huggingface" if is_trainer or any(folder.glob(f"checkpoint-*/{TRAINING_ARGS}")) else ""
