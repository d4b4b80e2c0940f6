"""What files and docstrings say, taken apart for the pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import FunctionType
from typing import Any


def sentence(build: type) -> str:
    """The first line of a class's docstring."""
    return (inspect.getdoc(build) or "").splitlines()[0]


def source(kind: type) -> str:
    """The paper that a docstring names."""
    return " ".join((inspect.getdoc(kind) or "").partition("Source: ")[2].split()).removesuffix(".")


def entries(text: str) -> dict[str, str]:
    """Of a docstring, what stands behind `name: ...` or `name, name: ...`, by name."""
    found: dict[str, str] = {}
    names: list[str] = []
    entry = r"(?:[a-z]\w*, )*[a-z]\w*: "
    for line in re.sub(rf"; (?={entry})", "\n", text).splitlines():
        starts = re.match(rf"({entry.removesuffix(': ')}): (.*)", line)
        if starts:
            names = starts[1].split(", ")
        elif not line or line.startswith(("Raises", "Source", "Arguments", ">>>")):
            names = []
        for name in names:
            found[name] = starts[2] if starts else f"{found[name]} {line}"
    return found


def legend(function: Callable[..., Any]) -> dict[str, str]:
    """The symbols at the head of a rule's file, and what they mean."""
    module = inspect.getmodule(function)
    paragraphs = (inspect.getdoc(module) or "").split("\n\n")
    listed = next((text for text in paragraphs if " · " in text.replace("\n", " ")), "")
    items = (item.split(" ", 1) for item in listed.replace("\n", " ").split(" · "))
    return {item[0]: item[1].removesuffix(".") for item in items if len(item) == 2}


def sources(function: Callable[..., Any], seen: set[str] | None = None) -> list[str]:
    """The lines of a function, and of those of its own file that it calls."""
    seen = set() if seen is None else seen
    seen.add(function.__name__)
    assert isinstance(function, FunctionType)
    texts = [inspect.getsource(function).rstrip()]
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        is_own = isinstance(called, FunctionType) and called.__module__ == function.__module__
        if is_own and name not in seen:
            texts += sources(called, seen)
    return texts


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"
