"""What is known of a run's settings from the files that lie beside its log."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = (
    *("config.json", "args.json", "hparams.json", "params.json", "training_args.json"),
    *("hparams.yaml", "config.yaml", "args.yaml", ".hydra/config.yaml"),
)
WORDS = {
    "batch_size": (
        "batch_size",
        "train_batch_size",
        "per_device_train_batch_size",
        "global_batch_size",
    ),
    "lr": ("lr", "learning_rate", "base_lr"),
    "clip": ("max_grad_norm", "gradient_clip_val", "grad_clip", "clip_grad_norm", "grad_clip_norm"),
    "schedule": ("lr_scheduler_type", "scheduler", "lr_scheduler", "schedule"),
    "warmup": ("warmup_steps", "warmup_iters", "num_warmup_steps"),
    "optimizer": ("optim", "optimizer"),
    "precision": ("precision", "dtype", "mixed_precision"),
    "weight_decay": ("weight_decay", "wd"),
    "steps": ("max_steps", "max_iters", "total_steps", "num_train_steps"),
    "epochs": ("epochs", "num_train_epochs", "max_epochs", "num_epochs"),
}
"""Our word for a setting, and those of other tools."""

_LINE = re.compile(r"^(\s*)([\w.\-]+)\s*:\s*(.*?)\s*(?:#.*)?$")


def settings_beside(path: Path) -> dict[str, Any]:
    """Settings in our words, from the first file of a usual name in the log's folder or above it."""
    for folder in (path.parent, path.parent.parent):
        for name in NAMES:
            file = folder / name
            if file.is_file():
                found = in_our_words(_values(file))
                if found:
                    return found
    return {}


def in_our_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of flat settings in anybody's words those that are known, in ours."""
    lower = {
        name.lower().replace("-", "_").rpartition(".")[2]: value for name, value in values.items()
    }
    found = {}
    for own, words in WORDS.items():
        known = next((lower[word] for word in words if lower.get(word) is not None), None)
        if isinstance(known, int | float | str) and known != "":
            found[own] = known
    if lower.get("bf16") is True or lower.get("fp16") is True:
        found["precision"] = "bf16" if lower.get("bf16") is True else "fp16"
    return found


def _values(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        return dict(_flat(json.loads(text))) if file.suffix == ".json" else _of_yaml(text)
    except (OSError, ValueError):
        return {}


def _flat(values: Any, before: str = ""):
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _flat(value, f"{before}{name}.")
    elif before:
        yield before[:-1], values


def _of_yaml(text: str) -> dict[str, Any]:
    """Lines of `name: value`, as flat files of settings have them; nested names by their last."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and match[3]:
            found[match[2]] = _scalar(match[3])
    return found


def _scalar(text: str) -> Any:
    bare = text.strip("'\"")
    if bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    try:
        return json.loads(bare)
    except ValueError:
        pass
    try:
        return float(bare)
    except ValueError:
        return bare
