"""What is seen of the samples that a model is given: plain counts, which health reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Overlap:
    """The rows of an evaluation that were trained on as well; all are counted once.

    is_told: it was said that this is an evaluation; is_apart: some of its passes were on rows that
    were trained on, and some on others, as where both parts are scored; is_whole: training had come
    round by then, so that its rows were known
    """

    step: int
    rows: int
    shared: int
    is_told: bool
    is_apart: bool = False
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Recent:
    """The last batches: how many, how many different ones, and the different rows in them.

    since: the step of the first; before: different rows that came earlier and not among these
    """

    since: int
    batches: int
    different: int
    rows: int
    before: int


@dataclass(frozen=True, slots=True)
class Telling:
    """Columns of the inputs that say the target. how: "values" where a value of a column stands for
    classes, "copy" or "line" where a column is the target or a straight line of it, "same" where
    the symbols to be found are those that go in

    share: of the samples for which it holds; samples: that were looked at
    """

    how: Literal["values", "copy", "line", "same"]
    columns: tuple[int, ...]
    share: float
    samples: int


@dataclass(frozen=True, slots=True)
class Apart:
    """How far what an evaluation is given lies from what is trained on.

    columns: that vary in training; num_off: of these, how many are several times as large in the
    evaluation, or have a mean several standard deviations off
    worst: the place of the one that is furthest off; scale, shift: how many times as large it is,
    and by how many standard deviations its mean is off
    """

    columns: int
    num_off: int
    worst: int
    scale: float
    shift: float


@dataclass(frozen=True, slots=True)
class Samples:
    """What was seen of the samples that a model was given, up to a step.

    rows: trained on, as often as they came; different: of these, an estimate where there are many
    twins: how many equals a row has among the others by the data's own nature, at the most, and
    least_twins: at the least
    new: the rows of an evaluation that were not trained on
    again: inputs that came more than once with a class; differing: of these, with several classes
    counts: of the classes, the largest first; rarest: different inputs of the rarest class
    alike: how far batches hold alike targets, 0 where they are shuffled, 1 where each holds one;
    alike_error: of it; next_alike: the same between a batch and the next; target_batches: of these
    masked: batches without a label that counts, of `labelled`; first_masked: a step
    apart: training beside evaluation, where both were measured
    few: different rows that make up 90% of all; filled: of the batches, those of which one row
    fills half or more; filling: different such rows
    """

    step: int
    rows: int
    different: int
    twins: float
    least_twins: float = 0.0
    overlap: Overlap | None = None
    new: int = 0
    recent: Recent | None = None
    telling: Telling | None = None
    again: int = 0
    differing: int = 0
    counts: tuple[int, ...] = ()
    rarest: int = 0
    alike: float = 0.0
    alike_error: float = 1.0
    next_alike: float = 0.0
    are_classes: bool = False
    target_batches: int = 0
    masked: int = 0
    labelled: int = 0
    first_masked: int = 0
    apart: Apart | None = None
    few: int = 0
    batches: int = 0
    filled: int = 0
    filling: int = 0

    @property
    def is_whole(self) -> bool:
        """Has training come round, so that its rows are known?"""
        return self.rows >= 1.8 * self.different
