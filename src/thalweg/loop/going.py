"""Going on from a state that was saved: with the same settings, or with some changed on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.errors import RunError
from thalweg.loop.facts import check_settings, differences
from thalweg.loop.found import Found, found_in
from thalweg.record.files import find as record_in
from thalweg.rules.options import EMA
from thalweg.state.checkpoint import Saved
from thalweg.state.state import State
from thalweg.types import Event

if TYPE_CHECKING:
    from thalweg.loop.descent import Descent


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a run does otherwise than the state that it goes on from, on purpose.

    may_differ: names of facts (`thalweg.loop.facts`) that need not be those of the saved run
    parent: the folder of the run whose state a new run starts from; None: its own
    step: the checkpoint to start from, by default the newest
    has_new_rates: the optimizer's own rates and hyperparameters count, not the saved ones
    has_new_optimizer: its states start afresh as well
    adapt: the last word on the state
    made_at: the step at which the change was made, where it was begun before: a later state has it
    text: what is changed, in words
    """

    may_differ: frozenset[str] = frozenset()
    parent: Path | None = None
    step: int | None = None
    has_new_rates: bool = False
    has_new_optimizer: bool = False
    adapt: Callable[[State], State] = lambda state: state
    made_at: int | None = None
    text: str = ""

    def is_new_to(self, saved: Saved) -> bool:
        """Was this state saved before the change was made?"""
        return self.made_at is None or saved.number <= self.made_at

    def applied(self, state: State, descent: Descent) -> State:
        """The saved state, with what the descent has in the place of it."""
        if not self.has_new_rates:
            return self.adapt(state)
        own, averages = descent.state(), _averages(descent)
        phases = {
            name: self._phase(phase, state.phases[name], averages=averages)
            for name, phase in own.phases.items()
        }
        rates = {**own.rates, "evaluations": state.rates["evaluations"]}
        return self.adapt(replace(state, rates=rates, phases=phases))

    def _phase(
        self, own: Mapping[str, Any], saved: Mapping[str, Any], *, averages: bool
    ) -> dict[str, Any]:
        """One phase; rates and hyperparameters stand in the optimizer's groups."""
        if self.has_new_optimizer:
            return {**saved, "optimizer": own["optimizer"]}
        states = {
            name: {key: value for key, value in row.items() if averages or key != "ema"}
            for name, row in saved["optimizer"]["state"].items()
        }
        optimizer = {"state": states, "groups": own["optimizer"]["groups"]}
        return {**saved, "optimizer": optimizer}


def _averages(descent: Descent) -> bool:
    """Does the optimizer keep a running mean? One that is left over in the states would be used."""
    groups = descent.optimizer.param_groups
    return any(isinstance(option, EMA) for row in groups for option in row.get("options", ()))


def begun(folder: Path, change: Change | None) -> Found | None:
    """What a run in this folder goes on from; None where nothing was recorded there yet.

    Raises RunError as `found_in`, and where there is no state for a changed run to go on from.
    """
    origin = folder if change is None or change.parent is None else change.parent
    step = None if change is None else change.step
    found = None if record_in(origin) is None else found_in(origin, step)
    if change is not None and (found is None or found.saved is None):
        raise RunError(
            f"{origin} holds no checkpoint to go on from (older versions kept none): begin again "
            "with thalweg fit"
        )
    return found


def go_on(
    descent: Descent, saved: Saved, facts: Mapping[str, Any], *, exact: bool, change: Change | None
) -> list[Event]:
    """Put a descent where the saved one stood; what is to be told of it.

    Raises RunError where that was another run, where exactly the same machine is asked for and
    this is another, or where a changed run has nothing left to do.
    """
    change = change if change is not None and change.is_new_to(saved) else None
    check_settings(saved.facts, facts, change.may_differ if change else frozenset())
    odd = differences(saved.facts.get("machine", {}), facts["machine"])
    if odd and exact:
        raise RunError(f"exact: {'; '.join(odd)}: the last bits would be others")
    state = State.from_tree(saved.tree)
    text = f"resumed after step {saved.number:,}"
    if change is not None and change.parent is not None:
        text = f"started from {change.parent}, after its step {saved.number:,}"
    if odd:
        text += f": exact up to there, to rounding after ({'; '.join(odd)})"
    if change is None:
        descent.restore(state)
        return [Event(saved.number, "resume", text)]
    before = state.rates["last"][0]
    descent.restore(change.applied(state, descent))
    descent.count_anew()
    return [Event(saved.number, "resume", text), _changed(descent, change, saved, before)]


def _changed(descent: Descent, change: Change, saved: Saved, before: float) -> Event:
    """What goes on otherwise, the rate above all, which may jump."""
    number, horizon = descent.progress.steps, descent.horizon
    if descent.over is not None:
        raise RunError(
            f"nothing is left to do after step {number:,}, with which the budget is used up: give "
            "it more, such as --epochs +20, or start from an earlier step, --from-step N"
        )
    after = descent.lr_of(number + 1)
    parts = [change.text] if change.text else []
    known = saved.facts.get("settings", {}).get("horizon")
    if horizon is not None and known not in (None, horizon):
        parts.append(f"the schedule is planned anew, for {horizon:,} steps in place of {known:,}")
    same = f"the rate stays {after:.3g}"
    parts.append(same if after == before else f"the rate was {before:.3g} and is now {after:.3g}")
    data = {"lr_before": before, "lr": after, "horizon": horizon}
    return Event(number, "change", "; ".join(parts), data)
