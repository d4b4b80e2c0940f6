"""The words of a column's name, and what they say: "train/loss_step" is train, loss, step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_WORD = re.compile(r"mAP|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_WHOLE = re.compile(r"(?<![a-z])(?:f1|r2|l1|l2|[23]d|top[15])(?![a-z\d])", re.IGNORECASE)

TRAIN = {"train", "training", "trn", "fit"}
HELD = {"val", "valid", "validation", "eval", "evaluation", "dev", "holdout", "heldout", "vali"}
TEST = {"test", "testing", "tst"}

LOSSES = {"loss", "losses", "nll", "xent", "crossentropy", "logloss"}
FAINT = {"objective", "cost", "criterion", "bpb", "bpc", "ce", "bce", "elbo"}
"""Words of a loss where no column has one of the others."""

STEPS = {"step", "steps", "iteration", "iterations", "iter", "iters", "it", "update", "updates"}
STEPS |= {"batch", "batches", "minibatch"}
EPOCHS = {"epoch", "epochs", "ep"}
TIMES = {"time", "times", "runtime", "seconds", "second", "secs", "sec", "duration", "timestamp"}
TIMES |= {"clock", "wall", "walltime", "elapsed", "ms", "dt", "ups", "timing"}

PARTS = {"aux", "auxiliary", "kl", "reg", "regularization", "penalty", "z", "balance", "router"}
PARTS |= {"commitment", "entropy", "value", "policy", "decay", "adv", "perceptual"}
"""Words of a loss that is one part of the whole."""

SMOOTHED = {"mean", "avg", "average", "smooth", "smoothed", "ema", "running", "median", "meter"}
OTHER = {"scale", "scaler", "weight", "weights", "best", "lowest", "std", "var", "max", "min"}
OTHER |= {"count", "num", "patience", "delta", "lambda", "coef", "coefficient", "ratio"}
"""Beside "loss" in a name, these make it something else."""

REWARDS = {"reward", "rewards", "rew"}
PREFERENCES = {"chosen", "rejected", "margin", "margins", "accuracies"}

CRITICS = {"d", "disc", "discriminator", "critic"}
MAKERS = {"g", "gen", "generator", "actor"}
"""Networks that play against each other, as the names of their losses tell them."""

_ASIDE = {"samples", "tokens", "examples", "memory", "mem", "gpu", "cpu", "throughput", "num"}
_ASIDE |= {"count", "flops", "eta", "per", "size", "scale", "preemption", "accumulated", "mfu"}
METRICS = {
    **dict.fromkeys(("accuracy", "acc", "top1"), "accuracy"),
    **dict.fromkeys(("perplexity", "ppl"), "perplexity"),
    **dict.fromkeys(("error", "err"), "error"),
    **{word: word for word in ("f1", "auc", "wer", "cer", "bleu", "ssim", "psnr", "rmse", "mae")},
    **{word: word for word in ("r2", "precision", "recall", "map", "rouge", "iou", "dice", "mse")},
    **{word: word for word in ("bpb", "bpc")},
}
"""Words of a metric, and the name that it goes by."""


@dataclass(frozen=True, slots=True)
class Named:
    """What the words of a name say."""

    name: str
    words: tuple[str, ...]

    def has(self, words: set[str]) -> bool:
        """Is one of these among them?"""
        return not words.isdisjoint(self.words)

    @property
    def is_held(self) -> bool:
        return self.has(HELD)

    @property
    def is_test(self) -> bool:
        return self.has(TEST) and not self.is_held

    @property
    def is_loss(self) -> bool:
        is_entropy = {"cross", "entropy"} <= set(self.words)
        is_other = self.has(OTHER | TIMES | {"ppl", "perplexity"}) or self.words[-1:] == ("margin",)
        return (self.has(LOSSES | FAINT) or is_entropy) and not is_other

    @property
    def is_aside(self) -> bool:
        return self.has(_ASIDE | TIMES) and not self.is_loss

    @property
    def is_counter(self) -> bool:
        plain = {"global", "number", "no", "idx", "index", "id", "trainer", "current", "num", "i"}
        is_whole = "batches" in self.words and len(self.words) > 1  # "training batches: 6,501"
        return self.has(STEPS) and not (is_whole or set(self.words) - STEPS - TRAIN - plain)

    @property
    def is_epoch(self) -> bool:
        return self.has(EPOCHS) and not set(self.words) - EPOCHS - TRAIN - {"number", "current"}

    @property
    def is_time(self) -> bool:
        return self.has(TIMES)


@lru_cache(maxsize=8192)
def named(name: str) -> Named:
    """A column's name by its words, in lower case; digits apart, but for f1 and its like."""
    words: list[str] = []
    place = 0
    for whole in _WHOLE.finditer(name):
        words += [*_WORD.findall(name[place : whole.start()]), whole[0]]
        place = whole.end()
    words += _WORD.findall(name[place:])
    return Named(name, tuple(word.lower() for word in words))


def is_of_rewards(name: str) -> bool:
    """Is it a column of reinforcement learning? (What is learnt from pairs of answers has rewards
    of the chosen and the rejected one, and a loss that says how it goes.)

    >>> [is_of_rewards(name) for name in ("rollout/ep_rew_mean", "rewards/chosen", "reward")]
    [True, False, True]
    """
    row = named(name)
    is_return = row.has({"return", "returns"}) and row.has({"episode", "ep", "episodic"})
    return (row.has(REWARDS) or is_return) and not (row.has(PREFERENCES) or row.is_loss)


def is_players(rows: list[Named], players: set[str]) -> bool:
    """Is one of the losses that of such a network?"""
    return any(row.is_loss and row.has(players) for row in rows)


def is_told(name: str) -> bool:
    """Does a column tell a loss, or what may stand for one?"""
    row = named(name)
    return row.is_loss or row.has(set(METRICS) - {"precision", "map"})
