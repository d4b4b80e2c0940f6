"""What a language model writes after passages of the validation text: samples for the report."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.tasks.models.inputs import Inputs, Tokens
from thalweg.tasks.task import Task
from thalweg.tasks.text.windows import windows_of
from thalweg.tasks.text.writing import written

NUM_SAMPLES, PROMPT, LENGTH = 3, 64, 240
TEMPERATURE = 0.8


def samples_of(task: Task, inputs: Inputs | None, *, seed: int) -> list[dict[str, Any]]:
    """{"prompt", "text"} of each: the same passages whatever was trained, evenly spread."""
    windows = windows_of(task.validation)
    if windows is None or not isinstance(inputs, Tokens):
        return []
    text = windows.text.cpu().numpy().tobytes()
    size = min(PROMPT, windows.length)
    places = np.linspace(0, len(text) - size, NUM_SAMPLES + 2)[1:-1].astype(int)
    prompts = [_from_line(text, int(place), size) for place in places]
    found = written(
        task.model,
        prompts,
        length=LENGTH,
        context=windows.length,
        temperature=TEMPERATURE,
        seed=seed,
    )
    return [
        {"prompt": one.decode("utf-8", "replace"), "text": other.decode("utf-8", "replace")}
        for one, other in zip(prompts, found, strict=True)
    ]


def _from_line(text: bytes, place: int, size: int) -> bytes:
    """The passage from the next line on, where one begins soon; else from here."""
    start = text.find(b"\n", place, place + 4 * size) + 1
    start = start if 0 < start <= len(text) - size else place
    return text[start : start + size]
