"""The table of losses: what a descent makes small, and which metrics are measured beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from thalweg.errors import DataError, ThalwegError, UsageError
from thalweg.tasks.callables import callable_named, in_a_line, is_callable_name
from thalweg.tasks.losses import classes, numbers
from thalweg.tasks.losses.shapes import like
from thalweg.tasks.metrics import METRICS, Metric
from thalweg.tasks.reading import Reading
from thalweg.tasks.spelling import numbers_of

Outputs = Any
Targets = Any


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss and the metrics that go with it.

    mean(outputs, targets) -> 0-d tensor, the mean over the batch
    each(outputs, targets) -> tensor of shape (n,), the loss of each sample; of a function of the
    user's own it may be the mean, 0-d, where that is all that it gives
    fits: kinds of targets that it is for: classes, labels (0 and 1), numbers; link: how outputs
    become answers (`thalweg.tasks.reading`); levels: of quantiles
    settings: with their defaults; words: what it means
    """

    name: str
    mean: Callable[[Outputs, Targets], Tensor]
    each: Callable[[Outputs, Targets], Tensor]
    metrics: tuple[Metric, ...] = ()
    fits: tuple[str, ...] = ()
    link: str = "identity"
    levels: tuple[float, ...] = ()
    settings: Mapping[str, float] = field(default_factory=dict)
    words: str = ""

    def weighted(self, outputs: Outputs, targets: Targets, weights: Tensor) -> Tensor:
        """The mean of weight times loss over the batch, 0-d; weights, (n,), are 1 on the average.

        Divided by the rows and not by their weights, so that over all batches it is exactly the
        weighted mean, however the rows fall into batches and these into parts.
        """
        losses = self.each(outputs, targets)
        if losses.shape != weights.shape:
            raise UsageError(
                f"loss {self.name} gives a tensor of shape {tuple(losses.shape)}: to weigh "
                f"{len(weights)} rows it must give one number for each, ({len(weights)},)"
            )
        return (losses * weights).mean()


def _mean_of(each: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def mean(outputs: Outputs, targets: Targets, **settings: Any) -> Tensor:
        return each(outputs, targets, **settings).mean()

    return mean


def _mse(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(like(outputs, targets), targets)


def _row(name: str, each: Callable[..., Tensor], **more: Any) -> Objective:
    metrics = tuple(METRICS[metric] for metric in more.pop("metrics"))
    mean = more.pop("mean", _mean_of(each))
    return Objective(name, mean, each, metrics, **more)


_NUMBERS = ("rmse", "r2")

OBJECTIVES = {
    row.name: row
    for row in (
        _row(
            "cross_entropy",
            classes.cross_entropy,
            mean=classes.mean_cross_entropy,
            metrics=("accuracy",),
            fits=("classes",),
            link="softmax",
            words="surprise at the true class, -log of its probability",
        ),
        _row(
            "focal",
            classes.focal,
            metrics=("accuracy", "log_loss"),
            fits=("classes",),
            link="softmax",
            settings={"gamma": 2.0},
            words="cross-entropy in which rows that are answered well count little",
        ),
        _row(
            "bce",
            classes.bce,
            metrics=("accuracy",),
            fits=("classes", "labels"),
            link="sigmoid",
            words="surprise at each truth, 0 or 1: one output for two classes, or for each label",
        ),
        _row(
            "mse",
            numbers.mse,
            mean=_mse,
            metrics=_NUMBERS,
            fits=("numbers",),
            words="squared error: the answer is a mean, and outliers count most",
        ),
        _row(
            "mae",
            numbers.mae,
            metrics=("mae", *_NUMBERS),
            fits=("numbers",),
            words="size of the error: the answer is a median",
        ),
        _row(
            "huber",
            numbers.huber,
            metrics=("mae", *_NUMBERS),
            fits=("numbers",),
            settings={"delta": 1.0},
            words="squared below an error of delta, its size beyond, in deviations of the target",
        ),
        _row(
            "quantile",
            numbers.quantile,
            metrics=("pinball", *_NUMBERS),
            fits=("numbers",),
            link="quantiles",
            words="an output for each quantile: an interval beside the median",
        ),
        _row(
            "poisson",
            numbers.poisson,
            metrics=("mae", *_NUMBERS),
            fits=("numbers",),
            link="exp",
            words="half the Poisson deviance: counts, whose mean is exp(output)",
        ),
    )
}
"""By name."""

CUSTOMARY = {"classes": "cross_entropy", "labels": "bce", "numbers": "mse"}
"""The loss by default, by kind of target."""


def is_named(loss: object) -> bool:
    """Is it a text that stands for a loss: a row of the table, or `module:function`?"""
    if not isinstance(loss, str):
        return False
    return loss.partition(":")[0] in OBJECTIVES or is_callable_name(loss)


def objective_of(
    loss: str | Objective | Callable[[Any, Any], Tensor],
    *,
    smoothing: float = 0.0,
    levels: Sequence[float] = (),
    shift: float = 0.0,
    scale: float = 1.0,
) -> Objective:
    """The objective by name, or around a function `loss(outputs, targets)` of the user's own, which
    gives the mean, 0-d, or each sample's loss, (n,).

    smoothing: of labels; levels: of quantiles; shift, scale: what makes counts of targets
    Raises UsageError for an unknown loss, or a setting that it does not have.
    """
    if isinstance(loss, Objective):
        return loss
    if callable(loss):
        return _own(getattr(loss, "__name__", type(loss).__name__), loss)
    name, _, rest = loss.partition(":")
    if name not in OBJECTIVES and is_callable_name(loss):
        return _own(loss, callable_named(loss, "loss"))
    if name not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise UsageError(
            f"loss {loss!r} is unknown: choose one of {known}, or give a function, module:function"
        )
    row = OBJECTIVES[name]
    given: dict[str, Any] = numbers_of(f"loss {loss!r}", rest, row.settings) if rest else {}
    if smoothing:
        if name not in ("cross_entropy", "bce"):
            raise UsageError(
                f"label-smoothing has no effect on loss {name}: it is for cross_entropy and bce"
            )
        given["smoothing"] = smoothing
    if name == "quantile":
        given["levels"] = with_median(levels or (0.1, 0.5, 0.9))
    elif levels:
        raise UsageError(f"quantiles need loss quantile, and loss {name} was asked for")
    if name == "poisson":
        given |= {"shift": shift, "scale": scale}
    if not given:
        return row
    each, mean = partial(row.each, **given), partial(row.mean, **given)
    return replace(row, name=loss, each=each, mean=mean, levels=given.get("levels", ()))


def with_median(levels: Sequence[float]) -> tuple[float, ...]:
    """The levels in order, with 0.5 among them: it is the answer. Raises UsageError outside 0 .. 1.

    >>> with_median([0.9, 0.1])
    (0.1, 0.5, 0.9)
    """
    for level in levels:
        if not 0 < level < 1:
            raise UsageError(f"quantiles: {level:g} does not lie between 0 and 1, such as 0.1")
    if len(set(levels)) < len(levels):
        raise UsageError(f"quantiles: {', '.join(f'{level:g}' for level in levels)} repeat")
    return tuple(sorted({*map(float, levels), 0.5}))


def _own(name: str, function: Callable[[Any, Any], Any]) -> Objective:
    def each(outputs: Outputs, targets: Targets) -> Tensor:
        try:
            found = function(outputs, targets)
        except ThalwegError:
            raise
        except Exception as error:
            raise UsageError(
                f"loss {name} failed for outputs of shape {_shape(outputs)} and targets of shape "
                f"{_shape(targets)}: {in_a_line(error)}"
            ) from error
        if not isinstance(found, Tensor):
            raise UsageError(
                f"loss {name} returned a {type(found).__name__}: it must return a tensor, the mean "
                "loss of shape () or each row's, (n,)"
            )
        if found.dim() > 1 or (found.dim() == 1 and len(found) != len(targets)):
            raise UsageError(
                f"loss {name} returned a tensor of shape {tuple(found.shape)} for outputs of shape "
                f"{_shape(outputs)} and targets of shape {_shape(targets)}: it must be the mean "
                f"loss, (), or each row's, ({len(targets)},)"
            )
        return found

    def mean(outputs: Outputs, targets: Targets) -> Tensor:
        found = each(outputs, targets)
        return found.mean() if found.dim() else found

    return Objective(name, mean, each, words="a function of your own")


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def with_class_weights(objective: Objective, weights: Sequence[float]) -> Objective:
    """An objective in which a row's loss counts by its class; weights: of each class, in order."""
    values = torch.tensor(weights, dtype=torch.float32)
    plain, held = objective.each, {}

    def each(outputs: Outputs, targets: Targets) -> Tensor:
        found = held.get(targets.device)
        if found is None:  # on the device once, and not at each step
            found = held[targets.device] = values.to(targets.device)
        losses = plain(outputs, targets)
        return losses * found[targets.long()].to(losses.dtype)

    return replace(objective, each=each, mean=_mean_of(each))


def objective_saved(reading: Reading) -> Objective:
    """The objective of a run, from what was saved of it. Raises DataError where it was a function
    that has no name."""
    if reading.loss is None or not is_named(reading.loss):
        raise DataError("this run has a loss of its own: score it with the function that made it")
    is_quantile = reading.link == "quantiles"
    found = objective_of(
        reading.loss,
        smoothing=reading.smoothing,
        levels=reading.quantiles if is_quantile else (),
        shift=reading.shift,
        scale=reading.scale,
    )
    return with_class_weights(found, reading.class_weights) if reading.class_weights else found
