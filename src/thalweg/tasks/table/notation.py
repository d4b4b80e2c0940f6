"""How numbers are written in a column of text: decimal comma, thousands separators.

A column is read as numbers where every value agrees with one notation. "1,234" alone may be 1234 or
1.234: then the other columns of the table decide, or a rule that is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

_BLANKS = " \u00a0\u2009\u202f'\u2019"
"""Blanks of all widths, and apostrophes, between thousands."""

_SAMPLE = 1000
"""About so many values tell whether a column is worth a closer look."""


@dataclass(frozen=True, slots=True)
class Notation:
    """decimal: the sign before the fraction; groups: what may part thousands; example: 1234.5"""

    decimal: str
    groups: str
    example: str

    @property
    def pattern(self) -> str:
        """A regular expression of a whole value; thousands may be parted as in India, by commas."""
        whole = r"\d+"
        if self.groups == ",":
            whole += r"|[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}"
        elif self.groups:
            whole += rf"|[1-9]\d{{0,2}}(?:[{self.groups}]\d{{3}})+"
        point = re.escape(self.decimal)
        return rf"^[+-]?(?:(?:{whole})(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?$"

    def plain(self, series: pl.Series) -> pl.Series:
        """Texts of this notation as a computer writes them: 1234.5"""
        if self.groups:
            series = series.str.replace_all(f"[{re.escape(self.groups)}]", "")
        return series.str.replace(self.decimal, ".", literal=True)

    def among_texts(self, series: pl.Series) -> pl.Series:
        """The same, with all texts that are no numbers as they are."""
        return self.plain(series).zip_with(series.str.contains(self.pattern), series)


COMMA = Notation(",", "", "1234,5")
POINT_GROUPED_BY_COMMA = Notation(".", ",", "1,234.5")
COMMA_GROUPED_BY_POINT = Notation(",", ".", "1.234,5")
POINT_GROUPED_BY_BLANK = Notation(".", _BLANKS, "1 234.5")
COMMA_GROUPED_BY_BLANK = Notation(",", _BLANKS, "1 234,5")

NOTATIONS = (
    COMMA,
    POINT_GROUPED_BY_COMMA,
    COMMA_GROUPED_BY_POINT,
    POINT_GROUPED_BY_BLANK,
    COMMA_GROUPED_BY_BLANK,
)
"""Those that polars does not read by itself; of several that fit alike, the first is named."""

_NUMBER_LIKE = rf"^[+-]?[.,]?\d[\d.,{_BLANKS}]*(?:[eE][+-]?\d+)?$"
_ANY = "|".join(f"(?:{notation.pattern})" for notation in NOTATIONS)


@dataclass(frozen=True, slots=True)
class Reading:
    """fits: the notations that all numbers of a column agree with

    has_texts: are there values that are a number in no notation?
    is_mixed: are there numbers in several?
    """

    fits: tuple[Notation, ...] = ()
    has_texts: bool = False
    is_mixed: bool = False

    @property
    def is_open(self) -> bool:
        """Would another decimal sign give other values?"""
        return POINT_GROUPED_BY_COMMA in self.fits and len(self.fits) > 1

    @property
    def decimal(self) -> str | None:
        """The decimal sign that it proves; None where it proves none."""
        signs = {notation.decimal for notation in self.fits}
        return signs.pop() if len(signs) == 1 else None


def plainly(series: pl.Series) -> pl.Series:
    """A text column with its numbers written as a computer does, where they are most of it."""
    reading = reading_of(series)
    return reading.fits[0].among_texts(series) if reading.fits else series


def reading_of(series: pl.Series, *, is_mostly_numbers: bool = False) -> Reading:
    """How the numbers of a text column are written; nothing where they are plain, or few.

    is_mostly_numbers: that is known, and need not be so here
    """
    known = series.drop_nulls()
    sample = known.gather_every(max(1, len(known) // _SAMPLE))
    if not is_mostly_numbers and 2 * _is_number_like(sample).sum() <= len(sample):
        return Reading()
    distinct = known.unique()
    numbers = distinct.filter(_is_number_like(distinct))
    if not numbers.cast(pl.Float64, strict=False).null_count():  # all plain, or none at all
        return Reading()
    fits = tuple(notation for notation in NOTATIONS if _agree(numbers, notation.pattern))
    return Reading(
        fits,
        has_texts=len(numbers) < len(distinct),
        is_mixed=not fits and _agree(numbers, _ANY),
    )


def may_have_grouping_points(numbers: pl.Series) -> bool:
    """Could they have been written with points between thousands, 1.234 for 1234? Then they are
    whole thousandths; what `has_grouping_points` says of their texts is final.
    """
    thousandths = numbers.filter(numbers.is_finite()) * 1000
    return bool(((thousandths - thousandths.round()).abs() <= 1e-9 * thousandths.abs()).all())


def has_grouping_points(series: pl.Series) -> bool:
    """Could every point in a column of texts part thousands: 1.234, never 1.5?"""
    has_points = bool(series.str.contains(".", literal=True).any())
    return has_points and _agree(series.drop_nulls(), COMMA_GROUPED_BY_POINT.pattern)


def _is_number_like(series: pl.Series) -> pl.Series:
    return series.str.contains(_NUMBER_LIKE)


def _agree(series: pl.Series, pattern: str) -> bool:
    return bool(series.str.contains(pattern).all())
