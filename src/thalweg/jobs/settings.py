"""The settings of a fit: one source for the function, the command line and run.toml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from os import PathLike
from typing import Any

from thalweg.errors import UsageError
from thalweg.jobs import defaults
from thalweg.jobs.judging import check_named, class_weights_text, quantiles_text
from thalweg.jobs.splits import check_split
from thalweg.jobs.text import check_text
from thalweg.jobs.values import (
    check_choice,
    number_of,
    numbers_of,
    share_of,
    texts_of,
    word_or_number,
)
from thalweg.loop.every import every_of, seconds_of
from thalweg.rules.clips import NO_CLIP, ByNorm, Clip, clip_of, clip_text, parse_clip
from thalweg.schedules import BUILDERS, Schedule, parse
from thalweg.tasks.images.words import AUGMENTS, size_of, size_text
from thalweg.tasks.table.names import text_of

TASKS = ("auto", "classification", "regression", "lm")
MATMUL = ("auto", "torch", "onednn")
MALLOC = ("auto", "off")
GUARDS = ("act", "advise", "off")
COMPILE = ("off", "auto", "on")
PRECISIONS = ("float32", "bf16", "fp16", "bf16-weights")
_AFTER_WARMUP = sorted(BUILDERS.keys() - {"warmup"})
_NAMES = ("columns", "drop", "types", "text", "freeze")
"""Settings that name columns: a text, or from Python a list or a mapping."""
_TRUTHS = {"true": True, "false": False}


def _setting(default: Any, help: str, **allowed: Any) -> Any:
    """A setting; allowed: `choices`; `least`, `most` of a whole number, which may be one of `words`
    instead; or what a number must be `above`, and `below`.
    """
    return field(default=default, metadata={"help": help, "allowed": allowed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be asked of a fit; None means "by the table of defaults"."""

    target: str | None = _setting(None, "the column to predict; several of numbers as a,b")
    task: str = _setting(
        "auto",
        "auto, classification or regression; lm: learn to write a plain text, byte by byte",
        choices=TASKS,
    )
    separator: str | None = _setting(
        None, 'what parts the labels in a target that holds several: ";" for red;blue'
    )
    text: Any = _setting(
        None, "a column of free text to learn from; several as a,b are read as one text"
    )
    context: int | None = _setting(
        None,
        "tokens after which a text is cut, or bytes that a language model sees at once",
        least=8,
        most=65_536,
    )
    columns: Any = _setting(None, "the columns to learn from, and no others: a,b,c")
    drop: Any = _setting(None, "columns to leave out: a,b")
    types: Any = _setting(
        None,
        "kinds of columns: code=category,when=date:%d.%m.%Y; number, category, boolean, date, "
        "mixed, text, image or drop",
    )
    schema: str | None = _setting(
        None, "a schema.toml that says what the columns are, whole or in parts"
    )
    image_size: int | str | None = _setting(
        None, "width and height that pictures are made: 64, or WIDTHxHEIGHT as 96x128"
    )
    augment: str | None = _setting(
        None,
        "how pictures vary from epoch to epoch: shift, flip (left and right, and shift) or none",
        choices=AUGMENTS,
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
        None,
        "linear, mlp:WIDTH,WIDTH,..., resmlp:WIDTHxBLOCKS, conv:WIDTH,..., bag:WIDTH, "
        "transformer:WIDTHxBLOCKS, or module:function that makes one; by default as the data needs",
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
        None,
        "share of the true class that is spread over all classes, below 1; 0: none",
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
    init: str | None = _setting(
        None, "weights to begin with: FILE.safetensors, or the folder of a run, whose columns too"
    )
    freeze: Any = _setting(
        None, "parameters to keep as they are, by name, with * for anything: encoder.*,*.bias"
    )
    layer_decay: float | None = _setting(
        None, "factor of the rate from each layer to the one below, such as 0.8", above=0, most=1
    )
    forgetting: Any = _setting(
        None, "data of the task that --init was trained for: what of it is forgotten is measured"
    )
    by: str | None = _setting(
        None, "the column by whose values errors are told apart at the end; it may be an input"
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
    batch_size: int | str = _setting(
        "auto", "rows a gradient sees: auto, full, or a number >= 1", words=("auto", "full")
    )
    accumulate: int = _setting(
        1, "parts in which a batch is computed, one after the other, to save memory", least=1
    )
    precision: str = _setting(
        "float32",
        "float32; or bf16, fp16: products in it, weights and optimizer in float32; bf16-weights: "
        "the model's weights too, also saved so, and float32 ones only in the optimizer",
        choices=PRECISIONS,
    )
    compile: bool | str = _setting(
        "off",
        "torch.compile: alone where a short measurement shows a gain, or on, off; evaluations are "
        "computed as ever",
        choices=COMPILE,
    )
    recompute: bool = _setting(
        False,
        "activation checkpointing: keep only the inputs of the model's blocks and compute the rest "
        "again, to save memory",
    )
    workers: int = _setting(
        0, "processes that fetch samples of a Dataset, or pictures, ahead", least=0
    )
    clip: float | str | None = _setting(
        None,
        "largest norm of the gradient, > 0: 1.0; or tensor:1.0 of each tensor's, value:0.5 of each "
        "element; adaptive, or adaptive:0.01: each tensor's norm as a share of its parameter's; or "
        "none",
    )
    ema: float | None = _setting(
        None,
        "look at, keep and save a running mean of the weights, with this decay: 0.999 (and batch "
        "norm's statistics recomputed for it); 0: none",
    )
    guard: str = _setting(
        "act",
        "act: repair a run that goes wrong; advise: say what would be done; off",
        choices=GUARDS,
    )
    trials: bool = _setting(
        False,
        "once in the run, where a finding needs an act, try what confirms or refutes its cause; "
        "the run is the same to the bit with and without",
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
    threads: int | str = _setting(
        "auto", "CPU threads to compute with: auto, or a number >= 1", words=("auto",), most=1024
    )
    matmul: str = _setting(
        "auto",
        "who multiplies float32 matrices on the CPU: auto, torch (as ever) or onednn",
        choices=MATMUL,
    )
    malloc: str = _setting(
        "auto", "keep large buffers of memory in the process: auto or off", choices=MALLOC
    )
    out: str | None = _setting("runs", "folder in which the run's own folder is made")
    name: str | None = _setting(
        None, "name of the run's folder; by default the data's and a number"
    )
    horizon: int | None = _setting(
        None, "steps that the schedule is planned for; with --time measured once", least=1
    )

    def __post_init__(self) -> None:
        self._write_as_texts()
        for row in fields(self):
            self._check(row)
        self._check_together()
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

    @property
    def parsed_optimizer(self) -> tuple[str, dict[str, str]]:
        """Name and hyperparameters of "adamw:weight_decay=0.1", these as texts."""
        name, _, rest = self.optimizer.partition(":")
        check_choice("optimizer", name, tuple(defaults.LR))
        return name, texts_of("optimizer", rest)

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
        if self.lr is not None:
            return self.lr
        usual = defaults.LR[self.parsed_optimizer[0]]
        is_whole = self.init is not None and self.freeze is None
        return usual * defaults.FINE_TUNING if is_whole else usual

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
        if self.clip == NO_CLIP:
            return None
        return parse_clip(self.clip) if isinstance(self.clip, str) else clip_of(self.clip)

    @property
    def goal(self) -> dict[str, float]:
        """The goal that ends the fit, such as {"accuracy": 0.98}."""
        return numbers_of("until", self.until or "")

    def _write_as_texts(self) -> None:
        """What Python gives as an object, in the words of the command line."""
        self._set("quantiles", quantiles_text(self.quantiles))
        self._set("class_weights", class_weights_text(self.class_weights))
        for name in ("target", *_NAMES):
            given = getattr(self, name)
            if given is not None and not isinstance(given, str | PathLike):
                self._set(name, text_of(given, name))
        if isinstance(self.compile, bool):
            self._set("compile", ("off", "auto")[self.compile])
        if isinstance(self.schedule, Schedule):
            self._set("schedule", str(self.schedule))
        clip = self.parsed_clip
        if isinstance(clip, ByNorm):
            self._set("clip", clip.limit)
        elif clip is not None and not isinstance(self.clip, str):
            self._set("clip", clip_text(clip))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check(self, row: Field[Any]) -> None:
        """Raise UsageError for a value of the wrong type, or that is not allowed."""
        value, allowed = getattr(self, row.name), row.metadata["allowed"]
        if value is None and "None" in str(row.type):
            return
        if row.type in ("str", "str | None") and not isinstance(value, str | PathLike):
            raise UsageError(f"{row.name} is {value!r}: it must be a text")
        if row.type == "bool" and not isinstance(value, bool):
            raise UsageError(f"{row.name} is {value!r}: it must be true or false")
        shown = row.name.replace("_", "-")
        if "choices" in allowed:
            check_choice(shown, value, allowed["choices"])
        elif "words" in allowed:
            self._set(row.name, word_or_number(shown, value, **allowed))
        elif allowed:
            self._set(row.name, number_of(shown, value, **allowed))

    def _check_together(self) -> None:
        """Raise UsageError for texts that say nothing, and settings that do not go together."""
        for name in ("dropout", "ema", "label_smoothing"):
            if getattr(self, name) is not None:
                share_of(name.replace("_", "-"), getattr(self, name))
        check_named("loss", self.loss)
        check_named("metric", self.metric)
        every_of(self.checkpoint_every)
        check_text(self)
        if self.image_size is not None:
            self._set("image_size", size_text(*size_of(self.image_size)))
        check_split(self)
        if self.parsed_schedule.warms_up and self.warmup:
            raise UsageError(
                f"warmup is {self.warmup}, and the schedule {self.schedule_text!r} has a warm-up "
                "of its own: leave one of them out (--warmup 0 is none)"
            )
