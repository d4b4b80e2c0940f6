"""The learning rate as the guard sees it: restarts, and jumps to where it never was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from thalweg.guard.limits import finite
from thalweg.guard.policy import Policy


class Jump(NamedTuple):
    """At step `number` the rate rose from `before` to `after`, far above `highest` until then."""

    number: int
    before: float
    after: float
    highest: float


class Rate:
    """Follows the rate from step to step.

    >>> rate = Rate(Policy(restart=3.0))
    >>> [rate.see(number, lr) for number, lr in enumerate((0.1, 0.01, 0.1, 10.0), start=1)]
    [False, False, True, False]
    >>> rate.blamed(5)
    Jump(number=4, before=0.1, after=10.0, highest=0.1)
    """

    def __init__(self, policy: Policy):
        self._policy = policy
        self.now = self._highest = 0.0
        self._jump: Jump | None = None

    @property
    def jumped_at(self) -> int | None:
        """The step of the last jump."""
        return None if self._jump is None else self._jump.number

    def see(self, number: int, lr: float) -> bool:
        """Take in a step's rate: is it a restart, a jump back to where it was before?"""
        is_jump = lr > self._policy.restart * self.now
        is_new = lr > self._highest
        far = self._policy.restart * self._highest
        if 0 < far < lr:
            if self._jump is not None and self.now > far:  # it did not come down in between
                self._jump = self._jump._replace(number=number)
            else:
                self._jump = Jump(number, self.now, lr, self._highest)
        self.now = lr
        self._highest = max(self._highest, lr)
        return is_jump and not is_new

    def accept(self) -> None:
        """The next step's rate is set on purpose: it is no jump."""
        self.now = self._highest = 0.0
        self._jump = None

    def blamed(self, since: int) -> Jump | None:
        """The jump that evidence from step `since` on is put down to; None: none, or undone."""
        jump, policy = self._jump, self._policy
        if jump is None or self.now <= policy.restart * jump.highest:
            return None
        return jump if 0 <= since - jump.number <= policy.jump_span else None

    def disown(self) -> None:
        """The steps since the last jump are undone: should it come again, it is one again."""
        if self._jump is not None:
            self._highest = self._jump.highest

    def to_tree(self) -> dict[str, Any]:
        """All that it remembers, as strict JSON can hold it."""
        jump = None if self._jump is None else list(self._jump)
        return {"now": self.now, "highest": self._highest, "jump": jump}

    def take(self, tree: Mapping[str, Any]) -> None:
        """Remember what `to_tree` gave."""
        self.now, self._highest = finite(tree["now"]), finite(tree["highest"])
        self._jump = None
        if tree["jump"] is not None:
            number, *rates = tree["jump"]
            self._jump = Jump(int(number), *map(finite, rates))
