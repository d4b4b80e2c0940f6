"""Lists of column names in one text, as a command line gives them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from thalweg.errors import UsageError


def names_of(text: str) -> tuple[str, ...]:
    """("a", "b, c") of 'a,"b, c"': a name with a comma in it stands in quotes."""
    row = next(csv.reader([text], skipinitialspace=True), [])
    return tuple(name.strip() for name in row if name.strip())


def joined(names: Iterable[str]) -> str:
    """One text of names, which `names_of` reads again."""
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow(list(names))
    return file.getvalue()


def text_of(given: object, setting: str) -> str:
    """A list or a mapping of names, or their text, as one text. Raises UsageError for others."""
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping):
        given = [f"{name}={value}" for name, value in given.items()]
    if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        return joined(given)
    raise UsageError(f"{setting} is {given!r}: it must be names of columns, such as a,b,c")


def pairs_of(text: str, setting: str) -> dict[str, str]:
    """{"a": "x"} of "a=x". Raises UsageError for a part that is no pair, or a name twice."""
    found = {}
    for part in names_of(text):
        name, equals, value = part.rpartition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{setting}: {part!r} is not COLUMN=KIND, such as size=number")
        if name.strip() in found:
            raise UsageError(f"{setting}: {name.strip()!r} stands there twice: leave out one")
        found[name.strip()] = value.strip()
    return found
