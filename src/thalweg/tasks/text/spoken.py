"""A trained language model in hand: it writes, and is scored on other texts."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from thalweg.errors import DataError, UsageError
from thalweg.tasks.measure import measure
from thalweg.tasks.objectives import OBJECTIVES
from thalweg.tasks.table.source import name_of
from thalweg.tasks.task import Task
from thalweg.tasks.text.language import LANGUAGE, bytes_of
from thalweg.tasks.text.windows import BITS, Windows
from thalweg.tasks.text.writing import written

LENGTH, TEMPERATURE = 200, 0.8
MOST_BYTES = 1_000_000


def check_language(kind: str | None) -> None:
    """Raise UsageError for a run that cannot be prompted."""
    if kind != LANGUAGE:
        raise UsageError(
            f"a prompt is for a language model (fit FILE.txt --task lm), and this run was trained "
            f"for {kind or 'a loss of its own'}: give it rows to predict"
        )


def continued(
    model: nn.Module, prompt: str, *, context: int, length: int, temperature: float, seed: int
) -> str:
    """What the model writes after a prompt; bytes that are no UTF-8 are replaced.

    Raises UsageError for numbers that cannot be.
    """
    if not isinstance(prompt, str):
        raise UsageError(f"prompt is a {type(prompt).__name__}: it must be a text")
    if not 0 <= length <= MOST_BYTES:
        raise UsageError(f"length is {length:,}: it must lie in 0 .. {MOST_BYTES:,} bytes")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UsageError(f"temperature is {temperature:g}: it must be 0 (the likeliest) or more")
    (found,) = written(
        model,
        [prompt.encode("utf-8", "replace")],
        length=length,
        context=context,
        temperature=temperature,
        seed=seed,
    )
    return found.decode("utf-8", errors="replace")


def scored(model: nn.Module, data: Any, *, context: int) -> dict[str, float]:
    """Windows, loss and bits on a text. Raises DataError for one that fills no window."""
    text = bytes_of(data)
    if len(text) <= context:
        raise DataError(
            f"{name_of(data)} is too short: it holds {len(text):,} bytes, and a window of this run "
            f"needs {context + 1:,}: give a longer text"
        )
    source = Windows(torch.frombuffer(bytearray(text), dtype=torch.uint8), context)
    task = Task(model, source, loss=OBJECTIVES["cross_entropy"], metrics=BITS)
    values, _ = measure(task, source.to(task.device))
    return {"rows": len(source), **values}
