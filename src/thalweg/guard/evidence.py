"""Evidence against the weights, and the look that tells whether they or the data are to blame.

A skipped step leaves the weights as they are. So a calm loss right after it, at these very weights,
shows that the batch was to blame, and the outliers before it no longer count. Where none follows,
the weights are looked at: only steps whose loss is calm are applied. Do they become the rule, the
data were to blame; if not, a snapshot takes the place of the weights, and then an older one. Is the
loss no calmer with that one, the data have changed for good.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thalweg.guard.limits import as_stored, finite, from_stored
from thalweg.guard.policy import Policy


@dataclass(frozen=True, slots=True)
class Demand:
    """That something be done about the weights.

    since: the first step that speaks against them
    reason, numbers: why, in words and by name
    calm: at most so high is a loss that no longer does
    lr_factor: what would undo a jump of the learning rate that it is put down to; 1: it is not
    is_final: other weights will not help
    is_retry: the weights that took the place of these are no better
    """

    since: int
    reason: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    calm: float = math.inf
    lr_factor: float = 1.0
    is_final: bool = False
    is_retry: bool = False

    def to_tree(self) -> dict[str, Any]:
        """All of it, as strict JSON can hold it."""
        return {
            "since": self.since,
            "reason": self.reason,
            "numbers": dict(self.numbers),
            "calm": as_stored(self.calm),
            "lr_factor": self.lr_factor,
            "is_retry": self.is_retry,
        }

    @staticmethod
    def of(tree: Mapping[str, Any]) -> Demand:
        """What `to_tree` gave."""
        return Demand(
            int(tree["since"]),
            str(tree["reason"]),
            dict(tree["numbers"]),
            calm=from_stored(tree["calm"]),
            lr_factor=finite(tree["lr_factor"]),
            is_retry=bool(tree["is_retry"]),
        )


class Evidence:
    """Counts steps that were not finite, and losses above the limit with no calm one since."""

    def __init__(self, policy: Policy):
        self._policy = policy
        self.clear()

    def clear(self) -> None:
        """The weights are others now, or have been found good."""
        self._nonfinite: list[int] = []
        self._row = 0
        self._num_overflows = 0
        self._outliers: list[int] = []
        self._unrest: list[int] = []

    def overflow(self) -> bool:
        """fp16's loss scale was too high, and falls. Has this gone on for too long?"""
        self._num_overflows += 1
        return self._num_overflows >= self._policy.scaler_row

    def nonfinite(self, number: int) -> None:
        """The loss or the gradient of this step was not finite."""
        self._nonfinite = _within(self._nonfinite, number, self._policy.nonfinite_span)
        self._row += 1
        self.unrest(number)

    def outlier(self, number: int) -> None:
        """The loss of this step was above the limit."""
        self._outliers = _within(self._outliers, number, self._policy.outlier_span)
        self._row = self._num_overflows = 0
        self.unrest(number)

    def ordinary(self, *, is_calm: bool) -> None:
        """The loss of a step was not above the limit."""
        self._row = self._num_overflows = 0
        if is_calm:
            self._outliers = []

    def unrest(self, number: int) -> None:
        """An outlier of any kind: a snapshot to be trusted is older than a row of these."""
        policy, row = self._policy, self._unrest
        is_row = bool(row) and number - row[1] <= policy.outlier_span
        is_short = bool(row) and number - row[0] <= policy.nonfinite_span
        self._unrest = [row[0], number] if is_row and is_short else [number, number]

    def demand(self, calm: float) -> Demand | None:
        """What the counts ask for, if anything; calm: at most so high is a loss that is so."""
        policy, row = self._policy, self._row
        if row >= policy.nonfinite_row:
            return self._demand(f"{row} steps in a row were not finite", row, calm)
        count = len(self._nonfinite)
        if count >= policy.nonfinite_count:
            text = f"{count} of {policy.nonfinite_span} steps were not finite"
            return self._demand(text, count, calm)
        count = len(self._outliers)
        if count >= policy.outlier_count:
            text = f"{count} of {policy.outlier_span} losses were above the limit, none calm since"
            return self._demand(text, count, calm)
        return None

    def _demand(self, reason: str, count: int, calm: float) -> Demand:
        first = min([*self._nonfinite, *self._outliers, *self._unrest[:1]])
        return Demand(first, reason, {"count": count}, calm)

    def to_tree(self) -> dict[str, Any]:
        """All that it remembers, as strict JSON can hold it."""
        return {
            "nonfinite": list(self._nonfinite),
            "row": self._row,
            "overflows": self._num_overflows,
            "outliers": list(self._outliers),
            "unrest": list(self._unrest),
        }

    def take(self, tree: Mapping[str, Any]) -> None:
        """Remember what `to_tree` gave."""
        self._nonfinite = [int(n) for n in tree["nonfinite"]]
        self._outliers = [int(n) for n in tree["outliers"]]
        self._unrest = [int(n) for n in tree["unrest"]]
        self._row, self._num_overflows = int(tree["row"]), int(tree["overflows"])


def _within(numbers: Sequence[int], number: int, span: int) -> list[int]:
    """The step numbers of a span that ends with `number`."""
    return [*(n for n in numbers if n > number - span), number]


class Look:
    """A look at the weights: steps are applied only if their loss is calm, until most are.

    demand: what led to it
    is_restored: these weights are a snapshot's, since those before were not calm either
    losses: the newest ones, infinite where not finite; count: of all that were looked at
    num_calm: how many of all were calm; num_since: how many came after the last calm one
    """

    def __init__(self, policy: Policy, demand: Demand, *, is_restored: bool):
        self._policy = policy
        self.demand = demand
        self.is_restored = is_restored
        self.losses: deque[float] = deque(maxlen=policy.look)
        self.count = self.num_calm = self.num_since = 0

    def take(self, loss: float) -> bool:
        """Take in the loss of one more step: is it calm?"""
        is_calm = math.isfinite(loss) and loss <= self.demand.calm
        self.losses.append(loss if math.isfinite(loss) else math.inf)
        self.count += 1
        self.num_calm += is_calm
        self.num_since = 0 if is_calm else self.num_since + 1
        return is_calm

    @property
    def median(self) -> float:
        """Of the newest losses; infinite where most of them are not finite, or none was seen."""
        ordered = sorted(self.losses)
        return ordered[len(ordered) // 2] if ordered else math.inf

    @property
    def is_calm(self) -> bool:
        """Is the loss what it was before? Then the data were to blame."""
        is_full = len(self.losses) == self.losses.maxlen
        return is_full and self.median <= self.demand.calm and self.median < math.inf

    @property
    def is_held(self) -> bool:
        """Has no step of a row been calm that is longer than bursts of bad data are?"""
        return self.num_since >= self._policy.hold

    @property
    def is_over(self) -> bool:
        """Has it gone on for so long that it is not the data, or not the weights?"""
        policy = self._policy
        return self.count >= (policy.patience if self.is_restored else policy.hold)

    def to_tree(self) -> dict[str, Any]:
        """All that it remembers, as strict JSON can hold it."""
        return {
            "demand": self.demand.to_tree(),
            "is_restored": self.is_restored,
            "losses": [as_stored(loss) for loss in self.losses],
            "counts": [self.count, self.num_calm, self.num_since],
        }

    @staticmethod
    def of(policy: Policy, tree: Mapping[str, Any]) -> Look:
        """What `to_tree` gave."""
        demand = Demand.of(tree["demand"])
        look = Look(policy, demand, is_restored=bool(tree["is_restored"]))
        look.losses.extend(from_stored(loss) for loss in tree["losses"])
        look.count, look.num_calm, look.num_since = map(int, tree["counts"])
        return look
