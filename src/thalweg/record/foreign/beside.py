"""What lies beside a log: the run's settings, and its checkpoints by step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thalweg.record.foreign import pickled
from thalweg.record.foreign.nested import read_settings
from thalweg.record.foreign.words import in_our_words

NAMES = (
    *("run.toml", "hparams.yaml", "args.yaml", "args.json", "training_args.json", "hparams.json"),
    *("params.json", "params.yaml", "config.yaml", "config.yml", "config.json", "config.toml"),
    *(
        "adapter_config.json",
        "opt.yaml",
        "args.txt",
        "opt.txt",
        ".hydra/config.yaml",
        "flags.json",
        "hyp.yaml",
    ),
)
"""Files of settings; the first that states one counts."""

INNER = re.compile(
    r"^(?:logs?|tb|tb_?logs?|tensorboard|events?|runs|csv|version_\d+|lightning_logs|metrics"
    r"|train|val|validation|eval|checkpoint-\d+|\w{3}\d\d_\d\d-\d\d-\d\d.*)$",
    re.IGNORECASE,
)
"""Folders inside that of a run, whose settings then lie further up."""

MOST_CHECKPOINTS = 20
_CHECKPOINT = re.compile(
    r"^(?:checkpoint|step|ckpt|epoch|model|iter|global_step)s?[-_=]*(\d+)$"
    r"|(?:step|epoch|iter)[=_-]?(\d+)(?!.*(?:step|iter)[=_-]?\d)",
    re.IGNORECASE,
)
_WEIGHTS = {".ckpt", ".pt", ".pth", ".safetensors", ".bin", ".h5", ".keras", ".pkl"}
_MOST_BYTES = 1 << 22


def settings_beside(folder: Path) -> dict[str, Any]:
    """Settings in our words, from files of usual names in a log's folder or its run's."""
    found: dict[str, Any] = {}
    for place in _folders(folder):
        for name in NAMES:
            found = {**_read(place / name), **found}
        for file in sorted(place.glob("checkpoint-*/config.json"))[-1:]:
            found = {**_read(file), **found}
        inner = sorted(place.glob(f"checkpoint-*/{pickled.NAME}"))
        for file in (place / pickled.NAME, *inner[-1:]):
            if file.is_file():
                found = {**in_our_words(pickled.read_pickled(file)), **found}
    return found


def _folders(folder: Path) -> Iterator[Path]:
    yield folder
    for _ in range(3):
        if not INNER.match(folder.resolve().name):
            return
        folder = folder.parent if folder.name else folder.resolve().parent
        yield folder


def _read(file: Path) -> dict[str, Any]:
    try:
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return {}
        values = read_settings(file.read_text(encoding="utf-8-sig"), file.suffix)
    except (OSError, ValueError, RecursionError):
        return {}
    if "peft_type" in values:
        return {"adapter": str(values["peft_type"]).lower()}
    if "model_type" in values or "architectures" in values:
        return _of_model(values)
    return in_our_words(values)


def _of_model(values: dict[str, Any]) -> dict[str, Any]:
    """A model's own config tells how many classes it has, and nothing of its training."""
    labels = [name for name in values if name.startswith("id2label.")]
    return {"num_classes": len(labels)} if labels else {}


def step_of(name: str) -> int | None:
    """The step in a checkpoint's name; None where the name is no checkpoint's.

    >>> step_of("checkpoint-500"), step_of("epoch=3-step=100"), step_of("best")
    (500, 100, None)
    """
    match = _CHECKPOINT.search(name)
    return int(match[1] or match[2]) if match else None


def _is_by_epoch(name: str) -> bool:
    return "epoch" in name.lower() and not re.search("step|iter", name, re.IGNORECASE)


def checkpoints_in(folder: Path, unit: str = "step") -> dict[int, str]:
    """The last checkpoints in a log's folder or its run's: path by step, which rises.

    unit: of the log's steps; a checkpoint that is named by its epoch is none of a log of steps, nor
    the other way round
    """
    found: dict[int, str] = {}
    for place in _folders(folder):
        for path in (*place.glob("*"), *place.glob("checkpoints/*"), *place.glob("ckpt*/*")):
            is_weights = path.suffix in _WEIGHTS
            name = path.stem if is_weights else path.name
            is_comparable = (unit == "epoch") == _is_by_epoch(name)
            step = step_of(name) if is_comparable else None
            if step is not None and (is_weights or (path.is_dir() and any(path.iterdir()))):
                found.setdefault(step, str(path))
    return dict(sorted(found.items())[-MOST_CHECKPOINTS:])
