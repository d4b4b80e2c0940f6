"""The settings of a fit: one source for the function, the command line and run.toml."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from inspect import Parameter, Signature, signature
from numbers import Integral, Real
from os import PathLike
from typing import Any

from thalweg.errors import UsageError
from thalweg.jobs import defaults
from thalweg.jobs.judging import check_named, class_weights_text, quantiles_text
from thalweg.jobs.splits import check_split
from thalweg.loop.every import every_of, seconds_of
from thalweg.rules.clips import ByNorm, Clip, clip_of, clip_text, parse_clip
from thalweg.schedules import BUILDERS, Schedule, parse
from thalweg.tasks.table.names import text_of

TASKS = ("auto", "classification", "regression")
MATMUL = ("auto", "torch", "onednn")
MALLOC = ("auto", "off")
GUARDS = ("act", "advise", "off")
COMPILE = ("off", "auto", "on")
PRECISIONS = ("float32", "bf16", "fp16", "bf16-weights")
_AFTER_WARMUP = sorted(BUILDERS.keys() - {"warmup"})
_NAMES = ("columns", "drop", "types")
"""Settings that name columns: a text, or from Python a list or a mapping."""
_TRUTHS = {"true": True, "false": False}
_PAIR = {"optimizer": "weight_decay=0.1", "until": "accuracy=0.98"}


def _setting(default: Any, help: str, **allowed: float) -> Any:
    """A setting; allowed: `least`, `most` of a whole number, or what a number must be `above`."""
    return field(default=default, metadata={"help": help, "allowed": allowed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be asked of a fit; None means "by the table of defaults"."""

    target: str | None = _setting(None, "the column to predict; several of numbers as a,b")
    task: str = _setting("auto", "auto, classification or regression")
    separator: str | None = _setting(
        None, 'what parts the labels in a target that holds several: ";" for red;blue'
    )
    columns: Any = _setting(None, "the columns to learn from, and no others: a,b,c")
    drop: Any = _setting(None, "columns to leave out: a,b")
    types: Any = _setting(
        None,
        "kinds of columns: code=category,when=date:%d.%m.%Y; number, category, boolean, date, "
        "mixed, text or drop",
    )
    schema: str | None = _setting(
        None, "a schema.toml that says what the columns are, whole or in parts"
    )
    validation_share: float = _setting(
        defaults.SHARE, "share of the rows that choose the weights, above 0", above=0
    )
    test_share: float = _setting(
        defaults.SHARE, "share of the rows that are only scored at the end, above 0", above=0
    )
    validation: Any = _setting(None, "a file of its own that chooses the weights")
    test: Any = _setting(None, "a file of its own that is only scored at the end")
    split: str | None = _setting(
        None,
        "random, stratified (classes alike in each part; the default for classes), time:COL (the "
        "newest rows test) or group:COL (no group in two parts)",
    )
    folds: int | None = _setting(
        None, "train so many models, each tested on other rows, 2 or more", least=2
    )
    fold: int | None = _setting(None, "only this one of the folds, from 1", least=1)
    model: Any = _setting(
        defaults.MODEL,
        "linear, mlp:WIDTH,WIDTH,..., resmlp:WIDTHxBLOCKS, conv:WIDTH,..., "
        "transformer:WIDTHxBLOCKS, or module:function that makes one",
    )
    dropout: float | None = _setting(
        None, "share of a hidden layer that is left out at each training step, below 1"
    )
    loss: Any = _setting(
        None,
        "cross_entropy, focal:gamma=2 or bce for classes; mse, mae, huber:delta=1, quantile or "
        "poisson for numbers; or module:function(outputs, targets); by default from the task",
    )
    metric: Any = _setting(
        None,
        "what decides which weights are best and when to stop early: loss; accuracy, "
        "balanced_accuracy, f1, auc, average_precision, log_loss, calibration_error; rmse, mae, "
        "r2, pinball; or module:function(targets, answers); by default the loss",
    )
    label_smoothing: float | None = _setting(
        None, "share of the true class that is spread over all classes, below 1: 0.1", above=0
    )
    quantiles: Any = _setting(
        None, "levels to predict, such as 0.1,0.5,0.9: an interval beside the median"
    )
    weights: str | None = _setting(
        None, "the column that says how much each row counts, 0 or more; it is no input"
    )
    class_weights: Any = _setting(
        None, "balanced: every class counts alike in the loss; or spam=5,ham=1"
    )
    optimizer: str = _setting(
        defaults.OPTIMIZER, "sgd, momentum, adam or adamw; with settings as adamw:weight_decay=0.1"
    )
    lr: float | None = _setting(None, "learning rate, > 0", above=0)
    schedule: Any = _setting(
        None,
        f"{', '.join(_AFTER_WARMUP)}, after the warm-up; with settings as cosine:floor=0.1; "
        'several as "warmup:100 >> constant:500 >> linear"',
    )
    warmup: int | None = _setting(
        None,
        "steps over which the learning rate rises before the schedule, 0 or more",
        least=0,
    )
    batch_size: int | str = _setting("auto", "rows a gradient sees: auto, full, or a number >= 1")
    accumulate: int = _setting(
        1, "parts in which a batch is computed, one after the other, to save memory", least=1
    )
    precision: str = _setting(
        "float32",
        "float32; or bf16, fp16: products in it, weights and optimizer in float32; bf16-weights: "
        "the model's weights too, also saved so, and float32 ones only in the optimizer",
    )
    compile: bool | str = _setting(
        "off",
        "torch.compile: alone where a short measurement shows a gain, or on, off; evaluations are "
        "computed as ever",
    )
    recompute: bool = _setting(
        False,
        "activation checkpointing: keep only the inputs of the model's blocks and compute the rest "
        "again, to save memory",
    )
    workers: int = _setting(0, "processes that fetch samples of a Dataset ahead", least=0)
    clip: float | str | None = _setting(
        None,
        "largest norm of the gradient, > 0: 1.0; or tensor:1.0 of each tensor's, value:0.5 of each "
        "element; adaptive, or adaptive:0.01: each tensor's norm as a share of its parameter's",
    )
    ema: float | None = _setting(
        None,
        "look at, keep and save a running mean of the weights, with this decay: 0.999 (and batch "
        "norm's statistics recomputed for it)",
        above=0,
    )
    guard: str = _setting(
        "act", "act: repair a run that goes wrong; advise: say what would be done; off"
    )
    epochs: float | None = _setting(
        None, "end after so many passes over the training rows", above=0
    )
    steps: int | None = _setting(None, "end after so many steps", least=1)
    time: float | str | None = _setting(None, "end after so long: 90s, 5m, 2h, or seconds")
    until: str | None = _setting(None, "end when validation reaches a goal: accuracy=0.98")
    patience: int | None = _setting(
        None, "evaluations without improvement before it stops early", least=1
    )
    evaluate_every: int | None = _setting(
        None, "steps between looks at the validation rows", least=1
    )
    checkpoint_every: int | str = _setting(
        "60s", "steps between checkpoints, or a time such as 60s"
    )
    keep: int = _setting(2, "checkpoints to keep besides the best", least=1)
    seed: int = _setting(
        0, "of the split, the first weights, the order and dropout", least=0, most=2**32 - 1
    )
    device: str = _setting("auto", "auto, cpu, cuda, cuda:1 or mps")
    threads: int | str = _setting("auto", "CPU threads to compute with: auto, or a number >= 1")
    matmul: str = _setting(
        "auto", "who multiplies float32 matrices on the CPU: auto, torch (as ever) or onednn"
    )
    malloc: str = _setting("auto", "keep large buffers of memory in the process: auto or off")
    out: str | None = _setting("runs", "folder in which the run's own folder is made")
    name: str | None = _setting(
        None, "name of the run's folder; by default the data's and a number"
    )
    horizon: int | None = _setting(
        None, "steps that the schedule is planned for; with --time measured once", least=1
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantiles", quantiles_text(self.quantiles))
        object.__setattr__(self, "class_weights", class_weights_text(self.class_weights))
        for name in ("target", *_NAMES):
            given = getattr(self, name)
            if given is not None and not isinstance(given, str | PathLike):
                object.__setattr__(self, name, text_of(given, name))
        for row in fields(self):
            self._check(row)
        self._check_choices()
        self.parsed_optimizer  # noqa: B018  (raises what is wrong with it)
        self.seconds  # noqa: B018
        self.goal  # noqa: B018

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """From names and values. Raises UsageError for a name that is no setting."""
        cls.check_names(given)
        return cls(**given)

    @classmethod
    def read(cls, name: str, text: str) -> Any:
        """A setting's value from its text, of the kind that it has; "" is "by default".

        Raises UsageError for a name that is no setting.
        """
        cls.check_names([name])
        kind = str(next(row.type for row in fields(cls) if row.name == name))
        if text == "" and "None" in kind:
            return None
        if kind == "bool" and text in _TRUTHS:
            return _TRUTHS[text]
        for convert in [known for known in (int, float) if known.__name__ in kind]:
            with suppress(ValueError):
                return convert(text)
        return text

    @classmethod
    def check_names(cls, names: Iterable[str]) -> None:
        """Raise UsageError for a name that is no setting."""
        known = [row.name for row in fields(cls)]
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise UsageError(f"{name!r} is not a setting of fit: {hint}")

    @classmethod
    def signature_beside(cls, function: Callable[..., Any]) -> Signature:
        """The signature of `function` with every setting in the place of its **settings."""
        own = signature(function)
        first = [row for row in own.parameters.values() if row.kind is not row.VAR_KEYWORD]
        settings = [
            Parameter(row.name, Parameter.KEYWORD_ONLY, default=row.default, annotation=row.type)
            for row in fields(cls)
        ]
        return own.replace(parameters=[*first, *settings])

    @property
    def parsed_optimizer(self) -> tuple[str, dict[str, str]]:
        """Name and hyperparameters of "adamw:weight_decay=0.1", these as texts."""
        name, _, rest = self.optimizer.partition(":")
        _choice("optimizer", name, tuple(defaults.LR))
        return name, _texts("optimizer", rest)

    @property
    def parsed_schedule(self) -> Schedule:
        """The schedule as it was asked for, without a warm-up that is not in it."""
        return parse(self.schedule_text)

    @property
    def schedule_text(self) -> str:
        """The schedule as it was asked for, or by default."""
        if self.schedule is not None:
            return self.schedule
        return defaults.schedule(self.parsed_optimizer[0])

    @property
    def rate(self) -> float:
        """The learning rate, asked for or by default."""
        return self.lr if self.lr is not None else defaults.LR[self.parsed_optimizer[0]]

    @property
    def seconds(self) -> float | None:
        """The budget of time in seconds."""
        if self.time is None:
            return None
        seconds = seconds_of(str(self.time))
        if seconds is None:
            raise UsageError(f"time is {self.time!r}: write a length such as 90s, 5m or 2h")
        return seconds

    @property
    def parsed_clip(self) -> Clip | None:
        """What limits the gradients."""
        return parse_clip(self.clip) if isinstance(self.clip, str) else clip_of(self.clip)

    @property
    def goal(self) -> dict[str, float]:
        """The goal that ends the fit, such as {"accuracy": 0.98}."""
        return _pairs("until", self.until or "")

    def _check(self, row: Field[Any]) -> None:
        """Raise UsageError for a value of the wrong type, or out of its range."""
        value, allowed = getattr(self, row.name), row.metadata["allowed"]
        if value is None and "None" in str(row.type):
            return
        if row.type in ("str", "str | None") and not isinstance(value, str | PathLike):
            raise UsageError(f"{row.name} is {value!r}: it must be a text")
        if row.type == "bool" and not isinstance(value, bool):
            raise UsageError(f"{row.name} is {value!r}: it must be true or false")
        if allowed:
            number = _number(row.name.replace("_", "-"), value, **allowed)
            object.__setattr__(self, row.name, number)

    def _check_choices(self) -> None:
        _choice("task", self.task, TASKS)
        _choice("matmul", self.matmul, MATMUL)
        _choice("malloc", self.malloc, MALLOC)
        _choice("guard", self.guard, GUARDS)
        _choice("precision", self.precision, PRECISIONS)
        wish = ("off", "auto")[self.compile] if isinstance(self.compile, bool) else self.compile
        object.__setattr__(self, "compile", wish)
        _choice("compile", self.compile, COMPILE)
        if self.ema is not None and self.ema >= 1:
            raise UsageError(f"ema is {self.ema:g}: it must lie between 0 and 1, such as 0.999")
        if self.dropout is not None and not (_is(self.dropout, Real) and 0 <= self.dropout < 1):
            raise UsageError(
                f"dropout is {self.dropout!r}: it must be a number, 0 or more, below 1"
            )
        if self.label_smoothing is not None and self.label_smoothing >= 1:
            raise UsageError(
                f"label-smoothing is {self.label_smoothing:g}: it must lie between 0 and 1: 0.1"
            )
        check_named("loss", self.loss)
        check_named("metric", self.metric)
        every_of(self.checkpoint_every)
        check_split(self)
        self._check_word_or_number("batch_size", ("auto", "full"))
        self._check_word_or_number("threads", ("auto",), most=1024)
        if isinstance(self.schedule, Schedule):
            object.__setattr__(self, "schedule", str(self.schedule))
        clip = self.parsed_clip
        if isinstance(clip, ByNorm):
            object.__setattr__(self, "clip", clip.limit)
        elif clip is not None and not isinstance(self.clip, str):
            object.__setattr__(self, "clip", clip_text(clip))
        if self.parsed_schedule.warms_up and self.warmup:
            raise UsageError(
                f"warmup is {self.warmup}, and the schedule {self.schedule_text!r} has a warm-up "
                "of its own: leave one of them out (--warmup 0 is none)"
            )

    def _check_word_or_number(
        self, name: str, words: tuple[str, ...], *, most: int | None = None
    ) -> None:
        """Raise UsageError unless one of the words, or a whole number in 1 .. `most`."""
        value, shown = getattr(self, name), name.replace("_", "-")
        if value in words:
            return
        try:
            number = _number(shown, value, least=1, most=most)
        except UsageError:
            allowed = ">= 1" if most is None else f"in 1 .. {most:,}"
            raise UsageError(
                f"{shown} is {value!r}: it must be {', '.join(words)}, or a whole number {allowed}"
            ) from None
        object.__setattr__(self, name, number)


def _choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value in allowed:
        return
    near = get_close_matches(str(value), allowed, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"{name} {value!r} is unknown: {hint}choose one of {', '.join(allowed)}")


def _number(
    name: str, value: Any, *, above: float | None = None, least: int = 0, most: int | None = None
) -> float:
    """A plain number. Raises UsageError unless above `above`, or whole in `least` .. `most`."""
    if above is not None:
        if _is(value, Real) and math.isfinite(value) and value > above:
            return float(value)
        raise UsageError(f"{name} is {value!r}: it must be a number larger than {above:g}")
    if _is(value, Integral) and least <= value <= (value if most is None else most):
        return int(value)
    allowed = f"{least} or more" if most is None else f"{least} .. {most:,}"
    raise UsageError(f"{name} is {value!r}: it must be a whole number, {allowed}")


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _texts(name: str, text: str) -> dict[str, str]:
    """{"a": "1", "b": "true"} of "a=1,b=true"."""
    pairs = {}
    for part in filter(None, text.split(",")):
        key, _, value = map(str.strip, part.partition("="))
        if not key or not value:
            raise UsageError(f"{name}: {part!r} is not NAME=VALUE, such as {_PAIR[name]}")
        pairs[key] = value
    return pairs


def _pairs(name: str, text: str) -> dict[str, float]:
    """{"a": 1.0} of "a=1,b=2"."""
    pairs = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not key.strip() or not math.isfinite(number):
            raise UsageError(f"{name}: {part!r} is not NAME=NUMBER, such as {_PAIR[name]}")
        pairs[key.strip()] = number
    return pairs
