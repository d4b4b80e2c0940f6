"""Whether a run's steps are compiled: by a wish, by what an earlier attempt chose, or measured.

The choice is a setting of the run, so that a resume makes the same one and measures nothing.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from thalweg.loop.batches import Batch, Feed, Position, put_back
from thalweg.loop.foreign import Foreign
from thalweg.loop.step import Stepper
from thalweg.scale.compiled import (
    AUTO,
    OFF,
    ON,
    Compiled,
    Form,
    Loss,
    compiler_of,
    form_of,
    reason_of,
)
from thalweg.state.checkpoint import Saved

PAIRS, MOST_SECONDS = 20, 2.0
"""Steps of either kind, in turn, and the seconds after which it ends with fewer; two at least."""

WARM_UP = 2
"""Steps of either kind before the clock counts."""

SHORTEST = 120.0
"""Seconds of a run below which nothing is compiled: that takes 5 to 60, and saves a third or so."""

MARGIN = 1.05
"""How many times as fast a compiled step must be."""

TOLERANCE = 0.01
"""Of a compiled step's loss, against the same step's uncompiled: bfloat16 has 0.4% of rounding."""

FACT, RECOMPUTED = "compile", "and computed again"
"""The choice among a run's settings, where a checkpoint keeps them: "on", "on, and ..."."""


@dataclass(frozen=True, slots=True)
class Compiling:
    """What was chosen.

    value: "on" or "off", the setting with which a repeat makes the same choice
    why: the reason, with the numbers that were measured
    loss: the compiled loss, or None; compiler: what compiled it
    """

    value: str = OFF
    why: str = ""
    loss: Compiled | None = None
    compiler: str = "no"

    def __str__(self) -> str:
        return f"{'compiled' if self.loss else 'not compiled'}: {self.why}"

    def settings_facts(self, *, recompute: bool) -> dict[str, Any]:
        """What a resume must have in common; in compiled steps recomputing moves the last bits."""
        return {} if self.value == OFF else {FACT: f"{ON}, {RECOMPUTED}" if recompute else ON}

    def machine_facts(self) -> dict[str, str]:
        """What of the machine decides the last bits of compiled steps."""
        return {} if self.value == OFF else {"compiled": self.compiler}

    def notices(self, *, is_new: bool) -> list[str]:
        """What is to be told: in a new run what was chosen, in a resumed one that it fails."""
        has_failed = self.value == ON and self.loss is None
        return [str(self)] if self.why and (is_new or has_failed) else []


def compiling_of(
    stepper: Stepper, feed: Feed, wish: str, horizon: int | None, saved: Saved | None
) -> Compiling:
    """Choose, and let the stepper compute so; tried on a copy of it, on the first batch.

    wish: "off", "auto" or "on"; horizon: planned number of steps, or None
    saved: the state to go on from, whose run has chosen already; None: a new run
    """
    if wish == AUTO and saved is not None:
        wish = saved.facts.get("settings", {}).get(FACT, OFF).partition(",")[0]
    found = _chosen(stepper, feed, wish, horizon)
    if found.loss is not None:
        stepper.loss = found.loss
        found = replace(found, compiler=compiler_of(stepper.device))
    return found


def _chosen(stepper: Stepper, feed: Feed, wish: str, horizon: int | None) -> Compiling:
    if wish == OFF:
        return Compiling()
    if isinstance(feed, Foreign) and isinstance(feed.stream.loader, Iterator):
        return Compiling(wish if wish == ON else OFF, "the data can be read only once")
    with put_back(feed):
        batch, is_alike = _first_of(feed)
    try:
        trial = Trial(stepper, batch)
    except Exception as error:
        why = f"steps are tried on a copy, and the model cannot be copied: {reason_of(error)}"
        return Compiling(wish if wish == ON else OFF, why)
    if wish == ON:
        return _asked_for(trial)
    return _measured(trial, horizon) if is_alike else Compiling(OFF, _UNLIKE)


_UNLIKE = "the first two batches differ in shape, and each shape would be compiled apart"


def _asked_for(trial: Trial) -> Compiling:
    reason = trial.compile()
    return Compiling(ON, reason) if reason else Compiling(ON, "asked for", trial.compiled)


def _measured(trial: Trial, horizon: int | None) -> Compiling:
    """The compiled loss where it is faster than the plain one, and compiling can pay."""
    plain = min(trial.seconds(trial.plain) for _ in range(WARM_UP + 1))
    if horizon is not None and horizon * plain < SHORTEST:
        whole = f"all {horizon:,} steps take about {horizon * plain:.2g} s"
        return Compiling(OFF, f"{whole}, and compiling alone takes longer")
    reason = trial.compile()
    if reason is not None:
        return Compiling(OFF, reason)
    faster, pairs = trial.speedup()
    text = f"{faster:.2f} x as fast over {pairs} steps, compiling took {trial.took:.2g} s"
    is_worth_it = faster >= MARGIN
    return Compiling(ON if is_worth_it else OFF, text, trial.compiled if is_worth_it else None)


class Trial:
    """Steps of a twin on one batch, plain and compiled.

    plain, compiled: the losses; took: seconds of compiling
    """

    def __init__(self, stepper: Stepper, batch: Batch):
        self.plain = stepper.loss
        self.compiled = Compiled(stepper.loss, _form(batch))
        self.took = 0.0
        self._twin = stepper.twin()
        self._batch = batch
        self._number = 0

    def compile(self) -> str | None:
        """Compile, by a first step; why it cannot be used, or None."""
        reasons: list[str] = []
        self.compiled.tell = reasons.append
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(action="ignore"):  # the compiler's, of its own modules
                found = self._loss_of(self.compiled)
            self.took = time.perf_counter() - start
            expected = self._loss_of(self.plain)
        except Exception as error:
            return reason_of(error)
        if not reasons and not math.isclose(found, expected, rel_tol=TOLERANCE):
            reasons.append(f"a compiled step's loss is {found:.4g}, and should be {expected:.4g}")
        return reasons[0] if reasons else None

    def _loss_of(self, loss: Loss) -> float:
        """The loss of a step that is not applied."""
        self._twin.loss = loss
        return float(self._twin.backward(self._batch, 1)["loss"])

    def speedup(self) -> tuple[float, int]:
        """How many times as fast compiled steps are, and of how many that is the best time: other
        work on the machine only makes some slower.
        """
        taken: dict[bool, list[float]] = {False: [], True: []}
        start = time.perf_counter()
        while len(taken[True]) < WARM_UP + PAIRS:
            is_late = time.perf_counter() - start > MOST_SECONDS
            if is_late and len(taken[True]) >= WARM_UP + 2:
                break
            for is_compiled in (False, True):
                loss = self.compiled if is_compiled else self.plain
                taken[is_compiled].append(self.seconds(loss))
        plain, compiled = (min(taken[kind][WARM_UP:]) for kind in (False, True))
        return plain / compiled, len(taken[True]) - WARM_UP

    def seconds(self, loss: Loss) -> float:
        """Wall seconds of one step."""
        self._twin.loss = loss
        self._number += 1
        start = time.perf_counter()
        float(self._twin(self._batch, self._number)["loss"])
        return time.perf_counter() - start


def _first_of(feed: Feed) -> tuple[Batch, bool]:
    """The first part of the first batch; and has the second batch the same form?"""
    batch = _first_part(feed.at(Position()))
    per_epoch = feed.per_epoch
    if per_epoch is not None and per_epoch <= 2:  # the second is what is left, or the first again
        return batch, True
    second = _first_part(feed.at(batch.following))
    return batch, _form(batch) == _form(second)


def _first_part(batch: Batch) -> Batch:
    _, data = next(iter(batch.shards))
    return replace(batch, shards=[(1.0, data)], num_shards=1)


def _form(batch: Batch) -> Form:
    return form_of(next(iter(batch.shards))[1])
