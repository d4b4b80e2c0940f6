"""The watch: steps in, events out, and after each block what the evidence demands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from thalweg.guard.evidence import Demand, Evidence, Look
from thalweg.guard.limits import Limits, Window, as_stored, from_stored, in_single
from thalweg.guard.policy import Policy
from thalweg.guard.rate import Rate
from thalweg.types import Event, Step

REFRESH_EVERY = 16
"""Steps between new limits where blocks are shorter than that: to make them costs some 40 us."""

WORDS = {"loss": "the loss", "gradient_norm": "the gradient's norm"}


class Watch:
    """Windows of the losses and norms, the evidence, and the look at the weights, if any.

    acts: outliers were skipped or clipped; if not, they were applied as they came
    limits: what the guard holds the steps against until the next `close`
    """

    def __init__(self, policy: Policy, *, acts: bool):
        self.policy = policy
        self._acts = acts
        self._loss = Window(policy)
        self._norm = Window(policy, applies_outliers=True)
        self._evidence = Evidence(policy)
        self._look: Look | None = None
        self._num_bad_data = 0
        self._relapse, self._trial_ends = math.inf, 0
        self._rate = Rate(policy)
        self._jump_level = math.inf

    @property
    def limits(self) -> Limits:
        loss, clip_to = self._loss.limit, self._norm.median
        if self._look:
            loss = in_single(self._look.demand.calm)
        return Limits(loss) if clip_to is None else Limits(loss, self._norm.limit, clip_to)

    @property
    def is_looking(self) -> bool:
        """Are the weights suspect, so that only calm steps are applied?"""
        return self._look is not None

    @property
    def level(self) -> tuple[float, float] | None:
        """The running median of the loss and its noise; None where too few steps were seen."""
        median = self._loss.median
        return None if median is None else (median, self._loss.noise)

    # ------------------------------------------------------------ one step

    def see(self, step: Step, *, is_from_data: bool) -> Event | None:
        """Take a step in; what the limits did to it, or would have done."""
        self._heed_rate(step.number, step.lr)
        measured = step.measured()
        name = not_finite(measured)
        if name is not None:
            return self._see_nonfinite(step.number, name, measured, is_from_data)
        self._num_bad_data = 0
        if self._look and not self._look.take(measured["loss"]) and self._acts:
            text = f"step {step.number} was not applied: the weights are looked at"
            return Event(step.number, "skip", text, {"loss": measured["loss"], "done": True})
        limit = self._loss.limit
        if math.isnan(measured.get("update_norm") or 0.0) and measured["loss"] <= limit:
            return None  # somebody else has skipped it
        return self._see_loss(step.number, measured)

    def _see_nonfinite(
        self, number: int, name: str, measured: Mapping[str, float], is_from_data: bool
    ) -> Event | None:
        value = measured.get(name, math.nan)
        is_overflow = name != "loss" and (measured.get("loss_scale") or 0.0) > 1.0
        if is_overflow and not self._evidence.overflow():
            return None
        if is_from_data:
            self._num_bad_data += 1
        else:
            self._evidence.nonfinite(number)
            if self._look:
                self._look.take(math.inf)
        text = f"{WORDS[name]} was {value} at step {number}; that update was not applied"
        return Event(number, "nonfinite", text, {"quantity": name, "value": str(value)})

    def _see_loss(self, number: int, measured: Mapping[str, float]) -> Event | None:
        loss, limit = measured["loss"], self._loss.limit
        if self._loss.observe(number, loss):
            self._evidence.outlier(number)
            was = "was" if self._acts else 'would be (guard="act")'
            text = f"step {number} {was} skipped: its loss, {loss:.4g}, is above {limit:.4g}"
            return Event(number, "skip", text, {"loss": loss, "limit": limit, "done": self._acts})
        self._evidence.ordinary(is_calm=loss <= self._loss.calm)
        return self._see_norm(number, measured)

    def _see_norm(self, number: int, measured: Mapping[str, float]) -> Event | None:
        norm, limit, clip_to = measured.get("gradient_norm"), self._norm.limit, self._norm.median
        if norm is None or not self._norm.observe(number, norm) or clip_to is None:
            return None
        self._evidence.unrest(number)
        if (measured.get("clip_factor") or 1.0) * norm < 0.99 * clip_to:
            return None  # the optimizer's own clip is stricter
        was = "was" if self._acts else 'would be (guard="act")'
        text = (
            f"the gradient of step {number} {was} clipped to norm {clip_to:.4g}: "
            f"its own, {norm:.4g}, is above {limit:.4g}"
        )
        numbers = {"norm": norm, "limit": limit, "clip_to": clip_to, "done": self._acts}
        return Event(number, "clip", text, numbers)

    def _heed_rate(self, number: int, lr: float) -> None:
        """A restart brings another level of losses; after a jump it must not rise."""
        is_restart = self._rate.see(number, lr)
        if is_restart and self._look is None:
            self._begin_anew()
        if self._rate.jumped_at == number:
            self._jump_level = self._loss.noise_level()

    def _begin_anew(self) -> None:
        self._loss.begin_anew()
        self._norm.begin_anew()
        self._evidence.clear()
        self._relapse = math.inf

    def accept_rate(self) -> None:
        """The next step's learning rate is set on purpose."""
        self._rate.accept()

    # ------------------------------------------------------------ one block

    def close(self, block: Sequence[Step], events: list[Event]) -> Demand | None:
        """The block is over: make new limits; what the evidence demands of the weights."""
        last, count = block[-1].number, self._num_bad_data
        if count >= self.policy.patience:
            text = f"the data of {count} steps in a row held numbers that are not finite"
            return Demand(last, text, {"count": count}, is_final=True)
        is_due = (block[0].number - 1) // REFRESH_EVERY < last // REFRESH_EVERY
        if is_due:
            self._loss.refresh(last)
            self._norm.refresh(last)
        if self._look is not None:
            return self._end_look(self._look, last, events)
        demand = self._evidence.demand(self._loss.calm) or (self._risen(last) if is_due else None)
        if demand is None:
            return None
        demand = self._with_cause(demand)
        if demand.lr_factor < 1.0:
            return demand  # no look is needed to tell what is to blame
        self._look = Look(self.policy, demand, is_restored=False)
        if self._acts:
            text = f"{demand.reason}: until most are calm again, the others are not applied"
            events.append(Event(last, "guard", text, {**demand.numbers, "done": True}))
        return None

    def _with_cause(self, demand: Demand) -> Demand:
        """The demand, put down to a jump of the learning rate if there was one."""
        jump = self._rate.blamed(demand.since)
        if jump is None:
            return demand
        text = f"the learning rate rose from {jump.before:.3g} to {jump.after:.3g}"
        return replace(
            demand,
            since=jump.number + 1,
            reason=f"{demand.reason}; at step {jump.number:,} {text}",
            numbers={**demand.numbers, "lr_before": jump.before, "lr": jump.after},
            lr_factor=jump.before / jump.after,
        )

    def _risen(self, number: int) -> Demand | None:
        """The level of the loss has risen for good, if it has."""
        count = self.policy.level_steps
        at_most = self._relapse if number <= self._trial_ends else math.inf
        if self._rate.blamed(number - count):
            at_most = min(at_most, self._jump_level)
        rise = self._loss.rise(at_most)
        if rise is None:
            return None
        text = (
            f"the median loss of {count} steps is {rise.now:.4g}, and was {rise.before:.4g} before"
        )
        numbers = {"before": rise.before, "now": rise.now}
        return Demand(max(1, number - count + 1), text, numbers, rise.calm)

    def _end_look(self, look: Look, number: int, events: list[Event]) -> Demand | None:
        """What the look has shown, if it has."""
        if look.is_calm:
            text = f"the median loss of {self.policy.look} steps is {look.median:.4g}: calm again"
            self._resume(look, Event(number, "guard", text, {"loss": look.median}), events)
        elif not look.is_restored:
            return look.demand if look.is_over else None
        elif look.demand.lr_factor < 1.0 and self._rate.blamed(number):
            demand = Demand(number, "the rate is as high again", {}, look.demand.calm)
            return self._with_cause(demand)
        elif look.is_held and look.num_calm:
            return self._relapsed(look, number)
        elif look.is_held and not look.demand.is_retry:
            look.demand = replace(look.demand, is_retry=True)
            return look.demand
        elif look.is_over and look.median == math.inf:
            text = f"most of {look.count} steps were not finite, with the weights of before too"
            return Demand(number, text, {"count": look.count}, is_final=True)
        elif look.is_over:
            text = (
                f"after {look.count} more steps the median loss is {look.median:.4g}: taken for "
                "the new level, and the limits begin anew"
            )
            self._begin_anew()
            self._resume(look, Event(number, "guard", text, {"loss": look.median}), events)
        return None

    def _relapsed(self, look: Look, number: int) -> Demand:
        """The weights of before were calm, and are not since steps were applied to them."""
        count = look.num_since
        text = f"{count} steps in a row were not calm, though the weights of before had been"
        demand = Demand(number - count + 1, text, {"count": count}, look.demand.calm)
        return self._with_cause(demand)

    def _resume(self, look: Look, event: Event, events: list[Event]) -> None:
        """Steps are applied again."""
        if not look.is_restored:
            self._leave_out(look.demand)
        events.append(event)
        self._evidence.clear()
        self._look = None

    def answered(self, demand: Demand, number: int) -> None:
        """Older weights have taken the place of those that the demand speaks against."""
        if self._look is None or not self._look.is_restored:
            self._leave_out(demand)
        self._loss.interrupt()
        self._norm.interrupt()
        self._evidence.clear()
        self._relapse = self._loss.high_level()
        self._trial_ends = number + self.policy.rollback_span
        if demand.lr_factor < 1.0:
            self._rate.disown()
        self._look = Look(self.policy, demand, is_restored=True)

    def _leave_out(self, demand: Demand) -> None:
        """Where the demand is about their level, the newest losses were no ordinary ones."""
        if "now" in demand.numbers:
            self._loss.forget(self.policy.level_steps)

    # ------------------------------------------------------------ state

    def to_tree(self) -> dict[str, Any]:
        """All that it remembers, as strict JSON can hold it."""
        return {
            "loss": self._loss.to_tree(),
            "norm": self._norm.to_tree(),
            "evidence": self._evidence.to_tree(),
            "look": self._look.to_tree() if self._look else None,
            "bad_data": self._num_bad_data,
            "relapse": as_stored(self._relapse),
            "trial_ends": self._trial_ends,
            "rate": self._rate.to_tree(),
            "jump_level": as_stored(self._jump_level),
        }

    def take(self, tree: Mapping[str, Any]) -> None:
        """Remember what `to_tree` gave."""
        self._loss.take(tree["loss"])
        self._norm.take(tree["norm"])
        self._evidence.take(tree["evidence"])
        self._look = Look.of(self.policy, tree["look"]) if tree["look"] else None
        self._num_bad_data = int(tree["bad_data"])
        self._relapse, self._trial_ends = from_stored(tree["relapse"]), int(tree["trial_ends"])
        self._rate.take(tree["rate"])
        self._jump_level = from_stored(tree["jump_level"])


def not_finite(measured: Mapping[str, float]) -> str | None:
    """Which of a step's loss and gradient norm is not finite, if one is."""
    if not math.isfinite(measured["loss"]):
        return "loss"
    norm = measured.get("gradient_norm")
    is_finite = norm is None or math.isfinite(norm)
    return None if is_finite and not measured.get("num_nonfinite") else "gradient_norm"
