"""Texts as bags of hashed features: words, pairs of neighbours, and pieces of words.

Nothing is learnt and nothing is kept but how many buckets there are (Weinberger et al., Feature
Hashing, 2009; pieces as in Bojanowski et al., Enriching Word Vectors with Subword Information,
2017).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from zlib import crc32

import numpy as np

FILLER, NOTHING = 0, 1
"""The token that fills up short texts, and the one of a text that holds nothing."""

PIECES = (3, 4)
"""Letters in a piece of a word; the word stands between < and >."""

LONGEST = 40
"""Letters of a word that are cut into pieces."""

_WORD = re.compile(r"\w+|[^\w\s]")
_PAIR, _MASK = 0x9E3779B1, 0xFFFFFFFF


def hashed(texts: Sequence[str], *, num_buckets: int, length: int) -> np.ndarray:
    """Token ids, int32 (n, length): the first `length` different features of each text.

    Features become 2 .. num_buckets - 1. Words come first, then pairs, then pieces, so that a long
    text loses pieces before it loses words.
    """
    found = np.full((len(texts), length), FILLER, dtype=np.int32)
    for row, ids in enumerate(features(texts, num_buckets=num_buckets, most=length)):
        found[row, : len(ids)] = ids
    return found


def features(texts: Iterable[str], *, num_buckets: int, most: int) -> Iterator[list[int]]:
    """The different features of each text in their order, at most `most`."""
    book = _Book(num_buckets)
    for text in texts:
        yield book.features(text, most) or [NOTHING]


class _Book:
    """Every word met so far, hashed once, and cut into pieces once these are asked for."""

    def __init__(self, num_buckets: int):
        self._num_free = num_buckets - 2
        self._words: dict[str, tuple[int, int]] = {}
        self._pieces: dict[str, dict[int, None]] = {}

    def features(self, text: str, most: int) -> list[int]:
        """Of one text: what comes later is not even made where there are enough before it."""
        names = _WORD.findall(text.lower())[:most]
        words = [self._words.get(name) or self._new(name) for name in names]
        found = dict.fromkeys([bucket for _, bucket in words])
        if len(found) < most:
            found.update(self._pairs([number for number, _ in words]))
        for name in dict.fromkeys(names):
            if len(found) >= most:
                break
            found.update(self._pieces.get(name) or self._cut(name))
        return list(islice(found, most))

    def _new(self, name: str) -> tuple[int, int]:
        """A word's hash, and its bucket."""
        number = _hash(name, 0)
        found = self._words[name] = number, self._bucket(number)
        return found

    def _pairs(self, words: list[int]) -> dict[int, None]:
        """The buckets of each two that stand side by side."""
        numbers = np.array(words, dtype=np.uint64)
        pairs = ((numbers[:-1] * np.uint64(_PAIR)) ^ numbers[1:]) & np.uint64(_MASK)
        buckets = (pairs * np.uint64(_PAIR) & np.uint64(_MASK)) % np.uint64(self._num_free)
        return dict.fromkeys((buckets + np.uint64(2)).tolist())

    def _cut(self, name: str) -> dict[int, None]:
        """The buckets of a word's pieces."""
        whole = f"<{name[:LONGEST]}>"
        parts = (whole[i : i + size] for size in PIECES for i in range(len(whole) - size + 1))
        found = dict.fromkeys(self._bucket(_hash(part, 1)) for part in parts)
        self._pieces[name] = found
        return found

    def _bucket(self, number: int) -> int:
        return 2 + (number * _PAIR & _MASK) % self._num_free


def _hash(text: str, kind: int) -> int:
    return crc32(text.encode("utf-8", "replace"), kind)
