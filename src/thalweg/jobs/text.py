"""Settings of texts: refused where they do not go together, and brought to a study."""

from __future__ import annotations

from typing import Any, Protocol

from thalweg.errors import UsageError

TABLE = ("target", "text", "columns", "drop", "types", "schema", "separator", "weights", "by")
JUDGING = (
    "metric",
    "class_weights",
    "quantiles",
    "label_smoothing",
    "loss",
    "split",
    "folds",
    "fold",
)
"""Settings that have no effect on a language model."""

COLUMNS = ("columns", "drop", "types", "schema")
"""Settings that have no effect where only texts are learnt from."""


class Wish(Protocol):
    """The settings that say what is learnt from."""

    @property
    def task(self) -> str: ...
    @property
    def text(self) -> Any: ...
    @property
    def context(self) -> int | None: ...


def is_language(wish: Wish) -> bool:
    """Is a plain text to be learnt, byte by byte?"""
    return wish.task == "lm"


def check_text(wish: Wish) -> None:
    """Raise UsageError for settings that have no effect on texts."""
    if is_language(wish):
        for name in (*TABLE, *JUDGING):
            if getattr(wish, name) is not None:
                raise UsageError(
                    f"{name.replace('_', '-')} has no effect with --task lm, which learns a plain "
                    "text byte by byte: leave it out"
                )
    elif wish.text is not None:
        for name in COLUMNS:
            if getattr(wish, name) is not None:
                raise UsageError(
                    f"{name} has no effect with --text {wish.text}: only the texts are learnt from"
                )
    elif wish.context is not None:
        raise UsageError(
            f"context is {wish.context}, which has no effect without --text COL or --task lm"
        )
