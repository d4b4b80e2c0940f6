"""Files of settings as flat names: JSON, TOML, the plain part of YAML, and dumps of arguments."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

_PAIR = re.compile(r"""^(\s*)(-\s+)?["']?([\w.\-/]+)["']?\s*:(?:\s+(.*?))?\s*$""")
_ARGUMENT = re.compile(r"(\w+)\s*=\s*('[^']*'|\"[^\"]*\"|[^,()\s]+)")
_NAMESPACE = re.compile(r"\b(?:Namespace|\w*Config|\w*Args|\w*Arguments)\(([^\n]*)\)")
_DOTTED = re.compile(r"^\s*(?:\[\w+\]:?)?\s*(\w+) \.{3,} (\S.*?)\s*$")
_LINE = re.compile(
    r"^\s*(?:Overriding:\s*)?(?:--)?([A-Za-z_][\w\- .]{0,60}?)\s*[:=]\s*(\S[^=:]*?)\s*$"
)

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$")
_ITEM = "-"
MOST_LETTERS = 4_000
MOST_LINES = 2_000
"""Lines at the head of a log in which its arguments may stand."""


def read_settings(text: str, kind: str) -> dict[str, Any]:
    """A file's settings by name, parts with a point between; kind: its suffix.

    Raises ValueError for what is broken.
    """
    if kind == ".json":
        return dict(flat(json.loads(text)))
    if kind == ".toml":
        return dict(flat(tomllib.loads(text)))
    if kind in (".yaml", ".yml"):
        return read_yaml(text)
    return read_arguments(text)


def flat(values: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is none of names, with the names that lead to it."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from flat(value, f"{before}{name}.")
    elif before:
        yield before[:-1], values


def read_yaml(text: str) -> dict[str, Any]:
    """Names and plain values by indentation; what stands in lists of YAML, and its tags, do not
    count.

    >>> read_yaml("trainer:\\n  max_epochs: 3  # few\\nlr: 1e-3")
    {'trainer.max_epochs': 3, 'lr': 0.001}
    """
    found: dict[str, Any] = {}
    open_names: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = _PAIR.match(_COMMENT.sub("", line[:MOST_LETTERS]))
        if not match:
            continue
        while open_names and open_names[-1][0] >= len(match[1]):
            open_names.pop()
        path = [name for _, name in open_names]
        value = re.sub(r"^(?:!\S+|&\S+)\s*", "", match[4] or "")
        if value and not match[2] and _ITEM not in path:
            found[".".join([*path, match[3]])] = scalar(value)
        open_names.append((len(match[1]), _ITEM if match[2] else match[3]))
    return found


def read_arguments(text: str) -> dict[str, Any]:
    """Arguments as programs print them: Namespace(lr=0.1), "lr ...... 0.1", "lr: 0.1", "lr = 0.1".

    >>> read_arguments("Namespace(lr=0.1, optim='adam', clip=None)")
    {'lr': 0.1, 'optim': 'adam', 'clip': None}
    """
    found: dict[str, Any] = {}
    for line in (line for line in text.splitlines()[:MOST_LINES] if len(line) <= MOST_LETTERS):
        for call in _NAMESPACE.finditer(line):
            found |= {name: scalar(value) for name, value in _ARGUMENT.findall(call[1])}
        match = _DOTTED.match(line) or _LINE.match(line)
        if match:
            found.setdefault(match[1].strip(), scalar(match[2].rstrip(",")))
    return found


def scalar(text: str) -> Any:
    """A value as it is written: number, truth, None, else the text without quotes."""
    bare = text.strip()
    if bare[:1] in "\"'" and bare[-1:] == bare[:1]:
        return bare[1:-1]
    lower = bare.lower()
    if lower in ("true", "false"):
        return lower == "true"
    if lower in ("null", "none", "~", ""):
        return None
    for kind in (int, float):
        try:
            return kind(bare)
        except ValueError:
            continue
    return bare
