"""explain: the page of a finding, or what a word means; needs neither torch nor NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from thalweg.draw.explained import as_text
from thalweg.errors import UsageError
from thalweg.health.codes import CODES, Code
from thalweg.health.pages import Page, page_of
from thalweg.jobs.terms import THEMES, Term, key, terms

__all__ = ["as_text", "explain"]


def explain(asked: str) -> dict[str, Any]:
    """The object of `explain --json`: of a code, of a word, or of all there is where none is asked.

    A word that is both a term and a finding gives the term, which names the finding's code.
    Raises UsageError for what is neither.

    >>> [term["name"] for term in explain("--lr")["terms"]]
    ['learning rate']
    """
    wanted = key(asked)
    found: dict[str, Any] = {"schema": 1, "command": "explain", "asked": asked if wanted else None}
    if not wanted:
        return {**found, "findings": [*map(_row, CODES.values())], "terms": [*map(_short, terms())]}
    if wanted.upper() in CODES:
        return {**found, "findings": [_page(page_of(wanted.upper()))], "terms": []}
    known = [_long(term) for term in terms() if wanted in map(key, term.spellings)]
    if known:
        return {**found, "findings": [], "terms": known}
    rows = [row for row in CODES.values() if wanted in (key(row.name), key(row.key))]
    if rows:
        return {**found, "findings": [_page(page_of(row.code)) for row in rows], "terms": []}
    raise UsageError(_unknown(asked, wanted))


def _unknown(asked: str, wanted: str) -> str:
    near = get_close_matches(wanted, dict.fromkeys(_words()), n=2)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{asked!r} is no code and no term: {hint}thalweg explain lists them all"


def _words() -> Iterator[str]:
    """Every word that has an answer, as it is looked up."""
    for term in terms():
        yield from map(key, term.spellings)
    for row in CODES.values():
        yield from (row.code.lower(), key(row.name))


def _row(row: Code) -> dict[str, Any]:
    return {"code": row.code, "name": row.name, "severity": row.severity}


def _page(page: Page) -> dict[str, Any]:
    return {
        **_row(page.row),
        "needs": page.needs,
        "looks": page.looks,
        "causes": [asdict(point) for point in page.causes],
        "remedy": page.remedy,
        "spelled": page.spelled,
        "remedies": [asdict(point) for point in page.remedies],
        "sure": page.sure,
        "wrong": page.wrong,
        "terms": list(page.terms),
        "page": f"docs/findings/{page.row.code}.md",
    }


def _short(term: Term) -> dict[str, Any]:
    return {"name": term.name, "theme": THEMES[term.theme]}


def _long(term: Term) -> dict[str, Any]:
    return {
        **_short(term),
        "also": list(term.also),
        "text": term.text,
        "options": term.options,
        "used": list(term.uses),
        "see": list(term.see),
    }
