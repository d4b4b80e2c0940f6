"""The words of the house: records and protocols that every floor may use.

Nothing here imports an outside package. What a lower floor has to tell a higher one travels as one
of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Status = Literal["converged", "budget", "reached", "stopped", "interrupted", "preempted"]
State = Literal["improving", "stalled", "diverging", "finished", "unknown"]

MEASURES = (
    "loss",
    "gradient_norm",
    "update_norm",
    "parameter_norm",
    "clip_factor",
    "num_nonfinite",
    "loss_scale",
)
"""What may be measured of one update, in the order of the record's columns.

Records mark a NaN by its column's place: a new name goes to the end.
"""


class Measures:
    """What was measured of one update: read from the device once, when first asked for.

    `read` returns the values by name, and is kept no longer than needed; a name that is missing
    was not measured.
    """

    __slots__ = ("_read", "_values")

    def __init__(self, read: Callable[[], Mapping[str, float]]):
        self._read: Callable[[], Mapping[str, float]] | None = read
        self._values: Mapping[str, float] = {}

    def values(self) -> Mapping[str, float]:
        read = self._read
        if read is not None:
            self._values = read()
            self._read = None
        return self._values


@dataclass(frozen=True, slots=True)
class Watched:
    """The measure on the validation set that decides which weights are best and when to stop early.

    rises: larger is better
    """

    name: str = "loss"
    rises: bool = False

    @property
    def is_loss(self) -> bool:
        return self.name == "loss"

    def cost(self, values: Mapping[str, float]) -> float:
        """The measure as a number that is better when smaller; NaN where it was not measured."""
        value = values.get(self.name, float("nan"))
        return -value if self.rises else value

    def noise(self, evaluation: Evaluation) -> float:
        """Of the measure, as `Evaluation` says of it; 0 where it is not known."""
        known = evaluation.noise if self.is_loss else evaluation.noise_watched
        return known or 0.0


LOSS = Watched()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One pass over a set without training.

    `values` holds the mean loss and the metrics by name; `noise` is the standard error of the
    change of the mean loss since the last counted improvement (None: not known), `noise_watched`
    the same of a metric that is watched in its place; `seconds` is the time the pass took.
    """

    number: int
    split: str
    values: Mapping[str, float]
    noise: float | None = None
    seconds: float = 0.0
    noise_watched: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a step: what kind, said in one line, with its numbers."""

    number: int
    kind: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


TRIALS = "trials"
"""The kind of event that keeps trials of causes; its data is what `health.tried.kept` gives."""


class Step:
    """One update and what was measured of it.

    number: the step's place in the data's order, counted from 1
    samples: samples seen so far, this step included
    epoch: passes over the training set so far, as a real number
    lr: learning rate of the first parameter group
    seconds: wall time of this step, the device's pending work not included
    loss, gradient_norm, update_norm, parameter_norm, clip_factor, num_nonfinite, loss_scale:
    floats, or None where not measured (loss_scale: of fp16's scaler, None elsewhere); reading one
    before the next drain waits for the device once
    events, evaluation: what happened at this step; usually empty
    """

    __slots__ = ("_measures", "epoch", "evaluation", "events", "lr", "number", "samples", "seconds")

    def __init__(
        self,
        *,
        number: int,
        samples: int,
        epoch: float,
        lr: float,
        seconds: float,
        measures: Measures,
    ):
        self.number = number
        self.samples = samples
        self.epoch = epoch
        self.lr = lr
        self.seconds = seconds
        self.events: tuple[Event, ...] = ()
        self.evaluation: Evaluation | None = None
        self._measures = measures

    def measured(self) -> Mapping[str, float]:
        """All measured values by name."""
        return self._measures.values()

    @property
    def loss(self) -> float:
        return self._measures.values()["loss"]

    @property
    def gradient_norm(self) -> float | None:
        return self._measures.values().get("gradient_norm")

    @property
    def update_norm(self) -> float | None:
        return self._measures.values().get("update_norm")

    @property
    def parameter_norm(self) -> float | None:
        return self._measures.values().get("parameter_norm")

    @property
    def clip_factor(self) -> float | None:
        return self._measures.values().get("clip_factor")

    @property
    def num_nonfinite(self) -> float | None:
        return self._measures.values().get("num_nonfinite")

    @property
    def loss_scale(self) -> float | None:
        return self._measures.values().get("loss_scale")

    def __repr__(self) -> str:
        return f"Step(number={self.number}, loss={self.loss:.4g}, lr={self.lr:.3g})"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a run: what, since when, how sure, why, and what to change."""

    code: str
    name: str
    severity: Literal["warn", "act"]
    since_step: int
    confidence: float
    evidence: Mapping[str, Any]
    advice: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What health says of a run.

    `healthy` is False if and only if a finding has severity "act", and None when the state is
    "unknown". `sentence` says why, in plain words, with this run's numbers; printed, the state
    stands before it.
    """

    state: State
    sentence: str
    findings: tuple[Finding, ...] = ()
    not_checkable: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool | None:
        if any(finding.severity == "act" for finding in self.findings):
            return False
        return None if self.state == "unknown" else True

    def __str__(self) -> str:
        return f"{self.state}: {self.sentence}"


Mode = Literal["off", "advise", "act"]
"""What a guard may do: nothing; say what it would do, and apply no step that is not finite; act."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the guard wants done after a block of steps, and why.

    kind: "go"; "roll_back": restore a snapshot that is older than step `before`; "back_off": that,
    and the learning rate is `lr_factor` times what it would be, for good; over `rewarm` steps it
    rises from 0, and the optimizer's moments begin anew, unless that is 0; "stop"
    number: the step after which it was decided
    reason, evidence: one line with numbers, and these numbers by name
    events: what the limits have done to single steps of the block; under advise, what they would
    """

    kind: Literal["go", "roll_back", "back_off", "stop"]
    number: int = 0
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    before: int = 0
    lr_factor: float = 1.0
    rewarm: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a descent has come; all that a stopping rule may look at.

    `seconds` is the time spent so far; `evaluations` are those of the validation set, oldest first;
    `num_stale` counts those since the last improvement; `rising` names the metrics that are better
    when larger; `watched` is the measure that has to improve.
    """

    steps: int
    samples: int
    epochs: float
    seconds: float
    evaluations: Sequence[Evaluation]
    num_stale: int = 0
    rising: frozenset[str] = frozenset()
    watched: str = "loss"


class Order(Protocol):
    """The order in which an epoch's samples are seen: any stretch of it at once, nothing stored."""

    def indices(self, epoch: int, start: int, count: int) -> Any:
        """Dataset indices, int64 of shape (count,), at positions start .. start + count - 1."""
        ...


LOOK = -1
"""The epoch of a stretch that is looked at and not trained on: its draws are the same each time."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples in a row of an epoch's order: where each stands, and what its draws are counted by.

    indices: the samples' places in the data, int64 of shape (b,)
    seed, epoch, start: the i-th sample draws from (seed, epoch, start + i)
    """

    indices: Any
    seed: int = 0
    epoch: int = LOOK
    start: int = 0

    def __len__(self) -> int:
        return len(self.indices)


@runtime_checkable
class Source(Protocol):
    """Samples by index. A batch is a tuple of an input and a target, whatever these are, and of
    the samples' weights where they have any."""

    def __len__(self) -> int: ...

    def fetch(self, stretch: Stretch) -> tuple[Any, ...]:
        """The samples of a stretch, in its order."""
        ...

    def to(self, device: Any) -> Source:
        """The same samples, on a device."""
        ...


class Recorder(Protocol):
    """Where a descent writes what happened; the training thread only appends."""

    def steps(self, steps: Sequence[Step]) -> None: ...

    def evaluation(self, evaluation: Evaluation) -> None: ...

    def event(self, event: Event) -> None: ...

    def scalars(self, number: int, values: Mapping[str, float]) -> None: ...

    def flush(self) -> None:
        """Wait until all that was given is safe."""
        ...

    def close(self) -> None: ...
