"""Settings in anybody's words, in ours: max_grad_norm, gradient_clip_val and clip_grad are clip.

A setting is known by the last part of its name (optimizer.lr is lr), never by its value; one that
is stated twice with different values, and nothing tells which of them trained the model, is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from thalweg.record.foreign.names import HELD, TEST, named

NUMBERS = {
    "batch_size": (
        *("batch_size", "global_batch_size", "train_batch_size", "per_device_train_batch_size"),
        *("batchsize", "batch", "bs", "bsz", "instantaneous_batch_size_per_device"),
    ),
    "accumulate": (
        *("accumulate", "gradient_accumulation_steps", "accumulate_grad_batches", "accum_iter"),
        *("grad_accum_steps", "accumulation_steps", "update_freq"),
    ),
    "lr": ("lr", "learning_rate", "base_lr", "max_lr", "peak_lr", "lr0"),
    "clip": (
        *("clip", "max_grad_norm", "gradient_clip_val", "grad_clip", "clip_grad", "clip_grad_norm"),
        *("grad_clip_norm", "gradient_clip", "gradient_clipping", "clip_norm", "clipnorm"),
        *("global_clipnorm", "grad_norm_clip", "max_norm", "clip_gradients"),
    ),
    "warmup": (
        *("warmup", "warmup_steps", "warmup_iters", "num_warmup_steps", "lr_warmup_iters"),
        *("lr_warmup_steps", "warmup_iterations", "warmup_updates"),
    ),
    "weight_decay": ("weight_decay", "wd", "weightdecay"),
    "steps": (
        *("steps", "max_steps", "max_iters", "total_steps", "num_train_steps", "train_iters"),
        *("max_train_steps", "num_iterations", "total_optimization_steps"),
        *("max_update",),
    ),
    "epochs": ("epochs", "num_train_epochs", "max_epochs", "num_epochs", "n_epochs", "nb_epochs"),
    "num_classes": ("num_classes", "n_classes", "num_labels", "nb_classes", "nc"),
    "patience": ("patience", "early_stopping_patience", "early_stop_patience"),
}
TEXTS = {
    "schedule": (
        *("schedule", "lr_scheduler_type", "scheduler", "lr_scheduler", "sched"),
        *("lr_decay_style", "lr_schedule", "scheduler_type"),
    ),
    "optimizer": ("optimizer", "optim", "opt", "optimizer_name"),
    "loss": ("loss", "criterion", "loss_fn", "loss_function", "loss_name"),
    "precision": ("precision", "mixed_precision", "dtype", "amp_dtype", "torch_dtype"),
}
"""Our word for a setting, and those of other tools; the first of a file that is known counts."""

_NOT_OF_SCHEDULES = {"lr", "patience", "steps", "epochs"}
_NONE = {"none", "null", "", "~", "off", "false"}
_KIND = {"name", "type", "_target_", "class_path", "class_name", "kind", "target"}
_OTHERS = HELD | TEST | {"predict", "inference", "generation", "teacher", "discriminator", "finder"}
_TRAINERS = {"train", "training", "trainer", "optimizer", "optim", "data", "settings", "hparams"}
_TRAINERS |= {"args", "solver", "dataloader"}
_SCHEDULES = (
    *(("restart", "restarts"), ("onecycle", "one_cycle"), ("cos", "cosine")),
    *(("plateau", "plateau"), ("inverse", "inverse_sqrt"), ("noam", "inverse_sqrt")),
    *(("poly", "polynomial"), ("wsd", "wsd"), ("warmup_stable", "wsd"), ("exp", "exponential")),
    *(("linear", "linear"), ("const", "constant"), ("step", "step")),
)
_LOSSES = ((r".*cross_?entropy.*|x?ce|nll.*", "cross_entropy"), (r".*mse.*|l2|squared.*", "mse"))
_PRECISIONS = (
    *((r"bf(loat)?16-(true|weights)", "bf16-weights"), (r".*bf(loat)?16.*", "bf16")),
    *((r".*(fp|float)16.*|16(-\w+)?|half", "fp16"), (r".*(fp|float)32.*|32(-\w+)?|no", "float32")),
)


def in_our_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings by their name, parts with a point between, those that are known, in our words.

    >>> in_our_words({"trainer.gradient_clip_val": 0.5, "model.optimizer": "torch.optim.AdamW"})
    {'clip': 0.5, 'optimizer': 'adamw'}
    """
    rows = {_spelled(name): value for name, value in values.items()}
    found: dict[str, Any] = {}
    names = {parts[-1] for parts in rows if parts}
    for own, words in NUMBERS.items():
        value = _agreed(rows, own, words, own == "clip")
        number = _number(value)
        if number is not None:
            found[own] = number
        elif own == "clip" and isinstance(value, str) and value.lower() in _NONE:
            found[own] = 0.0
    for own, words in TEXTS.items():
        value = _agreed(rows, own, words)
        text = None if isinstance(value, bool) or value is None else _in_ours(own, str(value))
        if text:
            found[own] = text
    if any("vocab" in name for name in names) and "num_labels" not in names:
        found.pop("num_classes", None)  # of pictures, in a program that does texts as well
    found |= _switches(rows)
    if 0 < found.get("warmup", 0) < 1:
        share = found.pop("warmup")
        found |= {"warmup": round(share * found["steps"])} if "steps" in found else {}
    kept = ("clip", "nan_filter", "weight_decay")
    return {name: value for name, value in found.items() if name in kept or value not in (0, -1)}


def _spelled(name: str) -> tuple[str, ...]:
    """Parts of a name in one spelling; without the "value" under which some tools put each."""
    bare = re.sub(r"[\s\-]+", "_", name.strip().lstrip("-").lower())
    parts = tuple(part for part in re.split(r"[./]", bare) if part)
    return parts[:-1] if len(parts) > 1 and parts[-1] == "value" else parts


def _agreed(
    rows: Mapping[tuple[str, ...], Any], own: str, words: tuple[str, ...], is_none: bool = False
) -> Any:
    """The value of the best name that states a setting; None where there is none, or no one."""
    fit = sorted(_stated(rows, own, words, is_none), key=lambda row: row[0])
    if not fit:
        return None
    best = [row for row in fit if row[0] == fit[0][0]]
    if len({str(value) for _, _, value in best}) > 1:
        best = [row for row in best if set(row[1][:-1]) & _TRAINERS]
    return best[0][2] if len({str(value) for _, _, value in best}) == 1 else None


def _stated(
    rows: Mapping[tuple[str, ...], Any], own: str, words: tuple[str, ...], is_none: bool
) -> Iterator[tuple[tuple[int, int], tuple[str, ...], Any]]:
    for parts, value in rows.items():
        is_kind = own in TEXTS and len(parts) > 1 and parts[-1] in _KIND
        name = ("", *(parts[:-1] if is_kind else parts))[-1]
        aside = {word for part in parts[:-1] for word in named(part).words}
        is_aside = aside & _OTHERS or (own in _NOT_OF_SCHEDULES and "scheduler" in aside)
        if name in words and not is_aside and (value is not None or is_none):
            rank = (len(parts) - is_kind, words.index(name))
            yield rank, parts, "none" if value is None else value


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _in_ours(own: str, text: str) -> str:
    """A schedule, an optimizer or a precision, spelled as `fit` spells it where it has it."""
    word = text.strip().rpartition(".")[2].lower()
    if word in _NONE:
        return "float32" if own == "precision" and text.lower() == "false" else ""
    if own == "schedule":
        return next((ours for part, ours in _SCHEDULES if part in word), word)
    if own == "precision":
        return next((ours for like, ours in _PRECISIONS if re.fullmatch(like, word)), "")
    if own == "loss":
        return next((ours for like, ours in _LOSSES if re.fullmatch(like, word)), word)
    return re.sub(r"(_(torch|hf|fused|bnb|8bit|anyprecision|apex|xla))+$", "", word)


def _switches(rows: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """What is told by truths: a precision; and whether the log hides what is not finite."""
    is_on = {parts[-1]: value for parts, value in rows.items() if parts and value in (True, False)}
    halves = [name for name in ("bf16", "fp16") if is_on.get(name)]
    found: dict[str, Any] = {"precision": halves[0]} if halves else {}
    if "logging_nan_inf_filter" in is_on:
        found["nan_filter"] = bool(is_on["logging_nan_inf_filter"])
    return found
