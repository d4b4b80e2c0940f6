"""An optimizer's state as torch has it, which says so when somebody else changes an entry.

The tables of a backend hold the addresses of the state's tensors. Who puts another tensor into
`optimizer.state[p]`, or takes one away, makes the tables be built anew before the next step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from torch import Tensor


class Entries(dict):
    """One parameter's state."""

    def __init__(self, entries: Any, changed: Callable[[], None]):
        super().__init__(entries)
        self._changed = changed

    def __setitem__(self, name: Any, value: Any) -> None:
        self._changed()
        super().__setitem__(name, value)

    def __delitem__(self, name: Any) -> None:
        self._changed()
        super().__delitem__(name)

    def clear(self) -> None:
        self._changed()
        super().clear()

    def pop(self, *given: Any) -> Any:
        self._changed()
        return super().pop(*given)

    def update(self, *given: Any, **more: Any) -> None:
        self._changed()
        super().update(*given, **more)

    def setdefault(self, *given: Any) -> Any:
        self._changed()
        return super().setdefault(*given)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class State(defaultdict):
    """The states of all parameters: a missing one is empty, as torch has it."""

    def __init__(self, given: Any, changed: Callable[[], None]):
        super().__init__(dict)
        self._changed = changed
        for key, value in given.items():
            self[key] = value

    def __missing__(self, key: Any) -> Any:
        self[key] = {}
        return self[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._changed()
        is_plain = isinstance(value, dict)
        super().__setitem__(key, Entries(value, self._changed) if is_plain else value)

    def __delitem__(self, key: Any) -> None:
        self._changed()
        super().__delitem__(key)

    def clear(self) -> None:
        self._changed()
        super().clear()

    def pop(self, *given: Any) -> Any:
        self._changed()
        return super().pop(*given)

    def plain(self) -> defaultdict[Any, Any]:
        """The same as torch's own kind of dict."""
        entries = {k: dict(v) if isinstance(v, dict) else v for k, v in self.items()}
        return defaultdict(dict, entries)

    def __reduce__(self) -> tuple[Any, ...]:
        return defaultdict, (dict, dict(self.plain()))


def unshared(entries: Any) -> Any:
    """A parameter's state whose numbers (views of one flat tensor) have memory of their own."""
    if not isinstance(entries, dict):
        return entries
    return {
        name: value.clone() if isinstance(value, Tensor) and value.ndim == 0 else value
        for name, value in entries.items()
    }
