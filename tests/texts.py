"""Small texts to learn from, and fits of them that kill themselves: for the exams of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import killed
import thalweg

ROWS, STEPS = 120, 40
WORDS = {
    "praise": ["good", "great", "fine", "lovely", "sweet", "kind", "warm", "bright"],
    "blame": ["bad", "poor", "cold", "sour", "harsh", "dull", "grim", "bleak"],
}
COMMON = ["the", "a", "of", "and", "it", "was", "very", "day", "for", "us", "in", "all", "that"]


def frame(rows: int = ROWS) -> pl.DataFrame:
    """Sentences of praise and of blame; `stars` counts the words of praise in both columns."""
    source = np.random.default_rng(0)
    said = []
    for row in range(rows):
        verdict = ("praise", "blame")[row % 2]
        words = [*source.choice(WORDS[verdict], 2), *source.choice(COMMON, 6)]
        said.append((" ".join(source.permutation(words)), verdict))
    texts = [text for text, _ in said]
    stars = [float(sum(word in WORDS["praise"] for word in text.split())) for text in texts]
    return pl.DataFrame(
        {
            "title": [f"review {row % 7}" for row in range(rows)],
            "text": texts,
            "number": range(rows),
            "stars": stars,
            "verdict": [verdict for _, verdict in said],
        }
    )


def prose(num_bytes: int = 6000) -> str:
    """A text with a simple order of words."""
    source = np.random.default_rng(1)
    lines = [
        f"{source.choice(COMMON)} {source.choice(WORDS['praise'])} day was {word}."
        for word in source.choice(WORDS["blame"], num_bytes // 16)
    ]
    return "\n".join(lines)[:num_bytes]


KILLED: dict[str, dict[str, Any]] = {
    "bag": {"text": "text", "target": "verdict", "model": "bag:8"},
    "transformer": {
        "text": "text",
        "target": "verdict",
        "model": "transformer:16x1",
        "dropout": 0.1,
    },
    "lm": {"task": "lm", "model": "transformer:16x1", "context": 16, "dropout": 0.1},
}


def train(folder: str, kind: str, step: int) -> None:
    """Fit, or go on with what is there; killed from within in step `step`, 0: not at all."""
    if step:
        killed.plant(step, killed.die)
    place = Path(folder)
    data = place.parent / ("prose.txt" if kind == "lm" else "reviews.csv")
    if (place / "run.toml").exists():
        thalweg.resume(place, quiet=True)
        return
    thalweg.fit(
        data,
        steps=STEPS,
        batch_size=16,
        patience=100,
        evaluate_every=10,
        checkpoint_every=7,
        out=str(place.parent),
        name=place.name,
        quiet=True,
        **KILLED[kind],
    )
