"""What settings ask of the split: refused where the wish itself is wrong, then handed to tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from thalweg.errors import UsageError
from thalweg.jobs import defaults
from thalweg.tasks.table.asked import Parting

SPLITS = ("random", "stratified", "time:COL", "group:COL")


class Wish(Protocol):
    """The settings that share out the rows."""

    @property
    def seed(self) -> int: ...
    @property
    def validation_share(self) -> float: ...
    @property
    def test_share(self) -> float: ...
    @property
    def validation(self) -> Any: ...
    @property
    def test(self) -> Any: ...
    @property
    def split(self) -> str | None: ...
    @property
    def folds(self) -> int | None: ...
    @property
    def fold(self) -> int | None: ...


def check_split(wish: Wish) -> None:
    """Raise UsageError for shares, a split or folds that cannot be."""
    _check_word(wish.split)
    _check_shares(wish)
    if wish.folds is not None:
        _check_folds(wish, wish.folds)
    elif wish.fold is not None:
        raise UsageError(f"fold is {wish.fold}, and there are no folds: give --folds as well")


def _check_word(text: str | None) -> None:
    if text is None:
        return
    kind, colon, column = text.partition(":")
    needs_column = kind in ("time", "group")
    if f"{kind}:COL" not in SPLITS and kind not in SPLITS:
        raise UsageError(f"split {text!r} is unknown: choose one of {', '.join(SPLITS)}")
    if needs_column and not column:
        raise UsageError(f"split {text!r} names no column: write {kind}:COL")
    if colon and not needs_column:
        raise UsageError(f"split {text!r}: {kind} takes no column")


def _check_shares(wish: Wish) -> None:
    """Raise UsageError for shares that leave nothing to train on, or have no effect."""
    shares = {"validation": wish.validation_share, "test": wish.test_share}
    if wish.folds is not None:
        shares["test"] = 1 / wish.folds
    for name, data in (("validation", wish.validation), ("test", wish.test)):
        if data is None:
            continue
        if shares[name] != defaults.SHARE and wish.folds is None:
            raise UsageError(
                f"{name}-share is {shares[name]:g} and {name} is given: leave out one of them"
            )
        shares[name] = 0.0
    if sum(shares.values()) >= 1:
        parts = " and ".join(f"{name} {share:g}" for name, share in shares.items())
        raise UsageError(f"the shares are {parts}: nothing is left to train on")


def _check_folds(wish: Wish, folds: int) -> None:
    """Raise UsageError for what does not go with folds."""
    if wish.validation is not None or wish.test is not None:
        raise UsageError(
            "folds share out the data's own rows to train, validate and test: leave out "
            "validation and test"
        )
    if wish.test_share != defaults.SHARE:
        raise UsageError(
            f"test-share has no effect with folds: each fold tests 1 of {folds} rows; leave it out"
        )
    if (wish.split or "").startswith("time"):
        raise UsageError(
            "folds do not go with a split by time: a fold would be trained on rows newer than "
            "those that test it; leave out one of them"
        )
    if wish.fold is not None and wish.fold > folds:
        raise UsageError(f"fold is {wish.fold}: it must lie in 1 .. {folds}")


def parting_of(wish: Wish) -> Parting:
    """How rows are to be shared out."""
    return Parting(
        seed=wish.seed,
        validation_share=wish.validation_share,
        test_share=wish.test_share,
        how=wish.split,
        folds=wish.folds,
        fold=wish.fold,
    )


def split_chosen(wish: Wish) -> dict[str, Any]:
    """The settings of the split that have an effect, as run.toml holds them."""
    has_test_share = wish.test is None and wish.folds is None
    return {
        "validation_share": wish.validation_share if wish.validation is None else None,
        "test_share": wish.test_share if has_test_share else None,
        **named_files(wish),
        "split": wish.split,
        "folds": wish.folds,
        "fold": wish.fold,
    }


def held_data(wish: Wish) -> dict[str, Any]:
    """What was given to validate and to test, by the setting's name."""
    given = {"validation": wish.validation, "test": wish.test}
    return {name: data for name, data in given.items() if data is not None}


def named_files(wish: Wish) -> dict[str, str]:
    """Those of them that are files."""
    return {
        name: str(data) for name, data in held_data(wish).items() if isinstance(data, str | Path)
    }
