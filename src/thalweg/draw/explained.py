"""What `thalweg explain` prints: a finding's page, a term, or the list of both, as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Any

WIDTH = 88

SEVERITY = {"act": "act: the run is not healthy", "warn": "warn: worth a look"}


def as_text(found: Mapping[str, Any]) -> str:
    """The whole answer."""
    if found["asked"] is None:
        return "\n".join(_list(found))
    parts = [*map(_page, found["findings"]), *map(_term, found["terms"])]
    return "\n\n".join("\n".join(lines) for lines in parts)


def _list(found: Mapping[str, Any]) -> Iterator[str]:
    yield "findings: thalweg explain TW104"
    yield from _columns([f"{row['code']} {row['name']}" for row in found["findings"]])
    for theme, rows in groupby(found["terms"], key=lambda row: row["theme"]):
        yield ""
        yield f"{theme[0].lower()}{theme[1:]}: thalweg explain WORD"
        yield from _columns([row["name"] for row in rows])


def _columns(texts: Sequence[str]) -> Iterator[str]:
    """Texts side by side, as many as fit, read from the top down."""
    width = max(map(len, texts), default=0) + 2
    num_columns = max(1, (WIDTH - 2) // width)
    height = -(-len(texts) // num_columns)
    for i in range(height):
        yield "  " + "".join(f"{text:<{width}}" for text in texts[i::height]).rstrip()


def _page(page: Mapping[str, Any]) -> Iterator[str]:
    yield f"{page['code']} {page['name']} ({SEVERITY[page['severity']]})"
    yield from _part("What it looks like", page["looks"])
    yield from ("", "What causes it, the likeliest first, and how to tell")
    yield from _points(page["causes"])
    yield from _part("What to change", page["remedy"])
    yield from _points(page["remedies"])
    yield from _part("How the check decides", page["sure"])
    yield from _folded(f"It needs: {page['needs']}.", "  ")
    yield from _part("When it is wrong", page["wrong"])
    yield ""
    yield from _folded(f"Terms: {', '.join(page['terms'])} (thalweg explain WORD)", "")
    yield f"Page, with the picture of a real run: {page['page']}"


def _part(title: str, text: str) -> Iterator[str]:
    yield from ("", title)
    yield from _folded(f"{text[0].upper()}{text[1:]}", "  ")


def _points(points: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for i, point in enumerate(points, 1):
        yield from _folded(f"{i}. {point['what']}", "  ", "     ")
        yield from _folded(point["then"], "     ")


def _term(term: Mapping[str, Any]) -> Iterator[str]:
    also = f" (also {', '.join(term['also'])})" if term["also"] else ""
    yield from _folded(f"{term['name']}{also}", "")
    yield from _folded(term["text"], "  ")
    for option, text in term["options"].items():
        yield from _folded(f"thalweg fit {option}: {text}", "  ", "    ")
    if term["used"]:
        yield from _folded(f"Used in: {', '.join(term['used'])}", "  ", "    ")
    if term["see"]:
        yield from _folded(f"See: {', '.join(term['see'])}", "  ", "    ")


def _folded(text: str, indent: str, later: str | None = None) -> list[str]:
    """Lines of a text, without the marks of code."""
    more = indent if later is None else later
    return wrap(text.replace("`", ""), WIDTH, initial_indent=indent, subsequent_indent=more)
