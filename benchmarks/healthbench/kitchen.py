"""The table of recipes: what is tried on every task, and a recipe filled in for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.healthbench.recipes import TASKS, Recipe, Task


@dataclass(frozen=True)
class Row:
    """scale: of the task's rate for the optimizer; length: of its steps; batch: 0 is the task's

    shape: changes of the task's network; more: fields of `Recipe` as they are
    """

    name: str
    optimizer: str
    schedule: str
    scale: float = 1.0
    length: float = 1.0
    batch: int = 0
    shape: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


BATCH_NORM, LAYER_NORM = {"norm": "batch"}, {"norm": "layer"}
DEEP = {"depth": 4, "norm": "batch"}

ROWS = (
    Row("sgd-constant", "sgd", "constant", 0.5),
    Row("sgd-cosine", "sgd", "cosine", more={"weight_decay": 1e-4}),
    Row("sgd-step-clip", "sgd", "step", more={"clip": 1.0}, length=1.2),
    Row("sgd-cycle-norm", "sgd", "one_cycle", shape=BATCH_NORM, batch=64),
    Row("sgd-deep-norm", "sgd", "cosine", shape=DEEP, length=0.8),
    Row("adam-constant", "adam", "constant", 0.5, length=0.8),
    Row("adam-linear-small", "adam", "linear", 0.5, batch=16),
    Row("adam-tanh", "adam", "cosine", shape={"activation": "tanh"}),
    Row("adam-half", "adam", "cosine", more={"precision": "fp16", "clip": 1.0, "warmup": 0.05}),
    Row("adamw-warm-norm", "adamw", "cosine", shape=LAYER_NORM, more={"warmup": 0.1}),
    Row(
        *("adamw-dropout", "adamw", "cosine"),
        shape={"dropout": 0.2, "activation": "gelu"},
        more={"weight_decay": 0.05},
    ),
    Row(
        *("adamw-wide", "adamw", "one_cycle", 1.5),
        batch=128,
        shape={"width": 96},
        more={"clip": 1.0, "weight_decay": 0.01},
    ),
    Row("rmsprop-constant", "rmsprop", "constant", 0.5),
    Row("rmsprop-deep-norm", "rmsprop", "step", 0.5, shape=DEEP),
    Row("adagrad-constant", "adagrad", "constant"),
    Row("adagrad-large", "adagrad", "constant", 1.5, batch=256, shape={"dropout": 0.1}, length=0.7),
    Row("lion-cosine", "lion", "cosine", 2.5, more={"weight_decay": 0.1}),
    Row("lion-step-norm", "lion", "step", shape=LAYER_NORM, batch=64),
    Row("muon-warm", "muon", "linear", 2.5, more={"warmup": 0.1, "clip": 1.0}),
)


UNSEEN_ROWS = (
    Row("nesterov-wsd-clip", "nesterov", "wsd", more={"warmup": 0.05, "clip": 1.0}),
    Row(
        *("nesterov-stairs-parts", "nesterov", "stairs", 1.5),
        shape={"activation": "gelu"},
        more={"accumulate": 2, "weight_decay": 1e-4, "evaluations": 25},
    ),
    Row("nesterov-polynomial", "nesterov", "polynomial", 0.7, shape=LAYER_NORM),
    Row(
        *("nadam-constant-average", "nadam", "constant", 0.5),
        more={"average": 0.9, "evaluations": 100},
    ),
    Row("nadam-cycle-wide", "nadam", "one_cycle", batch=128, shape={"width": 80}, length=0.8),
    Row(
        *("radam-polynomial-long", "radam", "polynomial"),
        length=1.6,
        more={"evaluations": 150, "clip": 0.5},
    ),
    Row("radam-constant-dropout", "radam", "constant", 0.4, shape={"dropout": 0.15}),
    Row("adadelta-constant", "adadelta", "constant", 0.6, more={"evaluations": 12}),
    Row("adafactor-root-warm", "adafactor", "root", 1.5, more={"warmup": 0.1}, batch=64),
    Row("adamax-linear-small", "adamax", "linear", batch=16, more={"evaluations": 10}),
    Row("lion-polynomial", "lion", "polynomial", more={"weight_decay": 0.1, "warmup": 0.05}),
    Row("muon-wsd-average", "muon", "wsd", more={"average": 0.8, "clip": 1.0}),
    Row(
        *("adamw-cosine-long", "adamw", "cosine"),
        length=2.2,
        more={"weight_decay": 0.02, "evaluations": 110},
    ),
)
"""Of unseen tasks."""

FRESH_ROWS = (
    Row("adamw-wsd-clip", "adamw", "wsd", more={"warmup": 0.1, "clip": 1.0, "weight_decay": 0.01}),
    Row("adamw-root-large", "adamw", "root", 2.0, batch=128, more={"warmup": 0.05}),
    Row("adam-constant-rare", "adam", "constant", 0.5, more={"evaluations": 12}),
    Row("adam-cycle-often", "adam", "one_cycle", more={"evaluations": 120}),
    Row("adam-step-quiet", "adam", "step", more={"tells_scores": False}),
    Row("sgd-cycle-clip", "sgd", "one_cycle", more={"clip": 1.0}),
    Row("sgd-exponential", "sgd", "exponential", more={"weight_decay": 1e-4, "evaluations": 20}),
    Row(
        *("sgd-constant-average", "sgd", "constant", 0.6),
        more={"average": 0.9, "tells_scores": False},
    ),
    Row("rmsprop-linear-small", "rmsprop", "linear", 0.6, batch=16, more={"evaluations": 60}),
    Row("lion-cosine-warm", "lion", "cosine", more={"warmup": 0.1, "weight_decay": 0.05}),
    Row("nadam-cosine-gelu", "nadam", "cosine", shape={"activation": "gelu", "dropout": 0.1}),
    Row("radam-polynomial-parts", "radam", "polynomial", more={"accumulate": 2}),
)
"""Of fresh tasks."""


THIRD_ROWS = (
    Row("sgd-milestones", "sgd", "milestones", more={"weight_decay": 5e-4}),
    Row("sgd-warm-cosine", "sgd", "cosine", 1.5, more={"warmup": 0.08, "clip": 2.0}),
    Row(
        *("sgd-light-inverse", "sgd", "inverse", 3.0),
        more={"options": {"momentum": 0.8, "nesterov": True}, "evaluations": 25},
    ),
    Row("sgd-constant-norm", "sgd", "constant", 0.25, shape=BATCH_NORM, batch=32),
    Row("adam-constant-quick", "adam", "constant", 0.5, more={"options": {"betas": (0.9, 0.98)}}),
    Row("adam-triangle", "adam", "triangle", 1.5, more={"evaluations": 60}),
    Row("adam-cosine-large", "adam", "cosine", 1.3, batch=96, shape={"width": 88}, length=0.8),
    Row("adam-linear-rare", "adam", "linear", batch=32, more={"evaluations": 15, "clip": 5.0}),
    Row(
        *("adamw-cosine-to-tenth", "adamw", "cosine_to_tenth"),
        more={"warmup": 0.05, "weight_decay": 0.05, "options": {"betas": (0.9, 0.95)}},
    ),
    Row(
        *("adamw-cycle-drop", "adamw", "one_cycle", 1.5),
        shape={"dropout": 0.15},
        length=1.3,
        more={"weight_decay": 0.01},
    ),
    Row(
        *("adamw-gelu-norm", "adamw", "wsd"),
        shape=LAYER_NORM | {"activation": "gelu"},
        more={"clip": 1.0, "warmup": 0.1, "weight_decay": 0.1, "tells_scores": False},
    ),
    Row("nadam-cosine-parts", "nadam", "cosine", batch=24, more={"accumulate": 2}),
    Row(
        *("rmsprop-stairs", "rmsprop", "stairs", 0.8),
        length=1.2,
        more={"evaluations": 80, "options": {"alpha": 0.9}},
    ),
    Row("adagrad-constant-norm", "adagrad", "constant", 0.7, shape=BATCH_NORM, length=1.2),
    Row("sgd-long", "sgd", "cosine", 0.8, length=2.0, more={"evaluations": 100}),
)
"""Of the third part."""


def recipe_of(task: Task, row: Row) -> Recipe:
    """The row with the task's rate, steps, batch size and network."""
    recipe = Recipe(
        *(row.name, row.optimizer, task.rates[row.optimizer] * row.scale, row.schedule),
        batch_size=row.batch or task.batch_size,
        steps=round(task.steps * row.length),
        shape=replace(task.shape, **row.shape),
        **row.more,
    )
    if task.family not in ("language", "reader"):
        return recipe
    return _read(recipe) if task.shape.norm == "layer" else _spoken(recipe)


def _read(recipe: Recipe) -> Recipe:
    """A transformer is never without layer norm."""
    return recipe.shaped(norm="layer")


def _spoken(recipe: Recipe) -> Recipe:
    """A language model with layers that normalise is a transformer, whose rate is a third of what
    was found for a GRU; it has no batch norm.
    """
    if recipe.shape.norm == "none" and recipe.shape.activation == "relu":
        return recipe
    lower = replace(recipe, lr=recipe.lr / 3)
    return lower.shaped(norm="layer", body="attention", depth=min(recipe.shape.depth, 2))


ROWS_OF = {"tuning": ROWS, "held-out": ROWS, "unseen": UNSEEN_ROWS, "fresh": FRESH_ROWS}
ROWS_OF["third"] = THIRD_ROWS
"""By part of the bench."""

RECIPES: dict[str, dict[str, Recipe]] = {
    task.name: {
        row.name: recipe_of(task, row) for row in ROWS_OF[task.part] if row.optimizer in task.rates
    }
    for task in TASKS.values()
}
"""By task and name."""
