"""Clips and options as plain values, so that a state dict holds nothing that needs unpickling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from thalweg.errors import RunError
from thalweg.rules.clips import CLIPS
from thalweg.rules.options import OPTIONS

_KINDS: dict[str, type] = {**OPTIONS, **{kind.__name__: kind for kind in CLIPS}}


def encoded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A group's settings with clip and options as {"EMA": {"decay": 0.999}}."""
    plain = dict(settings)
    if isinstance(plain.get("clip"), CLIPS):
        plain["clip"] = _written(plain["clip"])
    plain["options"] = [_written(option) for option in plain.get("options", ())]
    return plain


def decoded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `encoded` has written, as objects again; other settings as they are."""
    objects: dict[str, Any] = {}
    if isinstance(settings.get("clip"), dict):
        objects["clip"] = _read(settings["clip"])
    if isinstance(settings.get("options"), list | tuple):
        objects["options"] = tuple(
            _read(option) if isinstance(option, dict) else option for option in settings["options"]
        )
    return objects


def _written(value: Any) -> dict[str, Any]:
    return {type(value).__name__: asdict(value)}


def _read(plain: dict[str, Any]) -> Any:
    name, given = next(iter(plain.items()), (None, {}))
    if len(plain) != 1 or name not in _KINDS:
        raise RunError(f"a state dict names the option {name!r}: there are {', '.join(_KINDS)}")
    kind = _KINDS[name]
    if not isinstance(given, dict) or given.keys() != {row.name for row in fields(kind)}:
        raise RunError(f"a state dict gives {name} the fields {given!r}, which it does not have")
    return kind(**given)
