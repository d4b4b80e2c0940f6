"""What is asked of a run that goes on: nothing, more steps, or a child with other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thalweg.errors import UsageError
from thalweg.jobs.longer import BUDGETS, FIXED, Longer
from thalweg.jobs.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """longer: by how much; from_step: where a child starts; settings: what it changes; its name."""

    longer: Longer | None = None
    from_step: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    @classmethod
    def of(
        cls,
        *,
        epochs: Any = None,
        steps: Any = None,
        from_step: Any = None,
        set: Mapping[str, Any] | Sequence[str] | None = None,
        name: str | None = None,
    ) -> Wish:
        """From what was given; `set` by name, or as texts. Raises UsageError for what is wrong."""
        settings = set if isinstance(set, Mapping) else _read(set or ())
        wish = cls(
            longer=Longer.of(epochs, steps),
            from_step=_step(from_step),
            settings=settings,
            name=name,
        )
        if name is not None and not wish.is_child:
            raise UsageError(
                f"name is {name!r}, which names a child, and none is asked for: a run goes on in "
                "its own folder unless --from-step or --set is given"
            )
        return wish

    @property
    def is_child(self) -> bool:
        """Does a new run begin from this one?"""
        return self.from_step is not None or bool(self.settings)

    @property
    def is_plain(self) -> bool:
        """Does the run go on as it was?"""
        return self.longer is None and not self.is_child


def _step(given: Any) -> int | None:
    if given is None or (type(given) is int and given >= 1):
        return given
    raise UsageError(f"from-step is {given!r}: it must be a step's number, 1 or more")


def _read(texts: Sequence[str]) -> dict[str, Any]:
    """{"lr": 1e-4} of ["lr=1e-4"]."""
    found: dict[str, Any] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        name, equals, value = str(text).partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals or not name:
            raise UsageError(f"set: {text!r} is not NAME=VALUE, such as lr=1e-4")
        if name in found:
            raise UsageError(f"set: {name} was given twice")
        if name in BUDGETS and value.strip().startswith("+"):
            raise UsageError(
                f"set: {text!r} could mean two things: --{name} {value.strip()} trains so "
                f"many longer, {name}={value.strip().lstrip('+')} is the whole budget"
            )
        found[name] = value if name in FIXED else Settings.read(name, value.strip())
    return found
