"""The data of the tasks: small parts of real tables, pictures and texts, as tensors.

The split of a task is the same in all its runs, so that its luck does not pass for the spread
between seeds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import polars as pl
import torch
from sklearn.datasets import load_breast_cancer

from benchmarks import corpora
from benchmarks.data import Table, load
from benchmarks.healthbench import fresh_sets, third_sets, unseen_sets
from benchmarks.healthbench.parts import WINDOW, Data, Part, of_table, windows
from benchmarks.problem import CLASSIFICATION, REGRESSION

NUM_TRIGRAMS, TRIGRAMS_OF_A_TEXT = 2048, 96


def known(name: str, num_train: int, num_validation: int, kind: str = CLASSIFICATION) -> Data:
    """A table of `benchmarks.data`."""
    return of_table(load(name), kind, num_train, num_validation)


def cancer(num_train: int, num_validation: int) -> Data:
    """569 tumours, 30 numbers, two classes; ships with scikit-learn."""
    x, y = load_breast_cancer(return_X_y=True)
    frame = pl.DataFrame(np.asarray(x)).with_columns(pl.Series("kind", np.asarray(y)))
    return of_table(Table("cancer", frame, "kind"), CLASSIFICATION, num_train, num_validation)


def pictures(name: str, num_train: int, num_validation: int) -> Data:
    """Pictures of 14 x 14, the means of 2 x 2 pixels, about zero and of size one."""
    parts = []
    counts = (num_train, num_validation)
    for split, count in zip(corpora.PICTURES[name](), counts, strict=True):
        x = torch.from_numpy(split.pictures[:count].astype(np.float32))
        x = torch.nn.functional.avg_pool2d(x[:, None], 2)
        y = torch.from_numpy(split.labels[:count].astype(np.int64))
        parts.append(Part((x - 73.0) / 80.0, y))
    return Data("classes", *parts, num_outputs=10)


def fortunes(num_train: int, num_validation: int) -> Data:
    """Texts in seven languages, (n, 96) numbers of three letters each; 0 where a text has ended."""
    frame = corpora.fortunes().sample(num_train + num_validation, seed=0, shuffle=True)
    x = torch.from_numpy(np.stack([_trigrams(text) for text in frame["text"]]))
    languages, y = np.unique(frame["language"].to_numpy(), return_inverse=True)
    whole = Part(x, torch.from_numpy(y.astype(np.int64)))
    order = np.arange(len(x))
    train, validation = whole.rows(order[:num_train]), whole.rows(order[num_train:])
    return Data("classes", train, validation, len(languages))


def _trigrams(text: str) -> np.ndarray:
    letters = " ".join(text.lower().split())[: TRIGRAMS_OF_A_TEXT + 2].encode()
    pieces = [letters[i : i + 3] for i in range(min(len(letters) - 2, TRIGRAMS_OF_A_TEXT))]
    numbers = np.zeros(TRIGRAMS_OF_A_TEXT, np.int64)
    numbers[: len(pieces)] = [1 + zlib.crc32(piece) % (NUM_TRIGRAMS - 1) for piece in pieces]
    return numbers


def shakespeare(num_train: int, num_validation: int) -> Data:
    """Windows of bytes and the bytes that follow; the validation part is a later piece of text.

    The 63 most frequent bytes have numbers of their own, all others share one.
    """
    text = np.frombuffer(corpora.shakespeare(), np.uint8)
    counts = np.bincount(text, minlength=256)
    number = np.full(256, 63, np.int64)
    number[np.argsort(-counts)[:63]] = np.arange(63)

    symbols = number[text]
    middle = len(symbols) * 4 // 5
    source = np.random.default_rng(0)
    train = source.integers(0, middle - WINDOW - 1, num_train)
    held = source.integers(middle, len(symbols) - WINDOW - 1, num_validation)
    return Data("symbols", windows(symbols, train), windows(symbols, held), 64)


SETS: dict[str, Callable[[], Data]] = {
    "digits": partial(known, "digits", 1200, 590),
    "letter": partial(known, "letter", 8000, 1500),
    "spam": partial(known, "spambase", 3200, 1000),
    "mnist": partial(pictures, "mnist", 4000, 1000),
    "diamonds": partial(known, "diamonds", 8000, 1500, REGRESSION),
    "phoneme": partial(known, "phoneme", 4000, 1200),
    "fashion": partial(pictures, "fashion", 4000, 1000),
    "fortunes": partial(fortunes, 5000, 1000),
    "shakespeare": partial(shakespeare, 20000, 64),
    "cancer": partial(cancer, 380, 189),
    **unseen_sets.SETS,
    **fresh_sets.SETS,
    **third_sets.SETS,
}


@cache
def data_of(task: str) -> Data:
    """The data of a task; DataError if it cannot be fetched. Never written into."""
    return SETS[task]()
