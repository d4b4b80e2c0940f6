"""Subword tokens by byte-pair encoding, learnt on the training texts (Sennrich et al., 2016).

A text is cut into words with the blank before them, a word into its bytes in UTF-8, and bytes are
joined, the commonest neighbours first: any text can be written, and nothing is unknown.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain, islice, pairwise

import numpy as np

FIRST_BYTE = 2
"""The token of byte 0; before it stand the filler and the token of an empty text."""

NUM_PLAIN = FIRST_BYTE + 256
MOST_WORDS = 30_000
"""Different words, the commonest, that merges are learnt from."""

_WORD = re.compile(r" ?\w{1,24}| ?[^\w\s]{1,8}|\s{1,8}")
Merges = tuple[tuple[int, int], ...]


def learnt(texts: Iterable[str], num_tokens: int) -> Merges:
    """The pairs to join, in order, so that there are at most `num_tokens` tokens.

    Of pairs that are alike common the lower ids come first. Pairs seen once are left apart.
    """
    counts = Counter(chain.from_iterable(_WORD.findall(text) for text in texts))
    common = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:MOST_WORDS]
    learning = _Learning([(_plain(word), count) for word, count in common])
    return tuple(islice(learning.merges(), max(0, num_tokens - NUM_PLAIN)))


class _Learning:
    """Words as token ids, and how often each pair of neighbours stands in them."""

    def __init__(self, words: Sequence[tuple[list[int], int]]):
        self._words = [ids for ids, _ in words]
        self._counts = [count for _, count in words]
        self._pairs: Counter[tuple[int, int]] = Counter()
        self._where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for place in range(len(words)):
            self._count(place, 1)
        self._heap = [(-count, pair) for pair, count in self._pairs.items()]
        heapq.heapify(self._heap)

    def merges(self) -> Iterable[tuple[int, int]]:
        """The commonest pair, again and again, each joined before the next is sought."""
        new = NUM_PLAIN
        while self._heap:
            count, pair = heapq.heappop(self._heap)
            if self._pairs[pair] != -count:  # it was joined in part since it was counted
                if self._pairs[pair] > 1:
                    heapq.heappush(self._heap, (-self._pairs[pair], pair))
                continue
            if count > -2:
                return
            yield pair
            self._join(pair, new)
            new += 1

    def _join(self, pair: tuple[int, int], new: int) -> None:
        changed = set()
        for place in sorted(self._where.pop(pair)):
            self._count(place, -1)
            self._words[place] = joined(self._words[place], pair, new)
            self._count(place, 1)
            changed.update(one for one in pairwise(self._words[place]) if new in one)
        for one in sorted(changed):
            heapq.heappush(self._heap, (-self._pairs[one], one))

    def _count(self, place: int, sign: int) -> None:
        for pair in pairwise(self._words[place]):
            self._pairs[pair] += sign * self._counts[place]
            if sign > 0:
                self._where[pair].add(place)


def joined(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """The ids with each such pair, from the left, as one."""
    found: list[int] = []
    for one in ids:
        if found and (found[-1], one) == pair:
            found[-1] = new
        else:
            found.append(one)
    return found


class Pieces:
    """Texts as tokens under merges; each different word is cut once."""

    def __init__(self, merges: Merges):
        self._ranks = {pair: NUM_PLAIN + i for i, pair in enumerate(merges)}
        self._known: dict[str, list[int]] = {}

    def tokens(self, text: str, most: int) -> list[int]:
        """The first `most` tokens of a text."""
        words = islice(_WORD.finditer(text), most)
        ids = chain.from_iterable(self._word(found.group()) for found in words)
        return list(islice(ids, most))

    def _word(self, word: str) -> list[int]:
        found = self._known.get(word)
        if found is None:
            found = self._known[word] = self._cut(_plain(word))
        return found

    def _cut(self, ids: list[int]) -> list[int]:
        while len(ids) > 1:
            ranks = [(self._ranks[pair], pair) for pair in pairwise(ids) if pair in self._ranks]
            if not ranks:
                break
            new, pair = min(ranks)
            ids = joined(ids, pair, new)
        return ids


def cut(texts: Sequence[str], merges: Merges, *, length: int, nothing: int) -> np.ndarray:
    """Token ids, int32 (n, length), filled up with 0; a text without any is one `nothing`."""
    found = np.zeros((len(texts), length), dtype=np.int32)
    pieces = Pieces(merges)
    for row, text in enumerate(texts):
        ids = pieces.tokens(text, length) or [nothing]
        found[row, : len(ids)] = ids
    return found


def _plain(word: str) -> list[int]:
    return [FIRST_BYTE + byte for byte in word.encode("utf-8", "replace")]
