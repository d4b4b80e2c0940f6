"""Remedies in the words of the tool that made a log, with the run's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thalweg.health.codes import Code

SPELLED = {
    "thalweg": {
        "lr": "--lr {}",
        "clip": "--clip {}",
        "warmup": "--warmup {}",
        "weight_decay": "--optimizer {optimizer}:weight_decay={}",
        "batch_size": "--batch-size {}",
        "class_weights": "--class-weights balanced",
        "precision": "--precision bf16",
        "master_weights": "--precision bf16-weights",
        "resume": "thalweg resume",
    },
    "huggingface": {
        "lr": "learning_rate={}",
        "clip": "max_grad_norm={}",
        "warmup": "warmup_steps={}",
        "weight_decay": "weight_decay={}",
        "batch_size": "per_device_train_batch_size={}",
        "precision": "bf16=True",
        "master_weights": "load the model in float32, with bf16=True",
        "resume": "trainer.train(resume_from_checkpoint=True)",
    },
    "lightning": {
        "lr": "lr={} in configure_optimizers",
        "clip": "Trainer(gradient_clip_val={})",
        "weight_decay": "weight_decay={} in configure_optimizers",
        "batch_size": "DataLoader(batch_size={})",
        "shuffle": "DataLoader(shuffle=True)",
        "precision": 'Trainer(precision="bf16-mixed")',
        "master_weights": 'Trainer(precision="bf16-mixed") instead of "bf16-true"',
        "resume": 'trainer.fit(model, ckpt_path="last")',
    },
    "keras": {
        "lr": "learning_rate={}",
        "clip": "clipnorm={}",
        "weight_decay": "weight_decay={}",
        "batch_size": "fit(batch_size={})",
        "class_weights": "fit(class_weight=...)",
        "shuffle": "fit(shuffle=True)",
        "precision": 'mixed_precision.set_global_policy("mixed_bfloat16")',
    },
    "megatron": {
        "lr": "--lr {}",
        "clip": "--clip-grad {}",
        "warmup": "--lr-warmup-iters {}",
        "weight_decay": "--weight-decay {}",
        "batch_size": "--global-batch-size {}",
        "precision": "--bf16",
        "resume": "--load",
    },
    "nanogpt": {
        "lr": "--learning_rate={}",
        "clip": "--grad_clip={}",
        "warmup": "--warmup_iters={}",
        "weight_decay": "--weight_decay={}",
        "batch_size": "--batch_size={}",
        "precision": "--dtype=bfloat16",
        "resume": "--init_from=resume",
    },
    "fastai": {
        "lr": "fit_one_cycle(..., lr_max={})",
        "clip": "GradientClip({})",
        "weight_decay": "wd={}",
        "batch_size": "dataloaders(bs={})",
    },
    "": {
        "clip": "torch.nn.utils.clip_grad_norm_(model.parameters(), {})",
        "shuffle": "DataLoader(shuffle=True)",
    },
}
"""Each tool's spelling of a setting; what a tool has no word for is left out of the sentence."""

SPLIT_APART = "split by group or by time, and remove rows that stand in both parts"

USUAL_RATIO = 1e-3
"""The usual size of a step beside that of the weights."""


@dataclass(frozen=True, slots=True)
class Run:
    """What advice hangs on. tool: whose words; settings: in ours, those that are known, and
    update_ratio, the size of a step beside that of the weights; best: of which step the best
    weights are, in words
    """

    tool: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    best: str = "the best evaluation"
    checkpoint: str = ""


def advice(row: Code, run: Run, **more: str) -> str:
    """A row's remedy for this run. more: gaps that only the detector can fill, with words or with
    the name of another gap.
    """
    known = _gaps(run)
    gaps = {**known, **{name: known.get(text, text) for name, text in more.items()}}
    text = row.remedy.format_map(gaps)
    return " ".join(text.split()).replace(" ,", ",").replace(" ;", ";")


def _gaps(run: Run) -> dict[str, str]:
    lr, decay = run.settings.get("lr"), run.settings.get("weight_decay")
    batch = run.settings.get("batch_size")
    return {
        "lower_lr": _rate(run, lr, 0.1, "lower the learning rate"),
        "raise_lr": _rate(run, lr, _further(run), "raise the learning rate"),
        "other_lr": _either(run, lr),
        "either_lr": _either(run, lr),
        "clip": _clip(run),
        "raise_clip": _raise_clip(run),
        "longer_warmup": f"a longer warm-up{_spelled(run, 'warmup', _twice(run, 'warmup'))}",
        "lower_decay": _rate(
            run, decay, _less(lr, decay), "lower the weight decay", "weight_decay"
        ),
        "more_decay": _rate(run, decay or None, 3.0, "more weight decay", "weight_decay"),
        "less_decay": _rate(run, decay or None, 0.3, "less weight decay", "weight_decay"),
        "larger_batch": _rate(run, batch, 4.0, "a larger batch", "batch_size"),
        "class_weights": _spelled(run, "class_weights", None).strip(),
        "shuffle": _spelled(run, "shuffle", None).strip(),
        "master_weights": _spelled(run, "master_weights", None).strip(),
        "precision": _spelled(run, "precision", None).strip(),
        "keep_best": _keep_best(run),
        "no_leak": f"{SPLIT_APART}; leave out inputs that hold the answer",
        "go_back": f"go back to {run.checkpoint or run.best}",
        "resume": f"go on from the last checkpoint{_spelled(run, 'resume', None)}",
        "schedule": "check the schedule",
        "pairing": "give the loss what it expects",
    }


def _rate(run: Run, value: Any, factor: float, words: str, name: str = "lr") -> str:
    """Such as: lower the learning rate (it was 0.3; try --lr 0.03)."""
    if not isinstance(value, int | float) or not value > 0:
        return f"{words}{_spelled(run, name, None)}"
    new = value * factor
    new = f"{new:.0f}" if name == "batch_size" else f"{new:.2g}"
    return f"{words} (it was {value:g}; try {_word(run, name, new) or new})"


def _further(run: Run) -> float:
    """How many times the rate makes steps of the usual size, where theirs is known; else 10.

    A third of that, as one figure: the next rate to try is better too low than too high.
    """
    ratio = run.settings.get("update_ratio")
    if not isinstance(ratio, float) or not ratio > 0:
        return 10.0
    return max(10.0, float(f"{USUAL_RATIO / ratio / 3:.1g}"))


def _less(lr: Any, decay: Any) -> float:
    """A tenth, or what a step then takes from a weight is usual: at most 1e-4 of it."""
    if not isinstance(lr, int | float) or not isinstance(decay, int | float) or not lr * decay > 0:
        return 0.1
    return min(0.1, float(f"{1e-4 / lr:.1g}") / decay)


def _keep_best(run: Run) -> str:
    """Our own fit stops early and keeps the best weights, whether asked or not."""
    if run.tool == "thalweg" and run.settings.get("patience"):
        return f"the weights of {run.best} are kept; for better ones"
    return f"keep the weights of {run.best}; stop early; then"


def _either(run: Run, lr: Any) -> str:
    """Such as: another learning rate (it was 0.3; try --lr 3 and --lr 0.03)."""
    if not isinstance(lr, int | float) or not lr > 0:
        return f"another learning rate{_spelled(run, 'lr', None)}"
    both = " and ".join(
        _word(run, "lr", new) or new for new in (f"{10 * lr:.2g}", f"{lr / 10:.2g}")
    )
    return f"another learning rate (it was {lr:g}; try {both})"


def _clip(run: Run) -> str:
    now = run.settings.get("clip")
    if isinstance(now, int | float) and now > 0:
        lower = f"{now / 3:.2g}"
        tried = _word(run, "clip", lower) or lower
        return f"clip the gradient's norm lower (it was {now:g}; try {tried})"
    return f"clip the gradient's norm{_spelled(run, 'clip', '1.0')}"


def _raise_clip(run: Run) -> str:
    now = run.settings.get("clip")
    was = f"it was {now:g}; " if isinstance(now, int | float) else ""
    return f"clip the gradient's norm less ({was}try {_word(run, 'clip', '1.0') or '1.0'})"


def _twice(run: Run, name: str) -> str | None:
    value = run.settings.get(name)
    return f"{2 * value:g}" if isinstance(value, int | float) and value > 0 else None


def _spelled(run: Run, name: str, value: str | None) -> str:
    """Such as (max_grad_norm=1.0), or nothing where the tool has no word for it."""
    word = _word(run, name, value)
    return f" ({word})" if word else ""


def _word(run: Run, name: str, value: str | None) -> str:
    word = SPELLED.get(run.tool, {}).get(name, "")
    if "{}" in word and value is None:
        bare = word.split("=")[0].split(" {")[0].rstrip("{}")
        return bare if bare.count("(") == bare.count(")") else ""
    optimizer = str(run.settings.get("optimizer", "adamw"))
    return word.replace("{}", value or "").replace("{optimizer}", optimizer)
