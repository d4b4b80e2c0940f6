"""A task of the user's own as the data of a fit: an object, or `module:function` that makes one."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from typing import Any

import torch

from thalweg.errors import UsageError
from thalweg.keys import Purpose, key
from thalweg.tasks.arrays import of_arrays
from thalweg.tasks.callables import callable_named, called, is_callable_name
from thalweg.tasks.draws import put_back, seed_draws
from thalweg.tasks.models.own import check_module
from thalweg.tasks.streams import Stream
from thalweg.tasks.study import Study
from thalweg.tasks.task import Task


def is_task_name(data: Any) -> bool:
    """Is it spelled as `module:function` is, and no file of that name?"""
    return isinstance(data, str) and is_callable_name(data) and not os.path.exists(data)


def task_made(name: str, *, seed: int) -> Task:
    """The task that `module:function` returns; what it draws comes from the seed, which it is given
    if it takes one.

    Raises UsageError where it is not there, fails, or returns something else.
    """
    function, what = callable_named(name, "task"), f"task {name!r}"
    with put_back():
        seed_draws(key(Purpose.START, seed))
        task = called(function, {"seed": seed}, what)
    if not isinstance(task, Task):
        raise UsageError(f"{what} returned a {type(task).__name__}: it must return a thalweg.Task")
    return task


def of_task(task: Task, **parting: Any) -> Study:
    """A study of the task's own data; what it does not bring to validate and to test is shared out.

    parting: as in `of_arrays`, without the samples themselves
    Raises UsageError for a model without parameters, or batches that cannot be had by index.
    """
    check_module(task.model, what="the task's model")
    if isinstance(task.data, Stream):
        raise UsageError(
            "the task's data is a loader of batches: fit needs data that can be had by index, a "
            "pair of arrays or a Dataset; or take the steps yourself, thalweg.descend(task, ...)"
        )
    study = of_arrays(
        task.data,
        loss=task.objective,
        validation=task.validation,
        test=task.test,
        **parting,
    )
    return replace(study, name="the task", metrics=task.metrics, task=task)


def with_data(task: Task, study: Study, device: torch.device) -> Task:
    """The task, with the study's samples, on the device; its model is the same object."""
    task = copy.copy(task)
    task.model.to(device)
    task.data, task.validation = study.train.to(device), study.validation.to(device)
    return task
