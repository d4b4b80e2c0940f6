"""The ladder: blocks of drained steps in, an action out: skip, clip, roll back, back off, stop.

Single steps are skipped or clipped by the limits, in the update; here is decided what happens to
the weights. `Policy` holds every threshold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from thalweg.errors import RunError, UsageError
from thalweg.guard.evidence import Demand
from thalweg.guard.limits import Limits, finite
from thalweg.guard.policy import Policy
from thalweg.guard.watch import Watch
from thalweg.types import Action, Evaluation, Event, Mode, Step

Rung = Literal["go", "roll_back", "back_off", "stop"]

MODES: tuple[Mode, ...] = get_args(Mode)

GO = Action("go")


class Ladder:
    """Judges a run block by block.

    mode: "off": nothing; "advise": only say what would be done (the loop still makes a step that is
    not finite a no-op); "act": do it
    state: what `to_tree` gave
    Raises UsageError for another mode, RunError for a state that cannot be read.

    >>> from thalweg.types import Measures
    >>> def step(number, loss):
    ...     seen = Measures(lambda: {"loss": loss, "gradient_norm": 1.0})
    ...     return Step(number=number, samples=0, epoch=0.0, lr=0.1, seconds=0.0, measures=seen)
    >>> ladder = Ladder("act")
    >>> ladder.limits.loss
    inf
    >>> for number in range(1, 65):
    ...     action = ladder.judge([step(number, 0.5)])
    >>> ladder.limits
    Limits(loss=1.0, norm=2.0, clip_to=1.0)
    >>> [event.text for event in ladder.judge([step(65, 8.0)]).events]
    ['step 65 was skipped: its loss, 8, is above 1']
    """

    def __init__(
        self,
        mode: Mode = "act",
        policy: Policy | None = None,
        state: Mapping[str, Any] | None = None,
    ):
        if mode not in MODES:
            raise UsageError(f"guard is {mode!r}: choose {', '.join(map(repr, MODES))}")
        self.mode: Mode = mode
        self.policy = policy or Policy()
        self._watch = Watch(self.policy, acts=mode == "act")
        self._last_rollback: int | None = None
        self._used: int | None = None
        self._num_backoffs = 0
        self._best: float | None = None
        self._is_validated = False
        self._num_bad_evaluations = 0
        self._said: dict[str, int] = {}
        if state is not None:
            self._take(state)

    @property
    def limits(self) -> Limits:
        """What the update holds the coming steps against, until the next block was judged."""
        return self._watch.limits if self.mode == "act" else Limits()

    @property
    def is_looking(self) -> bool:
        """Are the weights suspect? No snapshot should be taken of them now."""
        return self._watch.is_looking

    def accept_rate(self) -> None:
        """The next step's learning rate is set on purpose: no evidence is put down to it."""
        self._watch.accept_rate()

    def judge(
        self,
        block: Sequence[Step],
        *,
        snapshots: Collection[int] = (),
        from_data: Collection[int] = (),
    ) -> Action:
        """What is to be done after these steps, drained together, in order.

        snapshots: numbers of the steps after which the snapshots at hand were taken
        from_data: numbers of steps whose number that is not finite was in the data: these do not
        speak against the weights
        """
        if self.mode == "off" or not block:
            return GO
        seen = [self._watch.see(step, is_from_data=step.number in from_data) for step in block]
        events = [event for event in seen if event is not None]
        demand = self._watch.close(block, events)
        level = self._watch.level
        if level is not None and not self._is_validated:
            self._keep_best(level[0], noise=level[1], is_validated=False)
        number = block[-1].number
        if demand is None:
            return self._go(number, events)
        return self._answer(demand, number, snapshots, events)

    def judge_evaluation(
        self, evaluation: Evaluation, *, snapshots: Collection[int] = ()
    ) -> Action:
        """What is to be done after an evaluation of the validation set; `snapshots` as in judge."""
        if self.mode == "off":
            return GO
        loss, number, split = evaluation.values["loss"], evaluation.number, evaluation.split
        if math.isfinite(loss):
            self._num_bad_evaluations = 0
            self._keep_best(loss, noise=evaluation.noise or 0.0, is_validated=True)
            return GO
        self._num_bad_evaluations += 1
        text = f"the loss on the {split} set was {loss} after step {number}"
        numbers = {"quantity": f"{split} loss", "value": str(loss)}
        demand = Demand(number + 1, text, numbers, is_final=not self._is_validated)
        return self._answer(demand, number, snapshots, [])

    # ------------------------------------------------------------ the rungs

    def _answer(
        self, demand: Demand, number: int, snapshots: Collection[int], events: Sequence[Event]
    ) -> Action:
        """The rung that a demand leads to; under advise, words."""
        if self.mode == "advise":
            kind, words = ("guard", "stop") if demand.is_final else ("rollback", "roll back")
            text = f'guard="act" would {words}: {demand.reason}'
            self._watch.answered(demand, number)
            advice = Event(number, kind, text, {**demand.numbers, "done": False})
            return self._go(number, [*events, advice])

        before = self._before(demand, number, snapshots)
        found = max((at for at in snapshots if at < before), default=None)
        kind, why = self._rung(demand, number, has_snapshot=found is not None)
        action = Action(kind, number, demand.reason + why, demand.numbers, tuple(events))
        if kind == "go":
            return self._go(number, events)
        if kind == "stop":
            return action
        self._watch.answered(demand, number)
        self._last_rollback, self._used = number, found
        if kind == "roll_back":
            return replace(action, before=before)
        self._num_backoffs += 1
        lr_factor, rewarm = self.policy.lr_factor**self._num_backoffs, self.policy.rewarm
        if demand.lr_factor < lr_factor:  # at the rate of before the moments of before are right
            lr_factor, rewarm = demand.lr_factor, 0
        return replace(action, before=before, lr_factor=lr_factor, rewarm=rewarm)

    def _before(self, demand: Demand, number: int, snapshots: Collection[int]) -> int:
        """The step that a snapshot must be older than.

        The weights after the last step before the evidence are those that it speaks against. Where
        going back has not helped it is older than that time, unless the rate is to blame.
        """
        used, newest = self._used, max(1, demand.since - 1)
        if used is None:
            return newest
        is_rate = demand.lr_factor < 1.0
        has_failed = self._is_second(number) and not is_rate and any(at < used for at in snapshots)
        return used if demand.is_retry or has_failed else newest

    def _is_second(self, number: int) -> bool:
        last = self._last_rollback
        return last is not None and number - last <= self.policy.rollback_span

    def _rung(self, demand: Demand, number: int, *, has_snapshot: bool) -> tuple[Rung, str]:
        """How high the ladder has to be climbed, and what is to be said of it."""
        policy, last = self.policy, self._last_rollback
        if demand.is_final:
            return "stop", ""
        if demand.is_retry:
            why = f"; the weights of step {self._used} are no better"
            return ("roll_back" if has_snapshot else "go"), why
        is_second = self._is_second(number)
        if has_snapshot and not is_second and self._num_bad_evaluations < 2:
            return "roll_back", ""
        if self._num_backoffs < policy.num_backoffs:
            why = f"it was rolled back at step {last}" if is_second else "going back did not help"
            return "back_off", f"; {why if has_snapshot else 'there is no snapshot from before'}"
        best = "" if self._best is None else f" below {self._best:.4g}"
        kind = "validation loss" if self._is_validated else "median loss"
        return "stop", f"; {self._num_backoffs} back-offs have brought no {kind}{best}"

    def _keep_best(self, loss: float, *, noise: float, is_validated: bool) -> None:
        """A new best shows that the back-offs have helped; the first validation loss is none."""
        is_first = self._best is None or (is_validated and not self._is_validated)
        if self._best is not None and not is_first and loss < self._best - noise:
            self._num_backoffs = 0
            is_first = True
        if is_first:
            self._best = loss
        self._is_validated |= is_validated

    def _go(self, number: int, events: Sequence[Event]) -> Action:
        """Nothing to be done about the weights; advice is not repeated for a while."""
        if self.mode == "advise":
            events = [event for event in events if self._is_news(event)]
        return Action("go", number, events=tuple(events)) if events else GO

    def _is_news(self, event: Event) -> bool:
        last = self._said.get(event.kind)
        if last is not None and event.number - last < self.policy.advise_span:
            return False
        self._said[event.kind] = event.number
        return True

    # ------------------------------------------------------------ state

    def to_tree(self) -> dict[str, Any]:
        """Its whole state, as strict JSON can hold it: dicts, lists, strings, finite numbers, None.

        Numbers come back to the bit: Ladder(mode, policy, state=tree) goes on from here.
        """
        return {
            "watch": self._watch.to_tree(),
            "last_rollback": self._last_rollback,
            "used": self._used,
            "num_backoffs": self._num_backoffs,
            "best": self._best,
            "is_validated": self._is_validated,
            "num_bad_evaluations": self._num_bad_evaluations,
            "said": dict(self._said),
        }

    def _take(self, tree: Mapping[str, Any]) -> None:
        try:
            self._watch.take(tree["watch"])
            last, used, best = tree["last_rollback"], tree["used"], tree["best"]
            self._last_rollback = None if last is None else int(last)
            self._used = None if used is None else int(used)
            self._best = None if best is None else finite(best)
            self._num_backoffs = int(tree["num_backoffs"])
            self._is_validated = bool(tree["is_validated"])
            self._num_bad_evaluations = int(tree["num_bad_evaluations"])
            self._said = {str(kind): int(number) for kind, number in tree["said"].items()}
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise RunError(
                f"the guard's state cannot be read ({type(error).__name__}: {error}): it must be "
                "what Ladder.to_tree gave"
            ) from None
