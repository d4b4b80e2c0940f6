"""A run repaired while it goes: the guard acts on its steps, findings change its settings.

A finding that asks for an act stops the run. What it suggests is tried for some steps from the best
snapshot, as `thalweg diagnose --try` does, and the best goes on from there. Every step counts,
also those of the tries and those that were taken in vain.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

import thalweg
from benchmarks.healthbench import measures
from benchmarks.healthbench.loop import (
    INSIDE_EVERY,
    Columns,
    ends,
    evaluation,
    forward_backward,
)
from benchmarks.healthbench.plan import Run, built
from benchmarks.healthbench.program import Program, shuffled
from benchmarks.healthbench.recipes import Recipe, factor
from benchmarks.healthbench.store import log_of_columns, settings_of
from thalweg.health.diagnosis import diagnose, so_far
from thalweg.jobs.suggested import Suggestion, is_repairable, suggestions
from thalweg.types import Finding

MOST = 1.5
"""Steps of a repaired run, in those of the plan."""

LOOKS, TRY_SHARE, LEAST_TRY = 20, 0.04, 15
"""Looks at a run; the steps of a try, as a share of the plan and at the least."""

CERTAIN = {"TW101", "TW105"}
"""Findings whose cause needs no control beside the changes."""

MOST_CHANGES, LEAST_LEFT = 3, 0.2
"""Changes of a run; the share of the plan that must be left to go on with after the tries."""


@dataclass
class Repaired:
    """honest: the validation loss at the end; steps: taken in all; did: what was changed, and by
    which findings, a line each; guarded: events of the guard
    """

    honest: float
    steps: int
    did: list[str] = field(default_factory=list)
    guarded: int = 0


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
        self.step = self.spent = self.guarded = 0
        self.planned = self.program.end
        self.snapshots: list[Snapshot] = []
        self._norms = measures.Norms(self.program.model)
        self._every = self.program.evaluates_every
        self._new_guard()

    def _new_guard(self) -> None:
        self.guard = thalweg.Guard(self.program.model, self.program.optimizer, mode="act")

    def advance(self, count: int, *, quietly: bool = False) -> None:
        """So many steps; quietly: nothing is written down."""
        for _ in range(count):
            self.step += 1
            self.spent += 1
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
        program = self.program
        if math.isfinite(loss):
            self.snapshots.append(
                Snapshot(
                    self.step,
                    loss,
                    copy.deepcopy(program.model.state_dict()),
                    copy.deepcopy(program.optimizer.state_dict()),
                )
            )

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

    def events(self) -> list[Any]:
        """What the guard has done since it was made."""
        self.guard.record.flush()
        return list(self.guard.record.history().events)

    def log(self):
        """What was written down, as a detector reads it."""
        meta = self.meta | {"recipe": self.meta["recipe"] | {"lr": self.program.recipe.lr}}
        return log_of_columns(self.columns, settings_of(meta))

    def loss(self) -> float:
        """Of validation, as the program measures it."""
        value = evaluation(self.program)["validation_loss"]
        return value if math.isfinite(value) else math.inf


def repaired(run: Run) -> Repaired:
    """The run, with the guard and with what its findings suggest, within `MOST` of its plan."""
    torch.set_num_threads(1)
    course = Course(run)
    most = int(MOST * course.planned)
    look = max(1, course.planned // LOOKS)
    done = Repaired(math.nan, 0)
    course.keep(course.loss())
    first = course.snapshots[0]
    said: set[str] = set()

    while course.step < course.planned and course.spent < most:
        course.advance(min(look, course.planned - course.step, most - course.spent))
        is_over = course.step >= course.planned
        found = (diagnose if is_over else so_far)(course.log()).findings
        acts = [each for each in found if calls_for_change(each) and each.code not in said]
        if acts and len(done.did) < MOST_CHANGES and change(course, acts, first, most, done):
            said |= {each.code for each in acts}
    done.honest = ends(course.program)["honest_loss"]
    done.steps, done.guarded = course.spent, course.guarded + len(course.events())
    return done


def calls_for_change(finding: Finding) -> bool:
    """Of settings, and at once."""
    is_urgent = finding.severity == "act" or finding.code == "TW107"
    return is_urgent and is_repairable(finding.code)


def change(
    course: Course, acts: Sequence[Finding], first: Snapshot, most: int, done: Repaired
) -> bool:
    """Try what the findings suggest from the best snapshot, and go on with the best change."""
    codes = [each.code for each in acts]
    start = min((first, *course.snapshots), key=lambda each: each.loss)
    count = max(LEAST_TRY, int(TRY_SHARE * course.planned))
    options = suggestions(codes, chosen_of(course))
    if set(codes) <= CERTAIN:
        options = options[1:]  # a short try favours what was too low, or does not show the harm
    left = most - course.spent
    while len(options) > 1 and left - len(options) * count < LEAST_LEFT * course.planned:
        options.pop()
    if not options or not options[-1].settings:
        return False
    scores = [0.0] if len(options) == 1 else [score(course, start, o, count) for o in options]
    best = min(range(len(options)), key=lambda i: scores[i])
    course.go_back(start)
    course.planned = start.step + min(course.meta["recipe"]["steps"], most - course.spent)
    apply(course, options[best])
    done.did.append(f"{'+'.join(codes)} at {start.step}: {options[best].words}")
    return True


def chosen_of(course: Course) -> dict[str, Any]:
    """The settings that a suggestion may change."""
    recipe = course.program.recipe
    names = ("lr", "clip", "batch_size", "weight_decay", "schedule")
    return {name: getattr(recipe, name) for name in names}


def score(course: Course, start: Snapshot, option: Suggestion, count: int) -> float:
    """The validation loss after so many steps with a change."""
    before = course.chosen
    course.go_back(start)
    apply(course, option)
    course.advance(count, quietly=True)
    course.chosen = before
    return course.loss()


def apply(course: Course, option: Suggestion) -> None:
    """Change the settings of a program that is under way."""
    program: Program = course.program
    settings, recipe = option.settings, program.recipe
    if "lr" in settings:
        times, usual = settings["lr"] / recipe.lr, program.rate
        program.rate = lambda step: times * usual(step)
    is_late = course.step > 0.5 * course.meta["recipe"]["steps"]
    if "schedule" in settings or ("lr" in settings and is_late):
        lr, begin, end = settings.get("lr", recipe.lr), course.step, course.planned
        length = end - begin
        program.rate = lambda step: lr * factor("cosine", min(1.0, (step - 1 - begin) / length))
    if "batch_size" in settings:
        size = min(settings["batch_size"], len(program.data.train))
        program.order = shuffled(len(program.data.train), size, course.meta["run"]["seed"])
    if "weight_decay" in settings:
        for group in program.optimizer.param_groups:
            group["weight_decay"] = settings["weight_decay"]
    program.recipe = replace(recipe, **settings)
