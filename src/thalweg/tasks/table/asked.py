"""What is asked of a table besides the table itself; the names are those of the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """target: the column to predict; task: auto, classification or regression

    share: of the rows that validate, and again of those that test
    embeds: can the model learn vectors for the levels of a category?
    """

    target: str
    task: str = "auto"
    seed: int = 0
    share: float = 0.1
    embeds: bool = False
