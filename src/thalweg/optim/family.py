"""One optimizer class over several rules: which of them a group runs, its settings decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from thalweg.rules import RULES, Hyper
from thalweg.rules.matrix import AnyRule


@dataclass(frozen=True, slots=True)
class Family:
    """Rules that share a class, such as SGD's three.

    choose: from a group's settings to the name of its rule; raises UsageError for settings that do
    not go together
    rules: the names that it may give; switches: settings that are no numbers, with their values
    table: where the names stand, if not in RULES; more: numbers that are no rule's
    """

    choose: Callable[[Mapping[str, Any]], str]
    rules: tuple[str, ...]
    switches: Mapping[str, tuple[Any, ...]] = field(hash=False)
    table: Mapping[str, AnyRule] | None = field(default=None, hash=False)
    more: tuple[Hyper, ...] = ()

    def __call__(self, settings: Mapping[str, Any]) -> AnyRule:
        return (self.table or RULES)[self.choose(settings)]

    def hypers(self) -> Iterator[Hyper]:
        """Every hyperparameter of every rule, and what the class has besides."""
        for name in self.rules:
            yield from (self.table or RULES)[name].hypers
        yield from self.more


@dataclass(frozen=True, slots=True)
class Single:
    """One rule, whatever the settings."""

    rule: AnyRule
    switches: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def __call__(self, settings: Mapping[str, Any]) -> AnyRule:
        return self.rule

    def hypers(self) -> Iterator[Hyper]:
        """Every hyperparameter of the rule."""
        yield from self.rule.hypers


def completed(family: Family | Single, given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of the rules. Raises TypeError for one that they do not have."""
    known: dict[str, Any] = {}
    for row in family.hypers():
        if row.index is None:
            known[row.setting] = row.default
        elif len(known.get(row.setting, ())) <= row.index:
            known[row.setting] = (*known.get(row.setting, ()), row.default)
    for name in given:
        if name not in known and name not in family.switches:
            raise TypeError(
                f"got an unexpected keyword argument {name!r}: there are "
                f"{', '.join([*known, *family.switches])}"
            )
    return {**known, **given}
