"""How the texts of a table become tokens: found once, from the training texts, saved with the run.

Hashed features are for a bag, which counts; pieces are for what reads in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from thalweg.errors import DataError
from thalweg.tasks.models.inputs import Tokens
from thalweg.tasks.text import hashed, pieces

BUCKETS = 1 << 17
NUM_PIECES = 4096

MOST_FEATURES, MOST_PIECES = 1024, 256
"""A text is cut after so many tokens, by its kind."""

MOST_VALUES, LEAST = 1 << 29, 64
"""Tokens of all texts above which each is cut earlier, but not below LEAST."""

_NUL, _BAD = "\x00", "\ufffd"


@dataclass(frozen=True, slots=True)
class Words:
    """columns: of texts, joined to one; kind: hashed or pieces

    length: tokens after which a text is cut; num_tokens: that there are
    merges: of pieces, in order
    """

    columns: tuple[str, ...]
    kind: str
    length: int
    num_tokens: int
    merges: pieces.Merges = ()

    @property
    def tokens(self) -> Tokens:
        """What a model is to read."""
        return Tokens(num_tokens=self.num_tokens)

    @property
    def use(self) -> str:
        """How a text enters the model, in words."""
        if self.kind == "hashed":
            return (
                "words, pairs of words and pieces of words, hashed into "
                f"{self.num_tokens:,} buckets; {self.length:,} of a text at most"
            )
        return f"{self.num_tokens:,} pieces of words, in order; the first {self.length:,} of a text"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids, int32 (n, length), 0 where a text has no more."""
        if self.kind == "hashed":
            return hashed.hashed(texts, num_buckets=self.num_tokens, length=self.length)
        return pieces.cut(texts, self.merges, length=self.length, nothing=hashed.NOTHING)

    def inputs(self, frame: pl.DataFrame, source: str) -> np.ndarray:
        """The texts of a table as tokens. Raises DataError for columns that hold none."""
        return self.encode(texts_of(frame, self.columns, source))

    def to_dict(self) -> dict[str, Any]:
        """As plain values that TOML can hold; a merge is one after the other, as "a b"."""
        found = {
            "columns": list(self.columns),
            "kind": self.kind,
            "length": self.length,
            "num_tokens": self.num_tokens,
        }
        merges = ",".join(f"{one} {other}" for one, other in self.merges)
        return {**found, "merges": merges} if merges else found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Words:
        pairs = [pair.split() for pair in values.get("merges", "").split(",") if pair]
        merges = tuple((int(one), int(other)) for one, other in pairs)
        return cls(**{**values, "columns": tuple(values["columns"]), "merges": merges})


def learn_words(
    texts: Sequence[str], columns: tuple[str, ...], *, is_bag: bool, most: int | None, rows: int
) -> Words:
    """From the training texts; `trimmed` makes them no longer than these are.

    most: tokens after which a text is cut, asked for; None: by default; rows: texts in all
    """
    by_default = MOST_FEATURES if is_bag else MOST_PIECES
    most = most or min(by_default, max(LEAST, MOST_VALUES // max(1, rows)))
    if is_bag:
        return Words(columns, "hashed", most, BUCKETS)
    merges = pieces.learnt(texts, NUM_PIECES)
    return Words(columns, "pieces", most, pieces.NUM_PLAIN + len(merges), merges)


def trimmed(words: Words, inputs: np.ndarray, rows: np.ndarray) -> tuple[Words, np.ndarray]:
    """What encodes texts, and texts that it encoded, cut to the longest one of these rows."""
    lengths = (inputs != hashed.FILLER).sum(axis=1)
    longest = int(lengths[rows].max())
    return replace(words, length=longest), np.ascontiguousarray(inputs[:, :longest])


def are_texts(data: Any) -> bool:
    """Is it a list of texts, or a column of them, rather than a table?"""
    if hasattr(data, "to_list") and not hasattr(data, "columns"):
        return True
    values = data.tolist() if isinstance(data, np.ndarray) and data.ndim == 1 else data
    return isinstance(values, list | tuple) and all(map(_is_text, values))


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def frame_of_texts(data: Any, words: Words) -> pl.DataFrame:
    """A list of texts as a table. Raises DataError where a text is of several columns."""
    name, *more = words.columns
    if more:
        names = ", ".join(map(repr, words.columns))
        raise DataError(f"a text of this run is of several columns, {names}: give a frame of them")
    values = data if isinstance(data, list | tuple) else data.to_list()
    return pl.DataFrame({name: pl.Series(values=list(values), dtype=pl.String)})


def texts_of(frame: pl.DataFrame, columns: Sequence[str], source: str) -> list[str]:
    """A text for each row, of several columns joined by line ends; a missing one is empty.

    NULs are read as the sign of a character that cannot be read.
    Raises DataError for columns that are missing, or hold what is no text.
    """
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise DataError(f"{source} lacks the text column {absent[0]!r}")
    found = pl.DataFrame([_texts(frame.get_column(name), source) for name in columns])
    joined = found.select(pl.concat_str(pl.all(), separator="\n")).to_series()
    return joined.str.replace_all(_NUL, _BAD, literal=True).to_list()


def _texts(series: pl.Series, source: str) -> pl.Series:
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        raise DataError(f"{source}: column {series.name!r} holds {series.dtype}, which is no text")
    return series.cast(pl.String).fill_null("")


def text_notices(texts: Sequence[str]) -> list[str]:
    """A line each on texts that hold nothing, and on characters that could not be read."""
    empty = [row for row, text in enumerate(texts, 1) if not text.strip()]
    bad = [row for row, text in enumerate(texts, 1) if _BAD in text]
    lines = []
    if empty:
        lines.append(
            f"{_texts_are(len(empty), 'holds', 'hold')} nothing (first: row {empty[0]:,}): "
            "an empty text is a token of its own"
        )
    if bad:
        lines.append(
            f"{_texts_are(len(bad), 'holds', 'hold')} characters that cannot be read, NULs or "
            f"bytes that are no UTF-8 (first: row {bad[0]:,}): read as {_BAD!r}"
        )
    return lines


def _texts_are(count: int, one: str, many: str) -> str:
    return f"1 text {one}" if count == 1 else f"{count:,} texts {many}"
