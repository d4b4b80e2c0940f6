"""The model of a study: built by its name, or the user's own, and seen to fit the data."""

from __future__ import annotations

from typing import Any

from torch import nn

from thalweg.errors import UsageError
from thalweg.tasks.callables import is_callable_name
from thalweg.tasks.models.bag import Bag
from thalweg.tasks.models.build import build
from thalweg.tasks.models.columns import Columns
from thalweg.tasks.models.fits import check_outputs
from thalweg.tasks.models.own import check_module
from thalweg.tasks.models.sizes import sized
from thalweg.tasks.models.spelling import parsed
from thalweg.tasks.sources import Arrays
from thalweg.tasks.study import Study
from thalweg.types import Source


def with_sizes(model: Any, study: Study) -> Any:
    """The model's name with its sizes in it, where the data decides them."""
    if not isinstance(model, str) or study.inputs is None:
        return model
    return sized(parsed(model), study.inputs).name


def model_of(study: Study, model: Any, *, seed: int, dropout: float) -> nn.Module:
    """Raises UsageError for a name that is unknown or does not fit, or what is no model."""
    if isinstance(model, str):
        assert study.inputs is not None
        module = build(model, study.inputs, study.num_outputs, seed=seed, dropout=dropout)
        _learn(module, study.train)
        return module
    if dropout:
        raise UsageError(
            f"dropout is {dropout:g}, and the model is your own: put nn.Dropout({dropout:g}) into "
            "it, or leave the setting out"
        )
    return check_module(model)


def _learn(module: nn.Module, train: Source) -> None:
    """What a first layer learns from the training rows before the first step."""
    for first in module.modules():
        if isinstance(first, Columns | Bag) and isinstance(train, Arrays):
            first.learn(train.inputs)


def check_own(module: nn.Module, model: Any, train: Source, study: Study, *, seed: int) -> None:
    """Raise UsageError where a model that is not ours does not give what the target needs.

    model: as it was asked for; train: on the model's device
    """
    is_ours = isinstance(model, str) and not is_callable_name(model)
    if is_ours or study.inputs is None:
        return
    name = model if isinstance(model, str) else type(model).__name__
    needs = f"{study.num_outputs} classes need" if study.classes else "one number a row needs"
    check_outputs(module, train, study.num_outputs, what=f"model {name!r}", needs=needs, seed=seed)
