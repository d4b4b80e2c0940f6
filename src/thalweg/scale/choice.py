"""What a start-up check chose, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """value: what is used; why: the reason in words, with the numbers that were measured."""

    value: int | str
    why: str

    def __str__(self) -> str:
        return f"{self.value} ({self.why})"
