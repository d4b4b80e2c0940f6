"""Escaped markup: elements, tables and what goes into the page besides them.

What a user may have written (names, messages, settings) enters through `tag`, which escapes it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

MAX_ROWS = 12
"""Tables longer than this are folded."""
MISSING = "\N{EN DASH}"


class Markup(str):
    """Text that is markup already; any other text is escaped where it enters the page."""


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """One element; children and attribute values are escaped, None attributes left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{shown}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    """Children one after the other, escaped unless they are markup."""
    return Markup("".join(c if isinstance(c, Markup) else escape(str(c)) for c in children))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], **attributes: object) -> Markup:
    """A table whose first column names its rows."""
    top = tag("tr", *(tag("th", text, scope="col") for text in head))
    body = [
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    inside = tag("table", tag("thead", top), tag("tbody", *body), **attributes)
    return tag("div", inside, class_="scroll", tabindex=0, role="region", aria_label=head[0])


def folded(summary: str, table: Markup, rows: int) -> Markup:
    """The table, behind a line that opens it if it is long."""
    if rows <= MAX_ROWS:
        return table
    return tag("details", tag("summary", summary), table)


def asset(path: str) -> str:
    """The text of a file that ships beside this one."""
    return resources.files("thalweg.draw").joinpath(path).read_text("utf-8")


def policy(*scripts: str) -> str:
    """The page's content security policy: nothing from outside, and only these scripts run."""
    sums = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in sums)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def json_text(value: object) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def plain(value: object) -> str:
    """A value of any kind as a reader wants it."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.6g}".replace("inf", "infinity")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(each) for each in value)
    return str(value)
