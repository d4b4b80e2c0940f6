"""`module:function` of the user's own, found from the current folder."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import Parameter, signature
from types import ModuleType
from typing import Any

from thalweg.errors import UsageError


def is_callable_name(name: str) -> bool:
    """Is it spelled as `module:function` is?"""
    module, colon, function = name.partition(":")
    return bool(colon) and function.isidentifier() and all(map(str.isidentifier, module.split(".")))


def callable_named(name: str, what: str) -> Callable[..., Any]:
    """The function that `module:function` names; what: it is for, as "model".

    Raises UsageError where there is none, or its module cannot be imported.
    """
    place, _, wanted = name.partition(":")
    if place.endswith(".py"):
        raise UsageError(f"{what} {name!r}: write it without .py, {place[:-3]}:{wanted}")
    module = _module(place, f"{what} {name!r}")
    found = getattr(module, wanted, None)
    if callable(found):
        return found
    near = get_close_matches(wanted, [key for key in vars(module) if not key.startswith("_")], n=1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    held = "nothing" if found is None else f"{found!r:.40}, which is no function,"
    raise UsageError(f"{what} {name!r}: {place} holds {held} of that name{hint}")


def called(function: Callable[..., Any], known: Mapping[str, Any], what: str) -> Any:
    """What it returns for those of `known` that it takes. Raises UsageError where it fails."""
    arguments = {name: known[name] for name in taken(function, known)}
    with _current_folder():
        try:
            return function(**arguments)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{what} failed with {in_a_line(error)}") from error


def taken(function: Callable[..., Any], names: Mapping[str, Any] | list[str]) -> list[str]:
    """Those of the names that the function takes as arguments."""
    rows = signature(function).parameters
    takes_all = any(row.kind is Parameter.VAR_KEYWORD for row in rows.values())
    return [name for name in names if takes_all or name in rows]


def in_a_line(error: Exception) -> str:
    """An error of somebody else's code."""
    line = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _module(place: str, what: str) -> ModuleType:
    with _current_folder():
        importlib.invalidate_caches()  # a file written a moment ago is seen
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise UsageError(
                    f"{what}: {place} needs {error.name}, which is not there"
                ) from None
            file = f"{place.replace('.', os.sep)}.py"
            raise UsageError(
                f"{what}: there is no {file} in the current folder, and no such module is installed"
            ) from None
        except Exception as error:
            raise UsageError(f"{what}: importing {place} failed with {in_a_line(error)}") from error


@contextmanager
def _current_folder() -> Iterator[None]:
    """Modules are looked for in the current folder first."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
