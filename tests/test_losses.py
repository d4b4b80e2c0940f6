"""Losses and metrics: the laws that every row of the two tables keeps."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch.nn import functional

from thalweg.errors import UsageError
from thalweg.tasks.jackknife import noise_of
from thalweg.tasks.metrics import METRICS, metric_of
from thalweg.tasks.objectives import OBJECTIVES, objective_of, with_class_weights
from thalweg.tasks.reading import Reading

N = 40


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator())


CLASSES = torch.randint(0, 3, (N,), generator=generator())
TRUTHS = torch.randint(0, 2, (N, 4), generator=generator())
NUMBERS = draw(N)
COUNTS = torch.poisson(torch.full((N,), 3.0, dtype=torch.float64), generator=generator())


def focal(outputs: torch.Tensor, targets: torch.Tensor, gamma: float) -> torch.Tensor:
    p = torch.softmax(outputs, dim=1)[torch.arange(len(targets)), targets]
    return (-((1 - p) ** gamma) * p.log()).mean()


def sklearn_pinball(outputs: torch.Tensor, targets: torch.Tensor, levels: Any) -> torch.Tensor:
    found = [
        sk.mean_pinball_loss(targets, outputs[:, i].detach(), alpha=level)
        for i, level in enumerate(levels)
    ]
    return torch.tensor(found, dtype=torch.float64).mean()


def half_deviance(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    found = sk.mean_poisson_deviance(targets, outputs.detach().exp()) / 2
    return torch.tensor(found, dtype=torch.float64)


LOSSES = {
    "cross_entropy": ({}, draw(N, 3), CLASSES, functional.cross_entropy),
    "cross_entropy smoothed": (
        {"smoothing": 0.1},
        draw(N, 3),
        CLASSES,
        partial(functional.cross_entropy, label_smoothing=0.1),
    ),
    "focal": ({}, draw(N, 3), CLASSES, partial(focal, gamma=2.0)),
    "focal:gamma=0.5": ({}, draw(N, 3), CLASSES, partial(focal, gamma=0.5)),
    "bce": (
        {},
        draw(N, 4),
        TRUTHS,
        lambda o, t: functional.binary_cross_entropy_with_logits(o, t.double()),
    ),
    "bce of two classes": (
        {},
        draw(N, 1),
        CLASSES.clamp(max=1),
        lambda o, t: functional.cross_entropy(torch.cat([torch.zeros_like(o), o], 1), t),
    ),
    "mse": ({}, draw(N, 1), NUMBERS.flip(0), lambda o, t: functional.mse_loss(o[:, 0], t)),
    "mae": ({}, draw(N), NUMBERS.flip(0), functional.l1_loss),
    "huber": ({}, 3 * draw(N), NUMBERS.flip(0), functional.huber_loss),
    "huber:delta=0.3": (
        {},
        draw(N),
        NUMBERS.flip(0),
        partial(functional.huber_loss, delta=0.3),
    ),
    "quantile": (
        {"levels": (0.1, 0.5, 0.9)},
        draw(N, 3),
        NUMBERS.flip(0),
        partial(sklearn_pinball, levels=(0.1, 0.5, 0.9)),
    ),
    "poisson": ({}, draw(N), COUNTS, half_deviance),
}


def of(name: str):
    more, outputs, targets, known = LOSSES[name]
    return objective_of(name.partition(" ")[0], **more), outputs, targets, known


def test_every_loss_sits_the_exam():
    assert {name.partition(" ")[0].partition(":")[0] for name in LOSSES} == OBJECTIVES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_what_others_define(name):
    objective, outputs, targets, known = of(name)
    assert objective.mean(outputs, targets).item() == pytest.approx(
        known(outputs, targets).item(), rel=1e-12
    )


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_of_the_samples_average_to_the_mean(name):
    objective, outputs, targets, _ = of(name)
    losses = objective.each(outputs, targets)
    assert losses.shape == (N,)
    assert losses.mean().item() == pytest.approx(objective.mean(outputs, targets).item(), rel=1e-12)
    assert (losses >= -1e-12).all()


@pytest.mark.parametrize("size", [0.0, 1.0, 60.0])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite(name, size):
    objective, outputs, targets, _ = of(name)
    p = (size * outputs).float().requires_grad_()
    objective.mean(p, targets.float() if targets.is_floating_point() else targets).backward()
    assert p.grad is not None
    assert torch.isfinite(p.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_weights_repeat_samples(name):
    """A sample of weight 2 is a sample that stands there twice."""
    objective, outputs, targets, _ = of(name)
    counts = torch.arange(N) % 3
    twice = torch.repeat_interleave(torch.arange(N), counts)
    found = objective.weighted(outputs, targets, counts.double() / counts.double().mean())
    expected = objective.mean(outputs[twice], targets[twice])
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_gradient_of_poisson_is_torchs():
    grads = []
    for loss in (objective_of("poisson").mean, functional.poisson_nll_loss):
        p = draw(N).requires_grad_()
        loss(p, COUNTS).backward()
        grads.append(p.grad)
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-14)


def test_a_standardised_count_is_a_count():
    mean, deviation = COUNTS.mean().item(), COUNTS.std().item()
    standard, outputs = (COUNTS - mean) / deviation, draw(N)
    loss = objective_of("poisson", shift=1.0, scale=deviation / mean)
    plain = objective_of("poisson").mean(outputs + np.log(mean), COUNTS) / mean
    assert loss.mean(outputs, standard).item() == pytest.approx(plain.item(), rel=1e-10)
    numbers = Reading("exp", shift=1.0, scale=deviation / mean).numbers(outputs)
    torch.testing.assert_close(numbers * deviation + mean, outputs.exp() * mean)


def test_class_weights_are_torchs():
    weights = [0.5, 1.0, 4.0]
    outputs = draw(N, 3)
    found = with_class_weights(objective_of("cross_entropy"), weights).each(outputs, CLASSES)
    expected = functional.cross_entropy(
        outputs, CLASSES, weight=torch.tensor(weights, dtype=torch.float64), reduction="none"
    )
    torch.testing.assert_close(found, expected)


REFUSED = {
    "focal:gama=2": "'gama' is not a setting of it, which takes gamma=NUMBER",
    "focal:gamma=-1": "must be a number larger than 0",
    "huber:delta=x": "delta is 'x'",
    "mse:delta=1": "which takes nothing",
    "msee": "is unknown: choose one of cross_entropy",
}


@pytest.mark.parametrize(("loss", "words"), REFUSED.items())
def test_a_wrong_spelling_is_told(loss, words):
    with pytest.raises(UsageError, match=words) as caught:
        objective_of(loss)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(N, 3), (N, 1), (5,), "a number"])
def test_a_function_of_the_wrong_shape_is_told(shape):
    def mine(outputs, targets):
        return 0.5 if shape == "a number" else torch.zeros(shape)

    with pytest.raises(
        UsageError, match=r"mine returned a .*\(40,\)|mine returned a float"
    ) as told:
        objective_of(mine).mean(draw(N), NUMBERS)
    assert "\n" not in str(told.value)


# Metrics against scikit-learn, plain and weighted.

PROBABILITIES = torch.softmax(draw(N, 3), dim=1).numpy()
TWO = torch.stack([torch.zeros(N, dtype=torch.float64), draw(N)], dim=1)
P_TWO = torch.softmax(TWO, dim=1).numpy()
BINARY = CLASSES.clamp(max=1)
SOFTMAX, IDENTITY = Reading("softmax"), Reading("identity")
LEVELS = (0.1, 0.5, 0.9)
SORTED = draw(N, 3).sort(dim=1).values


def macro(score, weights):
    rows = [score(i == CLASSES, PROBABILITIES[:, i], sample_weight=weights) for i in range(3)]
    return np.mean(rows)


def calibration(weights):
    stated, right = P_TWO.max(axis=1), P_TWO.argmax(axis=1) == BINARY.numpy()
    mass = np.ones(N) if weights is None else weights
    total = 0.0
    for rows in np.array_split(np.argsort(stated, kind="stable"), 10):
        gap = np.average(right[rows], weights=mass[rows] + 1e-300)
        gap -= np.average(stated[rows], weights=mass[rows] + 1e-300)
        total += abs(gap) * mass[rows].sum() / mass.sum()
    return total


SCORES = {
    "accuracy": (
        SOFTMAX,
        TWO,
        BINARY,
        lambda w: sk.accuracy_score(BINARY, P_TWO.argmax(1), sample_weight=w),
    ),
    "balanced_accuracy": (
        SOFTMAX,
        draw(N, 3),
        CLASSES,
        lambda w: sk.balanced_accuracy_score(CLASSES, PROBABILITIES.argmax(1), sample_weight=w),
    ),
    "f1": (
        SOFTMAX,
        TWO,
        BINARY,
        lambda w: sk.f1_score(BINARY, P_TWO.argmax(1), sample_weight=w),
    ),
    "f1 of many classes": (
        SOFTMAX,
        draw(N, 3),
        CLASSES,
        lambda w: sk.f1_score(CLASSES, PROBABILITIES.argmax(1), sample_weight=w, average="macro"),
    ),
    "auc": (
        SOFTMAX,
        TWO,
        BINARY,
        lambda w: sk.roc_auc_score(BINARY, P_TWO[:, 1], sample_weight=w),
    ),
    "auc of one output": (
        Reading("sigmoid"),
        TWO[:, 1],
        BINARY,
        lambda w: sk.roc_auc_score(BINARY, P_TWO[:, 1], sample_weight=w),
    ),
    "auc of many classes": (
        SOFTMAX,
        draw(N, 3),
        CLASSES,
        lambda w: macro(sk.roc_auc_score, w),
    ),
    "average_precision": (
        Reading("softmax", positive=0),
        TWO,
        BINARY,
        lambda w: sk.average_precision_score(BINARY == 0, P_TWO[:, 0], sample_weight=w),
    ),
    "average_precision of labels": (
        Reading("sigmoid"),
        draw(N, 4),
        TRUTHS,
        lambda w: sk.average_precision_score(TRUTHS, torch.sigmoid(draw(N, 4)), sample_weight=w),
    ),
    "f1 of labels": (
        Reading("sigmoid"),
        draw(N, 4),
        TRUTHS,
        lambda w: sk.f1_score(TRUTHS, draw(N, 4) > 0, average="macro", sample_weight=w),
    ),
    "accuracy of labels": (
        Reading("sigmoid"),
        draw(N, 4),
        TRUTHS,
        lambda w: sk.accuracy_score(TRUTHS, draw(N, 4) > 0, sample_weight=w),
    ),
    "log_loss": (
        SOFTMAX,
        draw(N, 3),
        CLASSES,
        lambda w: sk.log_loss(CLASSES, PROBABILITIES, sample_weight=w),
    ),
    "calibration_error": (SOFTMAX, TWO, BINARY, calibration),
    "rmse": (
        IDENTITY,
        draw(N),
        NUMBERS.flip(0),
        lambda w: sk.root_mean_squared_error(NUMBERS.flip(0), draw(N), sample_weight=w),
    ),
    "mae": (
        IDENTITY,
        draw(N),
        NUMBERS.flip(0),
        lambda w: sk.mean_absolute_error(NUMBERS.flip(0), draw(N), sample_weight=w),
    ),
    "r2": (
        IDENTITY,
        draw(N),
        NUMBERS.flip(0),
        lambda w: sk.r2_score(NUMBERS.flip(0), draw(N), sample_weight=w),
    ),
    "pinball": (
        Reading("quantiles", quantiles=LEVELS),
        draw(N, 3),
        NUMBERS,
        lambda w: np.mean(
            [
                sk.mean_pinball_loss(NUMBERS, SORTED[:, i], alpha=q, sample_weight=w)
                for i, q in enumerate(LEVELS)
            ]
        ),
    ),
}


def test_every_metric_sits_the_exam():
    assert {name.partition(" ")[0] for name in SCORES} == METRICS.keys()
    for row in METRICS.values():
        assert set(row.fits) <= {"classes", "labels", "numbers"}
        assert row.words


@pytest.mark.parametrize("is_weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", SCORES)
def test_a_metric_is_scikit_learns(name, is_weighted):
    reading, outputs, targets, known = SCORES[name]
    weights = torch.arange(N, dtype=torch.float64) % 4 if is_weighted else None
    found = METRICS[name.partition(" ")[0]].bound(reading)(outputs, targets, weights)
    expected = known(None if weights is None else weights.numpy())
    assert found == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("name", SCORES)
def test_weights_that_are_alike_say_nothing(name):
    reading, outputs, targets, _ = SCORES[name]
    metric = METRICS[name.partition(" ")[0]].bound(reading)
    alike = metric(outputs, targets, torch.full((N,), 2.5))
    assert alike == pytest.approx(metric(outputs, targets), rel=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_better_answers_score_better(name):
    """`rises` says which way: answers drawn towards the truth score better than these."""
    reading, outputs, targets, _ = SCORES[name]
    metric = METRICS[name.partition(" ")[0]].bound(reading)
    if reading.link == "softmax":
        truth = 20 * functional.one_hot(targets, outputs.shape[1]).double()
    elif reading.link == "sigmoid":
        truth = 20 * (2 * targets.double() - 1)
    else:
        truth = targets if outputs.dim() == 1 else targets.unsqueeze(1).expand_as(outputs)
    better = metric(truth, targets)
    worse = metric(outputs, targets)
    assert better > worse if metric.rises else better < worse


def test_a_function_of_the_users_own_is_a_metric():
    metric = metric_of("sklearn.metrics:median_absolute_error").bound(IDENTITY, 10.0)
    found = metric(draw(N), NUMBERS.flip(0))
    expected = 10 * sk.median_absolute_error(NUMBERS.flip(0), draw(N))
    assert found == pytest.approx(expected)
    assert not metric.rises
    assert metric_of("sklearn.metrics:r2_score").rises


@pytest.mark.parametrize("value", [np.zeros(3), np.zeros((2, 2)), "good", None])
def test_a_metric_that_is_no_number_is_told(value):
    def mine(targets, answers):
        return value

    with pytest.raises(UsageError, match="must return one number") as caught:
        metric_of(mine).bound(IDENTITY)(draw(N), NUMBERS)
    assert "(40,)" in str(caught.value)


def test_the_jackknife_is_the_standard_error_of_a_mean():
    """Of a mean over equal parts it is that of the ten means of the parts."""
    values = draw(1000).reshape(100, 10)
    whole = values.mean().item()
    without = [(1000 * whole - values[:, i].sum().item()) / 900 for i in range(10)]
    expected = values.mean(dim=0).std().item() / np.sqrt(10)
    assert noise_of(without, [0.0] * 10) == pytest.approx(expected, rel=1e-9)
