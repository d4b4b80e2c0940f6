"""The generated pages of docs/findings and docs/glossary.md: from the table, its pages, the terms.

A picture of a real run stands in a page where docs/findings/pictures/CODE.svg exists; what it shows
is the picture's title. `python -m benchmarks.finding_pictures` draws them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from thalweg.draw.explained import SEVERITY
from thalweg.health.codes import CODES
from thalweg.health.pages import Page, Point, page_of
from thalweg.jobs.terms import THEMES, Term, key, terms

DOCS = Path(__file__).resolve().parent
FINDINGS, GLOSSARY = DOCS / "findings", DOCS / "glossary.md"
PICTURES = FINDINGS / "pictures"

GROUPS = {
    "TW0": "Numbers that break",
    "TW1": "The descent",
    "TW2": "The data",
    "TW3": "The model",
    "TW4": "Arithmetic and the machine",
}
"""Of findings, by how their codes begin."""

MADE = "<!-- written by docs/build.py -->"


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    found = {code: page_of(code) for code in CODES}
    return {
        **{FINDINGS / f"{code}.md": finding(page) for code, page in found.items()},
        FINDINGS / "README.md": index(found),
        GLOSSARY: glossary(),
    }


def stale() -> list[str]:
    """Files that are not as they should be, and pages of codes that there are no more."""
    made = pages()
    is_old = {
        path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text
    }
    return sorted(path.name for path in is_old | (set(FINDINGS.glob("*.md")) - made.keys()))


def finding(page: Page) -> str:
    """The page of one finding."""
    blocks = [
        f"# {page.row.code}: {page.row.name}",
        MADE,
        f"*{SEVERITY[page.row.severity].capitalize()}.* It needs: {page.needs}.",
        *_picture(page.row.code, page.row.name),
        "## What it looks like",
        page.looks,
        "## What causes it, the likeliest first",
        _points(page.causes, "How to tell: "),
        "## What to change",
        f"{page.remedy[0].upper()}{page.remedy[1:]}.",
        _points(page.remedies, "What to expect: "),
        *_spelled(page.spelled),
        "## How the check decides",
        page.sure,
        "## When it is wrong",
        page.wrong,
        f"Terms: {', '.join(_link(name, '../glossary.md', '') for name in page.terms)}."
        " [All findings](README.md)",
    ]
    return "\n\n".join(blocks) + "\n"


def _picture(code: str, name: str) -> Iterator[str]:
    path = PICTURES / f"{code}.svg"
    if path.exists():
        yield f"![{name}, as a real run shows it](pictures/{code}.svg)"
        title = ElementTree.parse(path).getroot().findtext("{http://www.w3.org/2000/svg}title")
        yield f"*A real run. {title}*"


def _points(points: tuple[Point, ...], then: str) -> str:
    return "\n".join(f"{i}. {row.what}  \n   {then}{row.then}" for i, row in enumerate(points, 1))


def _spelled(texts: Mapping[str, str]) -> Iterator[str]:
    """A table of the remedy in the words of the tools that have their own."""
    if texts:
        rows = [f"| {tool} | {_cell(text)} |" for tool, text in texts.items()]
        yield "\n".join(["| in the words of | |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def index(found: Mapping[str, Page]) -> str:
    """The table of all findings."""
    lines = [
        "# Findings",
        "",
        MADE,
        "",
        "What `thalweg diagnose` and the verdict of a run can say. `thalweg explain TW104` prints",
        "its page in the terminal. A finding of severity `act` makes a run unhealthy (exit code",
        "3).",
    ]
    for start, rows in groupby(found.values(), key=lambda page: page.row.code[:3]):
        lines += ["", f"## {GROUPS[start]}", "", "| code | name | severity | needs |"]
        lines += ["|---|---|---|---|", *map(_row, rows)]
    return "\n".join([*lines, "", "What the words mean: [glossary](../glossary.md)."]) + "\n"


def _row(page: Page) -> str:
    row = page.row
    return f"| [{row.code}]({row.code}.md) | {row.name} | {row.severity} | {page.needs} |"


def glossary() -> str:
    """The page of all terms, theme by theme."""
    blocks = [
        "# Glossary",
        MADE,
        "What the words mean that a command line or a report prints. `thalweg explain momentum` "
        "prints one in the terminal.",
        " · ".join(_link(name, "", "") for name in sorted((t.name for t in terms()), key=key)),
    ]
    for theme, rows in groupby(terms(), key=lambda term: term.theme):
        blocks += [f"## {THEMES[theme]}", *map(_term, rows)]
    return "\n\n".join(blocks) + "\n"


def _term(term: Term) -> str:
    parts = [f"### {term.name}"]
    if term.also:
        parts.append(f"Also: {', '.join(term.also)}.")
    parts.append(term.text)
    used = [f"- `thalweg fit {name}`: {_cell(text)}" for name, text in term.options.items()]
    used += [f"- `{text}`" for text in term.uses]
    if used:
        parts.append("\n".join(used))
    if term.see:
        parts.append(f"See {', '.join(_link(name, '', 'findings/') for name in term.see)}.")
    return "\n\n".join(parts)


def _link(name: str, page: str, folder: str) -> str:
    """A link to a term on a page, or to a finding in a folder."""
    if name in CODES:
        return f"[{name}]({folder}{name}.md)"
    return f"[{name}]({page}#{anchor(name)})"


def anchor(title: str) -> str:
    """What a heading is called in a link."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def write() -> None:
    """Write every page, and remove those of codes that there are no more."""
    made = pages()
    FINDINGS.mkdir(exist_ok=True)
    for path in set(FINDINGS.glob("*.md")) - made.keys():
        path.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
