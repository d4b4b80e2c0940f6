"""Numbers with a sign of money or of percent, "$1,234.50" or "12.5 %", as the numbers they hold."""

from __future__ import annotations

import re

import polars as pl

SIGNS = ("$", "US$", "€", "£", "¥", "₹", "₩", "%", "USD", "EUR", "GBP", "JPY", "CHF", "SEK", "NOK")

LEAST_SHARE = 0.5
"""Of the values that are known; the others may be plain, or words."""

_SAMPLE = 1000
_SIGN = "|".join(map(re.escape, SIGNS))
_BLANK, _DIGITS = r"[ \u00a0\u202f]*", r"[.,]?\d[\d.,'\u2019 \u00a0\u2009\u202f]*"
_BEFORE = rf"^([+-]?){_BLANK}({_SIGN}){_BLANK}([+-]?{_DIGITS})$"
_AFTER = rf"^([+-]?{_DIGITS}?){_BLANK}({_SIGN})$"


def without_sign(series: pl.Series) -> tuple[pl.Series, str | None]:
    """A text column without the one sign that most of its values have, and that sign.

    Unchanged, and None, where there is none, or where there are several: 5 $ is not 5 €.
    """
    known = series.drop_nulls()
    sample = known.gather_every(max(1, len(known) // _SAMPLE))
    if len(sample) == 0 or _signs(sample).is_not_null().mean() < LEAST_SHARE:  # pyright: ignore[reportOperatorIssue]
        return series, None
    signs = _signs(series)
    found = signs.drop_nulls().unique().to_list()
    if len(found) != 1:
        return series, None
    bare = series.str.replace(_BEFORE, "$1$3").str.replace(_AFTER, "$1").str.strip_chars()
    return bare.zip_with(signs.is_not_null(), series), found[0]


def _signs(series: pl.Series) -> pl.Series:
    before = series.str.extract(_BEFORE, 2)
    return before.zip_with(before.is_not_null(), series.str.extract(_AFTER, 2))
