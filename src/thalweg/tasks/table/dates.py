"""Dates and times: recognised in texts, read by one format, and taken apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from thalweg.errors import DataError
from thalweg.tasks.table.values import first_known, first_lost

SURE = 0.95
"""A column is one of dates where at least this share of its texts is; the others are mistakes."""

NUM_TRIED = 200
"""Texts, spread over the column, that a format is tried on before it is on all."""

SECONDS, MILLISECONDS = "epoch seconds", "epoch milliseconds"
_MOST_SECONDS = 1e11

PARTS = {"year": 1, "month": 2, "weekday": 2, "hour": 2}
"""What a date is taken apart into, and how many inputs each makes: a circle has two."""

_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y")
_CLOCKS = ("%H:%M", "%H:%M:%S%.f", "%H:%M:%S%.f%#z")
_TIMES = ("", *(before + clock for before in " T" for clock in _CLOCKS))
_OF_A_DAY = ("%H:%M", "%H:%M:%S%.f")
FORMATS = (*(day + time for time in _TIMES for day in _DAYS), *_OF_A_DAY)
"""Tried in this order; of two that read as many, the first is taken, and that is said."""

_DAY = r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}"
_LOOKS = rf"^(({_DAY})([ T]\d{{1,2}}:\d{{2}}.*)?|\d{{1,2}}:\d{{2}}(:\d{{2}}(\.\d+)?)?)$"


@dataclass(frozen=True, slots=True)
class Format:
    """A format of dates; other: one that reads the texts just as well; share: read of them all."""

    text: str
    other: str | None
    share: float


def words(format: str) -> str:
    """A format as people write it: dd.mm.yyyy hh:mm."""
    pairs = ("%Y", "yyyy"), ("%m", "mm"), ("%d", "dd"), ("%H", "hh"), ("%M", "mm"), ("%S", "ss")
    for code, text in (*pairs, ("%.f", ""), ("%#z", "+hh:mm")):
        format = format.replace(code, text)
    return format


def is_date(series: pl.Series) -> bool:
    """Is a column one of dates, by its type or by its texts?"""
    return series.dtype in (pl.Date, pl.Datetime) or format_of(series) is not None


def format_of(series: pl.Series) -> Format | None:
    """The format of a column of texts that are dates, nearly all of them; None for others."""
    known = series.drop_nulls()
    if series.dtype != pl.String or len(known) == 0:
        return None
    tried = known.gather(np.linspace(0, len(known) - 1, min(NUM_TRIED, len(known))).astype(int))
    if tried.str.contains(_LOOKS).mean() < SURE:  # pyright: ignore[reportOperatorIssue]
        return None
    possible = [text for text in FORMATS if _share(tried, text) >= SURE / 2]
    shares = {text: _share(known, text) for text in possible}
    best = max(shares.values(), default=0.0)
    if best < SURE:
        return None
    first, *others = [text for text, share in shares.items() if share == best]
    return Format(first, others[0] if others else None, best)


def nearest_format(series: pl.Series) -> str:
    """The format that reads most of the first texts of a column, be they few."""
    known = first_known(series)
    return max(FORMATS, key=lambda text: _share(known, text)) if len(known) else FORMATS[0]


def instants(series: pl.Series, format: str, source: str) -> pl.Series:
    """The dates as UTC times in microseconds; missing where they are.

    Raises DataError with the first value that is no date.
    """
    found = parsed(series, format)
    row = first_lost(series, found)
    if row is None:
        return found
    shown = f"{words(format)}" if format else "dates"
    raise DataError(
        f"{source}, row {row + 1:,}: column {series.name!r} holds {series[row]!r}, which is no "
        f"date; the column is one of dates ({shown}): mend that row; or train with --drop "
        f"{series.name}, or --types {series.name}=category"
    )


def parsed(series: pl.Series, format: str) -> pl.Series:
    """Dates as times in microseconds; what is none is missing."""
    if series.dtype == pl.Date:
        return series.cast(pl.Datetime("us"))
    if isinstance(series.dtype, pl.Datetime):
        return _plain(series.dt.cast_time_unit("us"))
    if series.dtype.is_numeric() and format.startswith("epoch"):
        scale = 1e6 if format == SECONDS else 1e3
        micros = series.cast(pl.Float64) * scale
        micros = micros.set(~(micros.abs() < EARLIEST_TO_LATEST), None)
        return micros.cast(pl.Int64).cast(pl.Datetime("us"))
    if series.dtype != pl.String and not series.dtype.is_integer():
        return pl.Series(series.name, [None] * len(series), dtype=pl.Datetime("us"))
    texts = series.cast(pl.String)
    if not format:
        found = format_of(texts)
        format = found.text if found else FORMATS[0]
    return _parsed(texts, format)


EARLIEST_TO_LATEST = 2.5e17
"""Microseconds from 1970 to a year of four digits."""


def epoch(series: pl.Series) -> str:
    """Do numbers count seconds or milliseconds since 1970?"""
    largest = series.cast(pl.Float64).abs().max()
    return MILLISECONDS if largest is not None and float(largest) >= _MOST_SECONDS else SECONDS  # pyright: ignore[reportArgumentType]


def _share(texts: pl.Series, format: str) -> float:
    return 1 - _parsed(texts, format).null_count() / len(texts)


def _parsed(texts: pl.Series, format: str) -> pl.Series:
    if format in _OF_A_DAY:  # of the same day all
        texts, format = "1970-01-01 " + texts, f"%Y-%m-%d {format}"
    if "%H" not in format:
        return texts.str.to_date(format, strict=False).cast(pl.Datetime("us"))
    found = texts.str.to_datetime(format, time_unit="us", strict=False)
    return _plain(found)


def _plain(times: pl.Series) -> pl.Series:
    """Times of a zone as those of UTC, without one."""
    zone = getattr(times.dtype, "time_zone", None)
    if zone is None:
        return times
    return times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def parts(times: pl.Series) -> dict[str, np.ndarray]:
    """Year, month, weekday and hour of times, float64; missing is NaN."""
    minutes = times.dt.hour().cast(pl.Float64) + times.dt.minute().cast(pl.Float64) / 60
    found = {
        "year": times.dt.year(),
        "month": times.dt.month(),
        "weekday": times.dt.weekday(),
        "hour": minutes,
    }
    return {name: part.cast(pl.Float64).to_numpy() for name, part in found.items()}


CIRCLES = {"month": (1.0, 12.0), "weekday": (1.0, 7.0), "hour": (0.0, 24.0)}
"""Where a circle begins, and after how many units it is closed."""


def circle(name: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of a part, so that December is as near to January as to November."""
    start, length = CIRCLES[name]
    angles = 2 * np.pi * (values - start) / length
    return np.sin(angles), np.cos(angles)
