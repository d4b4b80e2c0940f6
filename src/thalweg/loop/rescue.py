"""The guard's hands: bounds for the coming steps, snapshots to go back to, rates that are lowered.

What is decided, and when, stands in `thalweg.guard`; here it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from thalweg.guard.ladder import Ladder
from thalweg.guard.watch import not_finite
from thalweg.loop.phase import Phase
from thalweg.loop.tracing import Tracer, explained
from thalweg.optim.bounds import UNBOUNDED, Bounds
from thalweg.optim.lowering import Lowering, write_rate
from thalweg.optim.rates import Rates
from thalweg.optim.reset import reset_moments
from thalweg.state.snapshots import Ring
from thalweg.types import Action, Evaluation, Event, Mode, Step

SNAPSHOT_EVERY = 50
"""Steps between snapshots, which are taken after a step that was good; a roll-back loses half of
that on average.
"""

SNAPSHOTS = 2


class Rescue:
    """One guard over one descent.

    mode: "off", "advise" or "act"; only the last takes snapshots, which cost `SNAPSHOTS` copies of
    the model and the optimizer's state
    phase: the model and the optimizer; lowering: of its rates; rates: those of a schedule of ours
    tracer: finds where numbers that are not finite came from; None: not asked
    """

    def __init__(
        self,
        mode: Mode,
        phase: Phase,
        lowering: Lowering,
        *,
        rates: Rates | None = None,
        tracer: Tracer | None = None,
    ):
        self.mode: Mode = mode
        self._ladder = Ladder(mode)
        self._phase = phase
        self._lowering = lowering
        self._rates = rates
        self._tracer = tracer
        self._ring = Ring(SNAPSHOTS)
        self._next = 0

    @property
    def bounds(self) -> Bounds | None:
        """What the next step may be at most, before it is applied; None: whatever it is."""
        if self.mode == "off":
            return None
        limits = self._ladder.limits
        return Bounds(limits.loss, limits.norm, limits.clip_to) if self.mode == "act" else UNBOUNDED

    def accept_rate(self) -> None:
        """The next step's learning rate is set on purpose."""
        self._ladder.accept_rate()

    def before_step(self, number: int) -> None:
        """Keep the state after step `number` if a snapshot is due and all seems well."""
        if self.mode == "act" and number >= self._next and not self._ladder.is_looking:
            self._ring.keep(number, self._tree())
            self._next = number + SNAPSHOT_EVERY

    def judge(self, block: Sequence[Step]) -> Action:
        """What the guard wants after a block of drained steps; its events say where NaNs came from.

        Numbers that stood in the data do not speak against the weights.
        """
        origins = {}
        if self._tracer is not None:
            is_asked = self.mode != "off"
            bad = [step for step in block if is_asked and not_finite(step.measured())]
            origins = self._tracer.origins(block, bad)
        from_data = [number for number, origin in origins.items() if origin.kind == "data"]
        snapshots = self._ring.numbers
        action = self._ladder.judge(block, snapshots=snapshots, from_data=from_data)
        if not origins:
            return action
        return replace(action, events=tuple(explained(e, origins) for e in action.events))

    def judge_evaluation(self, evaluation: Evaluation) -> Action:
        """What it wants after a look at the validation set."""
        return self._ladder.judge_evaluation(evaluation, snapshots=self._ring.numbers)

    def obey(self, action: Action, number: int) -> tuple[Event, ...]:
        """Do it, after step `number`; what was done, as events."""
        if self.mode != "act" or action.kind in ("go", "stop"):
            return ()
        found = self._ring.before(action.before)
        events = () if found is None else (self._go_back(*found, action, number),)
        if action.kind == "back_off":
            events += (self._back_off(action, number),)
        self._next = number + SNAPSHOT_EVERY
        return events

    def _go_back(self, at: int, tree: Any, action: Action, number: int) -> Event:
        """Weights and optimizer as they were after step `at`; the data goes on.

        So does the rate: a schedule of ours sets it from its own base of then, and whatever else
        sets it finds it as it left it.
        """
        rates = [float(group["lr"]) for group in self._phase.optimizer.param_groups]
        self._phase.restore(tree["phase"])
        if self._rates is None:
            for group, lr in zip(self._phase.optimizer.param_groups, rates, strict=False):
                write_rate(group, lr)
        else:
            self._rates.base = list(tree["base"])
            self._rates.write()
        self._ring.drop_from(at + 1)
        text = (
            f"rolled back to the weights of step {at:,}: {action.reason}; the batches since then "
            "are not used again"
        )
        return Event(number, "rollback", text, {**action.evidence, "to": at})

    def _back_off(self, action: Action, number: int) -> Event:
        """Lower the rates; after a new warm-up the moments are others too."""
        self._lowering.lower(number, action.lr_factor, action.rewarm)
        text = f"learning rate x {action.lr_factor:.3g}"
        if action.rewarm:
            reset_moments(self._phase.optimizer)
            text += (
                f", reached again over {action.rewarm} steps; the optimizer's moments start anew"
            )
        return Event(number, "backoff", text, dict(action.evidence))

    def _tree(self) -> dict[str, Any]:
        base = [] if self._rates is None else list(self._rates.base)
        return {"phase": self._phase.to_tree(), "base": base}

    def to_tree(self) -> dict[str, Any]:
        """Windows and counters. Snapshots are not in it: a resume begins with its own state."""
        ladder = self._ladder.to_tree()
        return {"ladder": ladder, "next": self._next}

    def restore(self, tree: Mapping[str, Any], number: int) -> None:
        """Go on; the state of step `number` is the first snapshot."""
        self._ladder = Ladder(self.mode, state=tree["ladder"])
        self._next = tree["next"]
        if self.mode == "act":
            self._ring.keep(number, self._tree())
