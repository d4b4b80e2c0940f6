"""A stored run as another tool would have logged it, written to disk and read again.

Tools write every tenth or fiftieth step, or one row an epoch; means or single values; rarely a
gradient's norm; and nothing of what the layers do. Each writer leaves out what its tool does.
"""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.healthbench.judge import seen_by
from thalweg.errors import DataError
from thalweg.health.codes import CODES
from thalweg.health.diagnosis import missing
from thalweg.health.view import View
from thalweg.record.foreign import Columns, find_logs, read_logs
from thalweg.record.foreign.log import LOSS, LR, NORM, SECONDS, VALIDATION, Log

Meta = dict[str, Any]
Cells = dict[str, float]

SCORES = ("accuracy", "r2")
"""Of evaluations, beside the loss; which one there is depends on the task."""


@dataclass(frozen=True, slots=True)
class Format:
    """write: (run, its log, rows' distance in steps, folder) -> the file; every: that distance

    is_mean: rows hold means, else the value of one step; hides: what is not finite does not show in
    such a mean
    """

    write: Callable[[Meta, Log, int, Path], Path]
    every: int
    is_mean: bool = False
    hides: bool = False


def as_written(meta: Meta, log: Log, name: str, every: int | None = None) -> Log:
    """The log of a run as our reader finds it in a file of that format; an empty one where it
    refuses the file, as one with a single row.
    """
    format = FORMATS[name]
    with tempfile.TemporaryDirectory(prefix="thalweg-written-") as folder:
        path = format.write(meta, log, every or format.every, Path(folder))
        (found,) = find_logs(str(path))
        try:
            (read,) = read_logs(found, path.name, Columns())
        except DataError as error:
            return Log(path.name, name, notes=[str(error)])
    return read


def is_visible(meta: Meta, log: Log, read: Log, name: str, every: int | None = None) -> bool:
    """Can one know from the log that was read what is wrong? Decided without asking a detector.

    By the table of findings: the log has what the check for the run's main code, or for what its
    outcome shows (not finite, diverged, stuck at chance, overfitted), needs. And what happens in
    single steps, spikes and values that are not finite, must have come into a row.
    """
    view = View(read)
    codes = {code for code in seen_by(meta) if not missing(view, CODES[code])}
    format = FORMATS[name]
    every = every or format.every
    loss = log.series[LOSS]
    is_row = loss.steps % every == 0
    spikes = np.isin(meta["notes"].get("spike_steps", 0), loss.steps[is_row])
    if not (format.is_mean or spikes.any()):
        codes.discard("TW003")
    bad = ~np.isfinite(loss.values)
    rows = bad if format.is_mean else bad[is_row]
    if format.hides:
        whole = np.array([part.all() for part in np.array_split(bad, len(bad) // every)])
        rows = np.concatenate([whole, *(~np.isfinite(norm[is_row]) for norm in _norms(log))])
    if not rows.any() and np.isfinite(log.series[VALIDATION].values).all():
        codes.discard("TW001")
    return bool(codes)


def _norms(log: Log) -> list[np.ndarray]:
    """The gradient's norms, where the run has them: a loss that is cut off has none."""
    return [log.series[NORM].values] if NORM in log.series else []


def _steps(log: Log, *roles: str) -> Iterator[tuple[int, Cells]]:
    """Each step with those of the columns that it has."""
    columns = {role: log.series[role].values for role in roles if role in log.series}
    for i, step in enumerate(log.series[LOSS].steps):
        yield int(step), {role: float(values[i]) for role, values in columns.items()}


def _evaluations(log: Log, every: int = 1) -> dict[int, Cells]:
    """Loss and score of evaluations that are at least so many steps apart, by step."""
    names = (VALIDATION, *(f"validation_{score}" for score in SCORES), "train_eval_loss")
    columns = {name: log.series[name].values for name in names if name in log.series}
    found: dict[int, Cells] = {}
    last = 0
    for i, step in enumerate(log.series[VALIDATION].steps):
        if step - last >= every:
            last = int(step)
            found[last] = {name: float(values[i]) for name, values in columns.items()}
    return found


def _scores(row: Cells) -> Iterator[tuple[str, float]]:
    """Of an evaluation, by their plain names."""
    yield from ((name, row[f"validation_{name}"]) for name in SCORES if f"validation_{name}" in row)


def _due(step: int, every: int) -> bool:
    return step % every == 0


# ------------------------------------------------------------ the tools


def huggingface(meta: Meta, log: Log, every: int, folder: Path) -> Path:
    """A Trainer's state: the mean loss of each stretch, and NaN made to look like that mean."""
    evaluations = _evaluations(log, every)
    per_epoch = meta["steps_per_epoch"] / meta["recipe"]["accumulate"]
    history: list[dict[str, Any]] = []
    total, last = 0.0, 0
    for step, row in _steps(log, LOSS, LR, NORM):
        loss, epoch = row[LOSS], round(step / per_epoch, 4)
        total += loss if math.isfinite(loss) else total / (step - last)
        if _due(step, every):
            told = {"grad_norm": row.get(NORM), "learning_rate": row[LR]}
            mean = round(total / (step - last), 4)
            history.append({"epoch": epoch, **told, "loss": mean, "step": step})
            total, last = 0.0, step
        if step in evaluations:
            held = evaluations[step]
            scores = {f"eval_{name}": value for name, value in _scores(held)}
            told = {"eval_loss": held[VALIDATION], **scores, "eval_runtime": 0.1}
            history.append({"epoch": epoch, **told, "step": step})
    settings = {
        "max_steps": meta["recipe"]["steps"],
        "num_train_epochs": math.ceil(meta["recipe"]["steps"] / per_epoch),
        "train_batch_size": meta["recipe"]["batch_size"],
        "logging_steps": every,
        "eval_steps": every,
    }
    path = folder / "trainer_state.json"
    path.write_text(json.dumps({"global_step": step, "log_history": history, **settings}))
    return path


def keras(meta: Meta, log: Log, every: int, folder: Path) -> Path:
    """A CSVLogger: one row an epoch, which ends with an evaluation, with the mean loss of it."""
    evaluations = _evaluations(log)
    scores = [name for name, _ in _scores(next(iter(evaluations.values())))]
    lines = [",".join(["epoch", "loss", *(f"val_{name}" for name in scores), "val_loss"])]
    losses: list[float] = []
    for step, row in _steps(log, LOSS):
        losses.append(row[LOSS])
        if step in evaluations:
            held, mean = evaluations[step], float(np.mean(losses))
            values = (mean, *(value for _, value in _scores(held)), held[VALIDATION])
            lines.append(",".join([str(len(lines) - 1), *map(str, values)]))
            losses = []
    return _written(folder / "training.csv", lines)


def lightning(meta: Meta, log: Log, every: int, folder: Path) -> Path:
    """A CSVLogger's metrics.csv: the loss of every so many steps; evaluations in rows apart."""
    evaluations = _evaluations(log)
    scores = [name for name, _ in _scores(next(iter(evaluations.values())))]
    lines = [",".join(["epoch", "step", "train_loss_step", *map("val_{}".format, scores)])]
    lines[0] += ",val_loss"
    per_epoch = meta["steps_per_epoch"] / meta["recipe"]["accumulate"]
    for step, row in _steps(log, LOSS):
        at = f"{int((step - 1) / per_epoch)},{step - 1}"
        if _due(step, every):
            lines.append(f"{at},{row[LOSS]}," + "," * len(scores))
        if step in evaluations:
            held = evaluations[step]
            values = (*(value for _, value in _scores(held)), held[VALIDATION])
            lines.append(",".join([at, "", *map(str, values)]))
    known = {name: meta["recipe"][name] for name in ("lr", "batch_size", "weight_decay")}
    _written(folder / "hparams.yaml", [f"{name}: {value}" for name, value in known.items()])
    return _written(folder / "metrics.csv", lines)


def nanogpt(meta: Meta, log: Log, every: int, folder: Path) -> Path:
    """What nanoGPT prints: single losses, and both parts measured alike."""
    evaluations = _evaluations(log)
    lines = []
    for step, row in _steps(log, LOSS, SECONDS):
        if step in evaluations:
            both = evaluations[step]
            train, held = both["train_eval_loss"], both[VALIDATION]
            lines.append(f"step {step}: train loss {train:.4f}, val loss {held:.4f}")
        if _due(step, every):
            time = 1000 * row[SECONDS]
            lines.append(f"iter {step}: loss {row[LOSS]:.4f}, time {time:.2f}ms, mfu 1.23%")
    return _written(folder / "train.log", lines)


def tensorboard(meta: Meta, log: Log, every: int, folder: Path) -> Path:
    """A SummaryWriter's event file, as loops write it: Loss/train, Loss/val, Accuracy/val, LR."""
    evaluations = _evaluations(log)
    clock = 1.7e9
    raw = _frame(_event(clock, 0))
    for step, row in _steps(log, LOSS, LR, SECONDS):
        clock += row[SECONDS]
        told: Cells = {}
        if _due(step, every):
            told |= {"Loss/train": row[LOSS], "LR": row[LR]}
        if step in evaluations:
            held = evaluations[step]
            told["Loss/val"] = held[VALIDATION]
            told |= {f"{name.capitalize()}/val": value for name, value in _scores(held)}
        for tag, value in told.items():
            raw += _frame(_event(clock, step, tag, value))
    path = folder / "events.out.tfevents.1700000000.host.1.0"
    path.write_bytes(raw)
    return path


def plain(meta: Meta, log: Log, every: int, folder: Path) -> Path:
    """A table of step, loss and val_loss, the last blank between evaluations."""
    evaluations = _evaluations(log)
    lines = ["step,loss,val_loss"]
    for step, row in _steps(log, LOSS):
        held = evaluations.get(step, {}).get(VALIDATION, "")
        if _due(step, every) or held != "":
            lines.append(f"{step},{row[LOSS]},{held}")
    return _written(folder / "log.csv", lines)


FORMATS = {
    "hf": Format(huggingface, 10, is_mean=True, hides=True),
    "keras": Format(keras, 1, is_mean=True),
    "lightning": Format(lightning, 50),
    "tensorboard": Format(tensorboard, 10),
    "csv": Format(plain, 1),
    "nanogpt": Format(nanogpt, 10),
}
"""By name, with the distance of rows that is usual there."""

HELD_BACK = "nanogpt"
"""No detector was tuned on it."""


def _written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


# ------------------------------------------------------------ event files, byte by byte


def _event(clock: float, step: int, tag: str = "", value: float = 0.0) -> bytes:
    """Event{1: wall_time, 2: step, 5: Summary{1: Value{1: tag, 2: value}}}; the first one of a
    file names the version.
    """
    time = b"\x09" + struct.pack("<d", clock)
    if not tag:
        return time + _field(3, b"brain.Event:2")
    with np.errstate(over="ignore"):
        number = b"\x15" + struct.pack("<f", np.float32(value))
    return time + b"\x10" + _varint(step) + _field(5, _field(1, _field(1, tag.encode()) + number))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _frame(data: bytes) -> bytes:
    """Length, data, and the masked CRC-32C of each."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def _masked(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for octet in data:
        crc = _CRC[(crc ^ octet) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _remainder(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


_CRC = [_remainder(octet) for octet in range(256)]
