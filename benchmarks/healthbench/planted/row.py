"""What is changed of a sound run: a fault, or what makes a healthy run hard to tell from one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe, Task
from benchmarks.healthbench.sets import Data

START, MID = "start", "mid"

Rule = Literal[
    "harm",
    "error",
    "plateau",
    "definition",
    "nonfinite",
    "spikes",
    "rise",
    "missed",
    "honest",
    "forgotten",
    "misread",
]


def _same_recipe(recipe: Recipe, amount: float) -> Recipe:
    return recipe


def _same_data(data: Data, amount: float, random: np.random.Generator) -> Data:
    return data


def _nothing(program: Program, amount: float) -> None:
    pass


def anywhere(task: Task, recipe: Recipe) -> bool:
    """On every task, with every recipe."""
    return True


@dataclass(frozen=True)
class Planted:
    """A row. codes: true findings, the main cause first; none where the run stays healthy

    mild, strong: amounts, one of which is drawn; none: there is no such strength
    recipe, data, plant: what is changed, of the settings, of the samples, of the program
    when: from the start or from the middle; needs: tasks and recipes on which it can be planted
    rule: by which the run counts as faulty (`judge`); high_rate: the outcome decides the main code
    num: runs of each task, strength and time; more where the fault is rare among the others
    """

    name: str
    codes: tuple[str, ...]
    mild: tuple[float, ...] = ()
    strong: tuple[float, ...] = (1.0,)
    recipe: Callable[[Recipe, float], Recipe] = _same_recipe
    data: Callable[[Data, float, np.random.Generator], Data] = _same_data
    plant: Callable[[Program, float], None] = _nothing
    when: tuple[str, ...] = (START,)
    needs: Callable[[Task, Recipe], bool] = anywhere
    rule: Rule = "harm"
    high_rate: bool = False
    num: int = 1

    @property
    def is_fault(self) -> bool:
        """Else it is hard, but healthy."""
        return bool(self.codes)


def of_classes(task: Task, recipe: Recipe) -> bool:
    """Each sample is of a class."""
    return task.kind == "classes"


def of_many_classes(task: Task, recipe: Recipe) -> bool:
    """Enough of them for two tasks."""
    return task.kind == "classes" and task.num_classes >= 5


def of_labels(task: Task, recipe: Recipe) -> bool:
    """Targets are classes or symbols."""
    return task.kind in ("classes", "symbols")


def of_numbers(task: Task, recipe: Recipe) -> bool:
    """The target is a number."""
    return task.kind == "numbers"


def of_floats(task: Task, recipe: Recipe) -> bool:
    """Inputs are numbers or pixels, no symbols."""
    return task.family not in ("bag", "language", "vectors", "reader", "phrases")


def of_columns(task: Task, recipe: Recipe) -> bool:
    """Inputs are columns of a table."""
    return task.family in ("layers", "residual")


def of_batches(task: Task, recipe: Recipe) -> bool:
    """Samples have an order that a sort can give them."""
    return task.family != "language" and task.kind in ("classes", "numbers")


def of_relu(task: Task, recipe: Recipe) -> bool:
    """ReLU without a normalisation before it, and no way past it."""
    return recipe.shape.activation == "relu" and recipe.shape.norm == "none" and _is_plain(task)


def of_plain(task: Task, recipe: Recipe) -> bool:
    """Layers one behind the other, without a normalisation."""
    return recipe.shape.norm == "none" and _is_plain(task)


def of_stack(task: Task, recipe: Recipe) -> bool:
    """Layers one behind the other or with ways past them, without a normalisation."""
    return recipe.shape.norm == "none" and task.family not in ("language", "reader", "passed")


def of_hidden(task: Task, recipe: Recipe) -> bool:
    """Hidden layers are blocks of the kind in `models.block`."""
    return task.family not in ("language", "reader")


def of_modes(task: Task, recipe: Recipe) -> bool:
    """The network is another one in training."""
    return recipe.shape.norm == "batch" or recipe.shape.dropout > 0


def of_batch_norm(task: Task, recipe: Recipe) -> bool:
    return recipe.shape.norm == "batch" and task.family not in ("language", "reader")


def without_batch_norm(task: Task, recipe: Recipe) -> bool:
    return recipe.shape.norm != "batch"


def _is_plain(task: Task) -> bool:
    return task.family in ("layers", "convnet", "bag", "pretrained")
