"""What detectors look at, worked out once for all of them; and what they say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from thalweg.health.curve import Curve
from thalweg.record.foreign.log import IN_TURNS, LOSS, LR, NORM, REWARDS, VALIDATION, Log, Series

PLAYERS = r"(d|g|disc|gen|discriminator|generator|critic|actor|adv|gan|adversarial)"
RIVAL = re.compile(
    rf"(^|[_/. ]){PLAYERS}([_/. ]\w{{1,8}})?[_/. ]?loss( |$)|loss[_/. ]?{PLAYERS}$|err[_/. ]?[dg]$",
    re.I,
)
"""Names of the losses of networks that play against each other."""

NO_BETTER = 0.9
"""A loss that is no lower than this share of what a guess gives has learnt nothing."""

FEW = 12
"""Points below which a curve has no shape."""


STANDS = 0.2
"""A validation loss that is above its best by less than this share of it stands."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What a detector says. key: of the table's row; since: the step; confidence: 0 to 1;
    says: one clause with this run's numbers; evidence: these numbers by name; gaps: of the remedy;
    severity: where it is not the row's own
    """

    key: str
    since: float
    confidence: float
    says: str
    evidence: Mapping[str, Any]
    gaps: Mapping[str, str] = field(default_factory=dict)
    severity: Literal["warn", "act"] | None = None


GUESS = math.log(2)
"""The cross-entropy of a guess between two classes; between more it is higher."""

KNOWING = 0.8
"""A loss below this share of a guess's knows something."""

TUNING_RATE = 5e-5
"""What Hugging Face's Trainer takes by default; few train anything anew at so low a rate."""


class View:
    """A log through the eyes of detectors. is_over: else its run goes on"""

    def __init__(self, log: Log, *, is_over: bool = True):
        self.log = log
        self.is_over = is_over

    def has_run(self, share: float) -> bool:
        """Is the run over, or through this share of its planned steps?"""
        planned = self.number("steps")
        return self.is_over or (planned is not None and self.end >= share * planned)

    @cached_property
    def loss(self) -> Curve | None:
        """The training loss; that of evaluations, where the other was logged for a part only."""
        curve, whole = Curve.of(self.log.get(LOSS)), Curve.of(self.log.get("train_loss"))
        if curve is None or whole is None or curve.raw_t[-1] > 0.5 * whole.raw_t[-1]:
            return curve
        return whole

    @cached_property
    def silent_losses(self) -> str:
        """Why the losses do not say how it goes, in words; "" where they do."""
        if self.log.kind == REWARDS:
            return "it learns from rewards, and its losses may rise as it gets better"
        if self.log.kind == IN_TURNS:
            return "optimizers step in turns, each on a loss of its own, and these do not tell"
        if self._is_rival:
            return "two networks play against each other, and their losses do not tell"
        return ""

    @property
    def _is_rival(self) -> bool:
        """Is the loss that of one of two networks, against which the other one learns?"""
        series = self.log.get(LOSS) or self.log.get(VALIDATION)
        return series is not None and RIVAL.search(series.name) is not None

    @cached_property
    def validation(self) -> Curve | None:
        """The validation loss."""
        return Curve.of(self.log.get(VALIDATION))

    @cached_property
    def others_stand(self) -> bool:
        """Are other samples fitted about as well at the end as ever, which a loss on them tells?"""
        others = self.validation
        if others is None or len(others) < FEW:
            return False
        is_near = others.last < others.best + STANDS * abs(others.best)
        return is_near and others.last < others.first + 4 * others.error

    def is_no_guess(self, curve: Curve) -> bool:
        """Does it end clearly below what a guess gives? True as well where that is not known."""
        return self.chance is None or curve.last < NO_BETTER * self.chance

    @cached_property
    def fit(self) -> Curve | None:
        """The loss on training samples as the validation loss is measured, without dropout, where
        it was logged; else the training loss.
        """
        for name in ("train_eval_loss", "train_loss"):
            series = self.log.get(name)
            if series is not None and np.isfinite(series.values).sum() >= 5:
                return Curve.of(series)
        return self.loss

    @cached_property
    def alike(self) -> Curve | None:
        """The loss on training samples, measured as that of validation is: without dropout, and
        after the steps. Other tools' `train_loss` mostly is not; it may be higher for that alone.
        """
        name = "train_loss" if self.log.format == "thalweg" else "train_eval_loss"
        series = self.log.get(name)
        return None if series is None or len(series) < 5 else Curve.of(series)

    @cached_property
    def norm(self) -> Curve | None:
        """The gradient's norm."""
        return Curve.of(self.log.get(NORM))

    @cached_property
    def weights(self) -> Curve | None:
        """The norm of all weights together, from that of each where the whole was not logged."""
        whole = self.log.get("parameter_norm")
        parts = [s for name, s in self.log.series.items() if name.startswith("parameter_norm:")]
        if whole is None and parts and all(len(part) == len(parts[0]) for part in parts):
            squares = np.sum([part.values**2 for part in parts], axis=0)
            whole = Series("parameter_norm", parts[0].steps, np.sqrt(squares))
        return Curve.of(whole)

    @cached_property
    def lr(self) -> Series | None:
        """The learning rate, where it was logged and is ever above zero."""
        series = self.log.get(LR)
        if series is None or not np.nan_to_num(series.values).max(initial=0.0) > 0:
            return None
        return series

    def lr_at(self, steps: np.ndarray) -> np.ndarray | None:
        """The rate at these steps, from the log, else from the settings; None: not known."""
        if self.lr is not None:
            return np.interp(steps, self.lr.steps, np.nan_to_num(self.lr.values))
        rate = self.number("lr")
        constant = self.log.settings.get("schedule") in (None, "constant", "none")
        return None if rate is None or not constant else np.full(len(steps), rate)

    def fall_of(self, curve: Curve) -> float:
        """How far a loss came down in all, from the first step on where the other loss tells it."""
        first = curve.first if self.loss is None else max(curve.first, self.loss.first)
        return max(0.0, first - curve.best)

    def number(self, name: str) -> float | None:
        """A setting, where it is a finite number."""
        value = self.log.settings.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if math.isfinite(value) else None

    @cached_property
    def num_averaged(self) -> float:
        """Of how many steps a value of the training loss is the mean, where that is known."""
        return self.number("log_every") or 1.0 if self.log.tool == "huggingface" else 1.0

    @cached_property
    def main(self) -> Curve | None:
        """The loss that says how the descent goes: of training, else of validation, also where
        the other has too few points for a shape.
        """
        loss, others = self.loss, self.validation
        if loss is None or others is None:
            return loss if others is None else others
        return others if len(loss) < FEW <= len(others) and len(others) >= 2 * len(loss) else loss

    @cached_property
    def is_shaped(self) -> bool:
        """Are there points enough to speak of a shape?"""
        return self.main is not None and len(self.main) >= FEW

    @cached_property
    def chance(self) -> float | None:
        """The loss of one who knows nothing but the number of classes, where that is known."""
        classes = self.number("num_classes")
        loss = self.log.settings.get("loss")
        if classes is None or classes < 2 or loss not in (None, "cross_entropy") or self.log.parts:
            return None
        return math.log(classes)

    @cached_property
    def knows_already(self) -> bool:
        """Does it begin with what was learnt before, as fine-tuning does? An adapter lies beside
        it, its first loss is lower than that of any guess, or it falls at a rate that is usual for
        nothing else.
        """
        curve, loss = self.main, self.log.settings.get("loss")
        if self.log.settings.get("adapter"):
            return True
        if curve is None or loss not in (None, "cross_entropy"):
            return False
        if self.chance is not None:
            return curve.first < KNOWING * self.chance
        fallen, error = curve.fall
        falls = fallen > 4 * max(error, 1e-12)
        return curve.first < KNOWING * GUESS or (falls and 0 < self.highest_rate <= TUNING_RATE)

    @property
    def highest_rate(self) -> float:
        """The highest learning rate; 0 where it is not known."""
        if self.lr is not None:
            return float(np.nanmax(self.lr.values))
        return self.number("lr") or 0.0

    @cached_property
    def floor(self) -> float:
        """The lowest loss that there is: above 0 where labels are smoothed."""
        share, classes = self.number("label_smoothing") or 0.0, self.number("num_classes") or 0.0
        if not 0 < share < 1 or classes < 2:
            return 0.0
        other = share / classes
        own = 1 - share + other
        return -own * math.log(own) - (classes - 1) * other * math.log(other)

    @cached_property
    def end(self) -> float:
        """The last step of any of the losses."""
        ends = [series.steps[-1] for role in (LOSS, VALIDATION) if (series := self._rows(role))]
        return float(max(ends, default=0.0))

    def _rows(self, role: str) -> Series | None:
        series = self.log.get(role)
        return series if series is not None and len(series) else None

    def name(self, step: float) -> str:
        """A step in words: "step 1,200", "epoch 3"."""
        return f"{self.log.unit} {step:,.10g}"


Detector = Callable[[View], Suspicion | None]


def number(value: float) -> str:
    """A measured number as it is read: four digits."""
    return f"{value:.4g}"
