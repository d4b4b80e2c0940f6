"""A model of the user's own: an nn.Module as it is, or `module:function` that makes one."""

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

from torch import nn

from thalweg.errors import UsageError


def is_own(name: str) -> bool:
    """Is it spelled as `module:function` is?"""
    module, colon, function = name.partition(":")
    return bool(colon) and function.isidentifier() and all(map(str.isidentifier, module.split(".")))


def made(name: str, known: Mapping[str, Any]) -> nn.Module:
    """What the function `module:function` returns, found from the current folder.

    known: what it is called with, as far as it takes arguments of these names
    Raises UsageError where it is not there, fails, or returns something else.
    """
    function = function_of(name)
    try:
        model = function(**_taken(function, known))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"model {name!r} failed with {_said(error)}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {name!r} returned {model!r:.80}: it must return an nn.Module")
    return check_module(model, what=f"model {name!r}")


def function_of(name: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises UsageError where there is none."""
    place, _, wanted = name.partition(":")
    module = _module(name, place)
    function = getattr(module, wanted, None)
    if callable(function):
        return function
    near = get_close_matches(wanted, [key for key in vars(module) if not key.startswith("_")], n=1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    found = "no function" if function is None else f"{function!r:.40}, no function,"
    raise UsageError(f"model {name!r}: {place} holds {found} of that name{hint}")


def check_module(model: Any, *, what: str = "model") -> nn.Module:
    """A model of the user's own. Raises UsageError for what is no nn.Module, or trains nothing."""
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"{what} is {model!r:.80}: give an nn.Module such as nn.Linear(4, 3), or a name"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError(
            f"{what} has no parameter to train: none at all, or requires_grad is False"
        )
    return model


def _module(name: str, place: str) -> ModuleType:
    with _current_folder():
        importlib.invalidate_caches()  # a file written a moment ago is seen
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name not in (place, place.partition(".")[0]):
                raise UsageError(
                    f"model {name!r}: {place} needs {error.name}, which is not installed"
                ) from None
            raise UsageError(
                f"model {name!r}: there is no {place.replace('.', os.sep)}.py in the current folder, "
                "and no such module is installed"
            ) from None
        except Exception as error:
            raise UsageError(
                f"model {name!r}: importing {place} failed with {_said(error)}"
            ) from error


@contextmanager
def _current_folder() -> Iterator[None]:
    """Modules are looked for in the current folder first."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _taken(function: Callable[..., Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `known` that the function takes by name."""
    rows = signature(function).parameters.values()
    if any(row.kind is Parameter.VAR_KEYWORD for row in rows):
        return dict(known)
    return {row.name: known[row.name] for row in rows if row.name in known}


def takes(name: str, argument: str) -> bool:
    """Does the function `module:function` take an argument of this name?"""
    return argument in _taken(function_of(name), {argument: None})


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
