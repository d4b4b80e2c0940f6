"""TOML with comments, for files that people read and edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w

MOST_LETTERS = 100


@dataclass(frozen=True, slots=True)
class Part:
    """One table of the file: its header, such as [[columns]], a comment on it, and its values."""

    header: str
    comment: str
    values: Mapping[str, Any]


def commented(head: str, values: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """The text of a file; plain values stand before the tables.

    Lists of tables within a part are written in one line each.
    """
    blocks = [_comment(head) + "\n" + tomli_w.dumps(values)]
    for part in parts:
        blocks.append(f"{_comment(part.comment)}\n{part.header}\n{_values(part.values)}")
    return "\n".join(blocks)


def _values(values: Mapping[str, Any]) -> str:
    """Keys with their values; a list that is short stands in one line."""
    return "".join(
        _list(name, value) if isinstance(value, list) else tomli_w.dumps({name: value})
        for name, value in values.items()
    )


def _list(name: str, values: Sequence[Any]) -> str:
    items = [_inline(value) for value in values]
    line = f"{name} = [{', '.join(items)}]\n"
    if len(line) <= MOST_LETTERS:
        return line
    rows = "".join(f"    {item},\n" for item in items)
    return f"{name} = [\n{rows}]\n"


def _inline(value: Any) -> str:
    """A value in one line; the keys of a table are plain words."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(row)}" for key, row in value.items()) + " }"
    return tomli_w.dumps({"_": value}).removeprefix("_ = ").strip()


def _comment(text: str) -> str:
    """Each line behind a mark; what is no plain character is spelled out."""
    safe = (line if line.isprintable() else ascii(line) for line in text.split("\n"))
    return "\n".join(f"# {line}" for line in safe)
