"""A run repaired while it goes: the guard acts on its steps, findings change its settings.

A finding that asks for an act stops the run. What it suggests is tried for some steps from the best
snapshot, as `thalweg diagnose --try` does, and the best goes on from there. Every step counts,
also those of the tries and those that were taken in vain.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

import thalweg
from benchmarks.healthbench import measures
from benchmarks.healthbench.kitchen import RECIPES
from benchmarks.healthbench.loop import (
    INSIDE_EVERY,
    Columns,
    ends,
    evaluation,
    forward_backward,
)
from benchmarks.healthbench.plan import Run, built
from benchmarks.healthbench.program import Program, shuffled
from benchmarks.healthbench.recipes import Recipe
from benchmarks.healthbench.store import log_of_columns, settings_of
from thalweg.health.diagnosis import diagnose, so_far
from thalweg.jobs.longer import begins_afresh
from thalweg.jobs.ranked import MOST as MOST_TRIES
from thalweg.jobs.ranked import own_schedule, ranked, steps_of_try
from thalweg.jobs.suggested import (
    SCHEDULE,
    Suggestion,
    begin_of,
    is_repairable,
    known_of,
    suggestions,
)
from thalweg.optim.reset import reset_moments
from thalweg.schedules.text import parse
from thalweg.types import Finding

MOST = 1.5
"""Steps of a repaired run, in those of the plan."""

LOOKS = 20
"""Looks at a run."""

MOST_CHANGES, TRIES_SHARE = 3, 1 / 3
"""Changes of a run; of the steps that are left, those that tries may take."""


@dataclass
class Repaired:
    """honest: the validation loss at the end; best: that of the best weights; steps: taken in all

    did: what was changed, and by which findings, a line each; guarded: events of the guard
    """

    honest: float
    steps: int
    did: list[str] = field(default_factory=list)
    guarded: int = 0
    best: float = math.nan


@dataclass
class Snapshot:
    """All that a run goes on from. loss: of validation"""

    step: int
    loss: float
    model: dict[str, Any]
    optimizer: dict[str, Any]


@dataclass
class Chosen:
    """The settings of a program that a change may touch."""

    recipe: Recipe
    rate: Callable[[int], float]
    order: Callable[[int], np.ndarray]


class Course:
    """A program under way. step: the last one taken; spent: all of them, in vain or not"""

    def __init__(self, run: Run):
        self.program, self.meta = built(run)
        self.columns = Columns()
        self.step = self.guarded = 0
        self.spent = 0.0
        self.planned = self.program.end
        self.snapshots: list[Snapshot] = []
        self._norms = measures.Norms(self.program.model)
        self._batch_size = RECIPES[run.task][run.recipe].batch_size
        self._every = self.program.evaluates_every
        self._new_guard()

    def _new_guard(self) -> None:
        self.guard = thalweg.Guard(self.program.model, self.program.optimizer, mode="act")

    def begin(self) -> None:
        """What is done to the program before its first step belongs to where it starts."""
        for act in self.program.acts.pop(1, ()):
            act()
        self.keep(self.loss())

    def advance(self, count: int, *, quietly: bool = False) -> None:
        """So many steps; quietly: nothing is written down."""
        for _ in range(count):
            self.step += 1
            self.spent += self.cost
            row = self._take(self.step)
            if not quietly:
                self.columns.steps.append({"step": self.step, **row})
            if self.step % self._every == 0 and not quietly:
                self._evaluate()

    def _evaluate(self) -> None:
        found = {"step": self.step, **evaluation(self.program)}
        self.columns.evaluations.append(found)
        self.keep(found["validation_loss"])

    def _take(self, step: int) -> dict[str, float]:
        program = self.program
        for act in program.acts.pop(step, ()):
            act()
        rate = program.rate(step)
        for group in program.optimizer.param_groups:
            group["lr"] = rate
        with self.guard.forward():
            row = {"lr": rate, **forward_backward(program, step)}
        is_looked_at = step % INSIDE_EVERY == 0 or step == 1
        if is_looked_at:
            self._norms.before()
        if program.recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(program.model.parameters(), program.recipe.clip)
        self.guard.step(torch.tensor(row["loss"]))
        if is_looked_at:
            inside = measures.inactive(program.model, program.data.train.x[: measures.NUM_WATCHED])
            self.columns.inside.append({"step": step, **self._norms.after(), **inside})
        for then in program.after:
            then(step)
        return row

    def keep(self, loss: float) -> None:
        """A snapshot, where the loss is a number."""
        if math.isfinite(loss):
            self.snapshots.append(replace(self.standing(), loss=loss))

    @property
    def chosen(self) -> Chosen:
        """What was chosen so far; it outlives a step back."""
        program = self.program
        return Chosen(program.recipe, program.rate, program.order)

    @chosen.setter
    def chosen(self, chosen: Chosen) -> None:
        program = self.program
        program.recipe, program.rate, program.order = chosen.recipe, chosen.rate, chosen.order

    def go_back(self, snapshot: Snapshot) -> None:
        """To a snapshot; what was written down since is forgotten."""
        program = self.program
        program.model.load_state_dict(snapshot.model)
        program.optimizer.load_state_dict(copy.deepcopy(snapshot.optimizer))
        if program.recipe.weight_decay != self.meta["recipe"]["weight_decay"]:
            for group in program.optimizer.param_groups:  # what was chosen outlives the step back
                group["weight_decay"] = program.recipe.weight_decay
        self.guarded += len(self.events())
        self._new_guard()
        self.step = snapshot.step
        for name in ("steps", "evaluations", "inside"):
            rows = getattr(self.columns, name)
            setattr(self.columns, name, [row for row in rows if row["step"] <= self.step])
        self.snapshots = [each for each in self.snapshots if each.step <= self.step]

    @property
    def cost(self) -> float:
        """Of a step, in steps without a fault: larger batches than these have cost more."""
        return max(1.0, self.program.recipe.batch_size / self._batch_size)

    def cost_of(self, option: Suggestion) -> float:
        """Of a step with a change."""
        size = option.settings.get("batch_size", self.program.recipe.batch_size)
        return max(1.0, size / self._batch_size)

    def affords(self, count: int, most: float) -> bool:
        """Are so many steps left?"""
        return self.spent + count * self.cost <= most

    def standing(self) -> Snapshot:
        """As it stands."""
        program = self.program
        return Snapshot(
            self.step,
            self.loss(),
            copy.deepcopy(program.model.state_dict()),
            copy.deepcopy(program.optimizer.state_dict()),
        )

    def events(self) -> list[Any]:
        """What the guard has done since it was made."""
        self.guard.record.flush()
        return list(self.guard.record.history().events)

    def log(self):
        """What was written down, as a detector reads it."""
        changed = asdict(self.program.recipe) | {"steps": self.planned}
        meta = self.meta | {"recipe": changed}
        return log_of_columns(self.columns, settings_of(meta))

    def loss(self) -> float:
        """Of validation, as the program measures it."""
        value = evaluation(self.program)["validation_loss"]
        return value if math.isfinite(value) else math.inf


def repaired(run: Run) -> Repaired:
    """The run, with the guard and with what its findings suggest, within `MOST` of its plan."""
    torch.set_num_threads(1)
    course = Course(run)
    most = MOST * course.planned
    look = max(1, course.planned // LOOKS)
    done = Repaired(math.nan, 0)
    course.begin()
    first = course.snapshots[0]
    ended: list[Snapshot] = []
    said: set[str] = set()

    while course.step < course.planned and course.affords(1, most):
        course.advance(min(look, course.planned - course.step))
        is_over = course.step >= course.planned
        found = (diagnose if is_over else so_far)(course.log()).findings
        acts = [each for each in found if calls_for_change(each, is_over) and each.code not in said]
        if is_over and acts:
            ended.append(course.standing())
        if acts and len(done.did) < MOST_CHANGES and change(course, acts, first, most, done):
            said |= {SCHEDULE, *(each.code for each in acts)}  # a change brings its own schedule
    done.steps, done.guarded = course.spent, course.guarded + len(course.events())
    ended.append(course.standing())
    done.honest = honest(course, least(ended))
    done.best = honest(course, least([*ended, *course.snapshots]))
    return done


def least(snapshots: Sequence[Snapshot]) -> Snapshot:
    """The one of the lowest loss."""
    return min(snapshots, key=lambda each: each.loss)


def honest(course: Course, snapshot: Snapshot) -> float:
    """The honest loss of a snapshot."""
    course.program.model.load_state_dict(snapshot.model)
    return ends(course.program)["honest_loss"]


def calls_for_change(finding: Finding, is_over: bool) -> bool:
    """Of settings; while a run goes, only what asks for an act or is certain."""
    is_urgent = is_over or finding.severity == "act" or finding.code == "TW107"
    return is_urgent and is_repairable(finding.code)


def change(
    course: Course, acts: Sequence[Finding], first: Snapshot, most: float, done: Repaired
) -> bool:
    """Try what the findings suggest from the best snapshot, and go on with the best change."""
    codes = [each.code for each in acts]
    known = {each.step: each for each in (first, *course.snapshots)}
    start = known[begin_of({step: each.loss for step, each in known.items()}, acts)]
    planned = course.meta["recipe"]["steps"]
    count = steps_of_try(planned)
    chosen = chosen_of(course, acts)
    options = suggestions(codes, chosen)
    tries = min(MOST_TRIES, int(TRIES_SHARE * (most - course.spent) / count))
    if tries < 1:
        return False
    lr = chosen["lr"]
    best = options[0]
    if len(options) > 1:
        tried = ranked(options, lambda each: score(course, start, each, count), lr=lr, most=tries)
        best = tried[0].change
    course.go_back(start)
    left = int((most - course.spent) / course.cost_of(best))
    course.planned = start.step + min(planned, left)
    apply(course, best, course.planned)
    done.did.append(f"{'+'.join(codes)} at {start.step}: {best.words}")
    return True


def chosen_of(course: Course, acts: Sequence[Finding]) -> dict[str, Any]:
    """The settings that a suggestion may change, and what is known of the run."""
    recipe, rows = course.program.recipe, course.columns.steps
    names = ("lr", "clip", "batch_size", "weight_decay")
    steps, norms = ([row[name] for row in rows] for name in ("step", "gradient_norm"))
    return {name: getattr(recipe, name) for name in names} | known_of(acts, steps, norms)


def score(course: Course, start: Snapshot, option: Suggestion, count: int) -> float:
    """The validation loss after so many steps with a change."""
    before = course.chosen
    course.go_back(start)
    apply(course, option, start.step + count)
    course.advance(count, quietly=True)
    course.chosen = before
    return course.loss()


def apply(course: Course, option: Suggestion, until: int) -> None:
    """Change the settings of a program that is under way; its rate falls to 0 at the end."""
    program: Program = course.program
    settings, schedule = option.settings, parse(own_schedule(course.step, 0)["schedule"])
    before = {"batch_size": program.recipe.batch_size}
    program.recipe = recipe = replace(program.recipe, **settings)
    program.rate = lambda step: recipe.lr * schedule(step, until)
    if "batch_size" in settings:
        size = min(settings["batch_size"], len(program.data.train))
        program.order = shuffled(len(program.data.train), size, course.meta["run"]["seed"])
    if "weight_decay" in settings:
        for group in program.optimizer.param_groups:
            group["weight_decay"] = settings["weight_decay"]
    if begins_afresh(before, settings):
        reset_moments(program.optimizer)
