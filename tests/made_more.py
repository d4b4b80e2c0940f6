"""More logs of runs that never were: what settings, accuracies, rates and clocks say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from made_logs import STEPS, evaluations, falling, log_of, noisy, plain
from thalweg.record.foreign.log import REWARDS, Log, Series

TEN = {"num_classes": 10}


def classifier(
    settings: Mapping[str, Any] = TEN,
    *,
    train: float = 0.3,
    validation: float = 0.35,
    right: float = 0.93,
    first: float = 2.3,
    **more: Any,
) -> Log:
    """Losses that settle on training and other samples, measured alike, and an accuracy."""
    at, others = evaluations(falling(first, validation), above=0.0)
    trained = evaluations(falling(first, train), above=0.0)
    accuracy = 0.1 + (right - 0.1) * (1 - np.exp(-at / 60.0))
    grain = np.round(accuracy * 1000) / 1000
    columns = {
        "loss": noisy(falling(first, train)),
        "validation_loss": (at, others),
        "train_eval_loss": trained,
        "validation_accuracy": (at, grain),
    }
    return log_of(settings, **{**columns, **more})


def steps_of(size: float, name: str = "head.weight") -> dict[str, Any]:
    """Norms of a weight and its steps: the latter are this share of the former."""
    at = np.arange(20.0, STEPS, 20.0)
    return {
        f"parameter_norm:{name}": (at, np.full(len(at), 10.0)),
        f"update_norm:{name}": (at, np.full(len(at), 10.0 * size)),
    }


def shrinking(*, to: float, loss: np.ndarray) -> Log:
    """From the middle on the weights lose a share of their norm at every step."""
    at = np.arange(10.0, STEPS, 10.0)
    kept = np.where(at < 300, 1.0, to ** ((at - 300) / 300))
    return log_of(loss=noisy(loss), parameter_norm=(at, 20.0 * kept))


def forgotten() -> np.ndarray:
    """A loss that falls to the middle, and rises again."""
    return falling() + np.maximum(0.0, np.arange(STEPS) - 330) / 500


def clipped(optimizer: str, *, left: float) -> Log:
    """A norm of 2 at every step, and a limit of 0.01."""
    norms = noisy(np.full(STEPS, 2.0), 0.2, seed=2)
    settings = {"optimizer": optimizer, "clip": 0.01, "lr": 0.1}
    return log_of(settings, loss=noisy(falling(2.3, 2.3 * left)), gradient_norm=norms)


def masked(share: float = 0.2) -> Log:
    loss = noisy(falling())
    loss[np.random.default_rng(6).random(STEPS) < share] = 0.0
    return log_of(loss=loss)


def fallen_at_once(at: int, factor: float) -> np.ndarray:
    return np.where(np.arange(STEPS) < at, 0.1, 0.1 * factor)


def decayed_by(share: float) -> np.ndarray:
    """A rate that has come down to a thousandth by this share of the run."""
    return 0.1 * 1e-3 ** np.minimum(1.0, np.arange(STEPS) / (share * STEPS))


def resting(share: float) -> np.ndarray:
    """A cosine that has come to nothing by this share of the run."""
    at = np.minimum(1.0, np.arange(STEPS) / (share * STEPS))
    return 0.05 * (1 + np.cos(np.pi * at)) + 1e-9


def raised(factor: float, up: float) -> Log:
    """In the middle the rate is raised, and the loss goes to this many times what it was."""
    is_late = np.arange(STEPS) >= 300
    loss = noisy(falling()) * np.where(is_late, up, 1.0)
    return log_of(loss=loss, lr=np.where(is_late, 0.01 * factor, 0.01))


def in_one_order(period: int, *, epoch: int | None = None) -> Log:
    pattern = np.random.default_rng(5).uniform(0.4, 1.6, size=period)
    settings = {"steps": STEPS, "epochs": STEPS / (epoch or period)}
    return log_of(settings, loss=noisy(falling(last=0.5) * np.resize(pattern, STEPS), 0.05))


def harmed() -> Log:
    """A jump a hundred times as high, and a level three times as high for good."""
    loss = noisy(falling(), 0.05)
    loss[300:] = loss[300:] * 3.0
    loss[300] *= 30.0
    return log_of(loss=loss, gradient_norm=np.ones(STEPS))


def clock(*, every: int, slow: float, since: int = 0) -> np.ndarray:
    """Seconds of a step; since some step, each so many takes so many times as long."""
    seconds = np.abs(noisy(np.full(STEPS, 0.05), 0.05))
    at = np.arange(STEPS)
    return np.where((at >= since) & (at % every == 0), slow * seconds, seconds)


def without_inputs() -> Log:
    at = np.arange(20.0, STEPS, 20.0)
    return log_of(
        loss=noisy(np.full(STEPS, 2.3), 0.02),
        **{
            "gradient_norm:first.weight": (at, np.zeros(len(at))),
            "gradient_norm:first.bias": (at, np.full(len(at), 0.3)),
        },
    )


def of_two_tasks(lost: float) -> Log:
    at, earlier = evaluations(falling(0.9, 0.9 - lost), above=0.0)
    return classifier(**{"validation_accuracy:earlier": (at, earlier)})


def to_nothing(digits: int) -> np.ndarray:
    """A loss that is printed with so many digits, and comes down to 0.000."""
    return np.round(2.3 * np.exp(-np.arange(STEPS) / 40.0), digits)


def now_and_then(*, every: int) -> Log:
    """A validation loss in every so many rows, and NaN in the others."""
    values = np.full(STEPS, np.nan)
    values[::every] = falling()[::every] + 0.05
    return log_of(loss=noisy(falling()), validation_loss=values)


def tuned(level: float, *, fall: float, noise: float, **more: Any) -> Log:
    """Small steps from what was learnt before; how many classes there are is not known."""
    curve = level - fall * np.arange(STEPS) / STEPS
    columns = {
        "loss": noisy(curve, noise),
        "validation_loss": evaluations(curve),
        "gradient_norm": noisy(1 + 0 * curve, 0.2, seed=2),
        "lr": np.full(STEPS, 1e-5),
        **steps_of(3e-5),
    }
    return log_of(**{**columns, **more})


def thinning(noise: float = 0.2) -> Log:
    """Every step of the first hundred, then one in five hundred."""
    at = np.concatenate([np.arange(100.0), np.arange(500.0, 40_000.0, 500.0)])
    curve = 0.05 + 0.65 * np.exp(-at / 300.0)
    spread = np.where(at < 100, 0.01, noise)
    values = curve * (1 + spread * np.random.default_rng(0).normal(size=len(at)))
    return log_of(loss=(at, values))


def of_another_term() -> Log:
    """What is added to the training loss grows, and other samples are fitted as well as ever."""
    return log_of(
        loss=noisy(0.3 + 70 * np.minimum(1.0, np.arange(STEPS) / 400), 0.01),
        validation_loss=evaluations(np.full(STEPS, 0.6)),
    )


def few_and_ragged() -> Log:
    at = np.arange(49.0, 650.0, 50.0)
    values = np.array([0.19, 0.13, 0.15, 0.137, 0.08, 0.126, 0.107, 0.192, 0.112, 0.08, 0.17])
    return log_of(loss=(at, np.append(values, [0.12, 0.095])))


def resumed_late() -> Log:
    return log_of(loss=(140_000.0 + 100 * np.arange(STEPS), noisy(np.full(STEPS, 3.7), 0.03)))


def of_two_kinds() -> Log:
    """Every few batches are of mixed pictures, whose loss is twice as high and more."""
    is_mixed = np.random.default_rng(3).random(STEPS) < 0.12
    return log_of(loss=noisy(falling(6.9, 1.8) * np.where(is_mixed, 2.3, 1.0), 0.03))


def learnt_before_evaluation() -> Log:
    at = np.arange(100.0, STEPS, 50.0)
    others = noisy(np.full(len(at), 0.32), 0.01)
    return log_of(loss=noisy(falling(0.31, 0.001, pace=20.0)), validation_loss=(at, others))


def of_a_policy() -> Log:
    at = np.arange(1.0, STEPS + 1)
    log = log_of(loss=noisy(0.1 + at / STEPS))
    log.kind = REWARDS
    return log


def of_a_checkpoint() -> Log:
    """What a trainer wrote beside its weights, in the middle of the run."""
    log = plain()
    log.settings, log.format = {"steps": 2 * STEPS}, "trainer_state"
    return log


def seldom_measured(*, jump: float = 1.0, level: float | None = None, every: int = 24) -> Log:
    """Two dozen evaluations, one of which jumps; or all of which are at one level."""
    at = np.arange(1.0, STEPS, every)
    values = 1.7 + 9.0 * np.exp(-at / 40.0) if level is None else np.full(len(at), level)
    values = values * (1 + 0.001 * np.random.default_rng(2).normal(size=len(at)))
    values[10] *= jump
    loss = noisy(falling(0.9, 0.693, pace=20.0)) if level else noisy(falling(9.0, 1.7, pace=40.0))
    return log_of(loss=loss, validation_loss=(at, values))


def of_samples(size: int) -> Log:
    """Batches of so few samples that one which the model does not know stands out, to the end."""
    loss = noisy(falling())
    loss[np.random.default_rng(8).random(STEPS) < 0.03] *= 8.0
    return classifier({"batch_size": size, "num_classes": 10}, loss=loss)


def of_margins() -> Log:
    """A loss that is 0 where every sample keeps its distance, as more and more batches do."""
    loss = falling(1.0, 0.03) + 0.02 * np.random.default_rng(9).normal(size=STEPS)
    return log_of(loss=np.maximum(loss, 0.0))


def thrown_from_values() -> Log:
    """Squared errors that the first steps throw up, and that end where the mean alone would; the
    first evaluation comes when that is over.
    """
    at = np.arange(1.0, STEPS + 1)
    loss = noisy(1.0 + 100 * np.exp(-at / 10) * (at > 3), 0.1)
    loss[:3] = 0.7
    measured = np.arange(150.0, STEPS + 1, 100.0)
    return log_of(loss=loss, validation_loss=(measured, np.full(len(measured), 1.2)))


def clipped_away() -> Log:
    """Clipping that leaves a millionth of each gradient, and a loss that stands at chance."""
    columns = {"clip_factor": np.full(STEPS, 1e-6), "gradient_norm": noisy(np.full(STEPS, 3.0))}
    loss = noisy(np.full(STEPS, 2.33), 0.02)
    return log_of({**TEN, "clip": 1e-6, "lr": 0.1}, loss=loss, **columns, **steps_of(1e-8))


BATCH_OF_ONE = {"batch_size": 1, "num_classes": 10}
LANGUAGE = {"num_classes": 64}
HEAVY = {"num_classes": 10, "optimizer": "sgd", "lr": 0.03, "weight_decay": 0.2}
HALF = {"precision": "bf16-weights", "num_classes": 10}


def thrown_up_with_its_weights() -> Log:
    """A rate of 10: loss and weights are thrown far up, and the weights come down again."""
    at = np.arange(10.0, STEPS, 10.0)
    size = 12.0 + 2600.0 * np.exp(-at / 40.0) - 11.0 * (at > 300)
    log = thrown_to_chance(learnt_first=False)
    log.series["parameter_norm"] = Series("parameter_norm", at, size)
    return log


def right_now_and_then() -> Log:
    """Shuffled labels of ten classes; of 180 rows a guess is right in up to 16%."""
    at, values = evaluations(2.36 + 0.9 * np.arange(STEPS) / STEPS, above=0.0)
    right = np.random.default_rng(4).binomial(180, 0.1, size=len(at)) / 180
    right[7] = 29 / 180
    loss = noisy(falling(2.42, 0.7, pace=250.0), 0.05)
    return log_of(TEN, loss=loss, validation_loss=(at, values), validation_accuracy=(at, right))


def margins() -> Log:
    """A margin loss: what is kept apart costs nothing, and more and more is."""
    cost = np.random.default_rng(8).normal(size=STEPS) + falling(3.0, 0.2)
    return log_of(loss=np.maximum(0.0, cost))


MORE_HEALTHY: dict[str, Callable[[], Log]] = {
    "a sound classifier": classifier,
    "one that smooths its labels": lambda: classifier(train=0.4, validation=0.36, right=0.97),
    "a language model by symbols": lambda: classifier(
        LANGUAGE, train=1.85, validation=1.9, right=0.45, first=4.1
    ),
    "a model that was trained before": lambda: classifier(
        train=0.5, validation=0.6, first=1.2, right=0.8, **steps_of(5e-5)
    ),
    "fine-tuned, low from the start": lambda: tuned(0.3, fall=0.0, noise=0.4),
    "fine-tuned, a language model": lambda: tuned(2.9, fall=0.05, noise=0.02),
    "one sequence a step": lambda: classifier(BATCH_OF_ONE),
    "weights in bfloat16, long steps": lambda: classifier(HALF, **steps_of(4e-3)),
    "weights in bfloat16, kept in float32 as well": lambda: classifier(
        {**HALF, "master_weights": "float32"}, **steps_of(3e-4)
    ),
    "a few samples a step": lambda: of_samples(4),
    "margins": of_margins,
    "a rate that rests at the end": lambda: classifier(lr=resting(0.6)),
    "a tenth at half of the run": lambda: classifier(lr=fallen_at_once(300, 0.1)),
    "a rate that is raised for good": lambda: raised(4.0, 1.0),
    "weights that shrink as it learns": lambda: shrinking(to=0.3, loss=falling(pace=150)),
    "Adam, clipped at every step": lambda: clipped("adam", left=0.4),
    "clipped at every step, and learnt": lambda: clipped("sgd", left=0.1),
    "a checkpoint now and then": lambda: classifier(seconds=clock(every=100, slow=20.0)),
    "always waits": lambda: classifier(seconds=clock(every=10, slow=20.0)),
    "a task that is kept": lambda: of_two_tasks(0.01),
    "a loss that comes down to 0": lambda: log_of(TEN, loss=to_nothing(3)),
    "a loss measured now and then": lambda: now_and_then(every=10),
    "columns that were never filled": lambda: log_of(
        loss=noisy(falling()), gradient_norm=np.full(STEPS, np.nan), lr=np.full(STEPS, np.nan)
    ),
    "smoothed labels, learnt": lambda: classifier(
        {"num_classes": 10, "label_smoothing": 0.1}, train=0.51, validation=0.6, **steps_of(1.8e-4)
    ),
    "a training loss with dropout in it, of another tool": lambda: classifier(
        train_eval_loss=np.empty(0), train_loss=evaluations(falling(2.3, 0.9), above=0.0)
    ),
    "rows that become rare": thinning,
    "a term that grows": of_another_term,
    "few rows, and ragged": few_and_ragged,
    "resumed late": resumed_late,
    "batches of two kinds": of_two_kinds,
    "learnt before it was evaluated": learnt_before_evaluation,
    "a checkpoint's state": of_a_checkpoint,
    "few evaluations": seldom_measured,
    "a margin loss": margins,
    "a validation loss alone that rises": lambda: log_of(
        validation_loss=evaluations(falling(0.44, 0.36) + 0.03 * np.arange(STEPS) / STEPS)
    ),
    "usual decay": lambda: classifier({**HEAVY, "weight_decay": 5e-4}, train=0.5, validation=0.5),
}


def thrown_to_chance(*, learnt_first: bool) -> Log:
    """The first steps throw the loss up, and both losses end where a guess of ten classes is; at
    the first evaluation something may still be known.
    """
    at = np.arange(1.0, STEPS + 1)
    thrown = 2.31 + 20 * np.exp(-at / 60) * (at > 3)
    others = 2.31 - (0.5 * np.exp(-at / 40) if learnt_first else 0.0 * at)
    return log_of(
        {"num_classes": 10}, loss=noisy(thrown, 0.01), validation_loss=evaluations(others)
    )


MORE_FAULTY: dict[str, tuple[Callable[[], Log], str]] = {
    "noisier labels in training": (
        lambda: classifier(train=1.0, validation=0.5, right=0.9),
        "TW203",
    ),
    "every sample equally unsure": (
        lambda: classifier(train=1.36, validation=1.4, right=0.66),
        "TW203",
    ),
    "batches without labels": (masked, "TW310"),
    "thrown to chance": (lambda: thrown_to_chance(learnt_first=False), "TW101"),
    "thrown to chance, from something": (lambda: thrown_to_chance(learnt_first=True), "TW101"),
    "thrown up, numbers": (thrown_from_values, "TW101"),
    "clipped to nothing": (clipped_away, "TW102"),
    "jumps of whole batches": (lambda: of_samples(64), "TW003"),
    "too good": (lambda: classifier(train=1e-3, validation=1e-3, right=1.0), "TW205"),
    "noise of one sample": (
        lambda: classifier(BATCH_OF_ONE, loss=np.abs(noisy(falling(), 1.5))),
        "TW107",
    ),
    "weights in bfloat16": (lambda: classifier(HALF, **steps_of(3e-4)), "TW401"),
    "short steps": (
        lambda: classifier(train=1.5, validation=1.5, right=0.5, **steps_of(1e-4)),
        "TW102",
    ),
    "thrown far up before the first row": (
        lambda: log_of(TEN, loss=(np.arange(5.0, 305.0, 5.0), noisy(np.full(60, 1e6), 0.3))),
        "TW101",
    ),
    "a rate spent early": (lambda: classifier(lr=decayed_by(0.2)), "TW105"),
    "a rate that falls at once": (lambda: classifier(lr=fallen_at_once(70, 0.02)), "TW105"),
    "a rate raised too far": (lambda: raised(30.0, 5.0), "TW101"),
    "labels at random, few rows": (right_now_and_then, "TW203"),
    "thrown up with its weights": (thrown_up_with_its_weights, "TW101"),
    "weights that shrink": (lambda: shrinking(to=0.3, loss=forgotten()), "TW106"),
    "clipped to next to nothing": (lambda: clipped("sgd", left=0.4), "TW102"),
    "a part of an epoch, again and again": (lambda: in_one_order(50, epoch=200), "TW207"),
    "each epoch in one order": (lambda: in_one_order(50), "TW206"),
    "a jump that does harm": (harmed, "TW003"),
    "an earlier task forgotten": (lambda: of_two_tasks(0.5), "TW209"),
    "neither part learnt": (
        lambda: classifier(train=1.48, validation=1.5, right=0.45),
        "TW202",
    ),
    "decay out of proportion": (
        lambda: classifier(HEAVY, train=1.1, validation=1.1, right=0.75),
        "TW106",
    ),
    "one evaluation of few jumps": (lambda: seldom_measured(jump=2.4), "TW003"),
    "no evaluation better than a guess": (lambda: seldom_measured(level=float(np.log(2))), "TW104"),
    "nothing goes in": (without_inputs, "TW104"),
    "a smooth rise": (lambda: log_of(loss=1.0 + 0.01 * np.arange(STEPS)), "TW002"),
    "a fall, then an explosion": (
        lambda: log_of(loss=falling() + np.exp((np.arange(STEPS) - 400.0) / 25.0)),
        "TW002",
    ),
    "not a digit changes": (lambda: log_of(loss=np.full(STEPS, 2.3)), "TW104"),
    "one step in ten waits": (
        lambda: classifier(seconds=clock(every=10, slow=20.0, since=300)),
        "TW404",
    ),
}
