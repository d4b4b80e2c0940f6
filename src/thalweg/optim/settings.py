"""What a parameter group may hold: everything that users give is checked here, before it is used.

One and zero count as True and False, as in torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from thalweg.errors import UsageError
from thalweg.optim.family import Family, Single, completed
from thalweg.rules.clips import clip_of, is_in_formula
from thalweg.rules.matrix import formula_of
from thalweg.rules.options import OPTIONS, Option
from thalweg.rules.rule import SWITCH, check_choice

WISH = (*SWITCH, None)

FLAGS: dict[str, tuple[Any, ...]] = {
    "skip_nonfinite": SWITCH,
    "maximize": SWITCH,
    "capturable": SWITCH,
    "differentiable": SWITCH,
    "foreach": WISH,
    "fused": WISH,
}
"""The values of every optimizer's flags."""


def check(family: Family | Single, settings: Mapping[str, Any]) -> None:
    """Raise UsageError for settings that are out of range, or do not go together."""
    for name, default in completed(family, {}).items():
        if isinstance(default, tuple):
            _check_length(name, settings[name], len(default))
    for row in family.hypers():
        value = settings[row.setting]
        row.check(value if row.index is None else value[row.index])
    check_choices(family, settings)


def check_choices(family: Family | Single, settings: Mapping[str, Any]) -> None:
    """The same for all that is no number: flags, switches, clip, options, seed."""
    for name, allowed in (FLAGS | dict(family.switches)).items():
        check_choice(name, settings[name], allowed)
    clip = clip_of(settings["clip"])
    joining: tuple[Any, ...] = (clip,) if is_in_formula(clip) else ()
    formula_of(family(settings), (*options_of(settings["options"]), *joining))
    seed = settings["seed"]
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise UsageError(f"seed is {seed!r}: it must be a whole number, an int")


def options_of(value: Any) -> tuple[Option, ...]:
    """The options that a setting holds. Raises UsageError for anything else."""
    if not isinstance(value, list | tuple):
        raise UsageError(f"options is {value!r}: give a list, such as [Cautious(), EMA(0.999)]")
    for option in value:
        if type(option) not in OPTIONS.values():
            raise UsageError(
                f"option {option!r} is unknown: give objects, such as Cautious() or EMA(0.999); "
                f"there are {', '.join(OPTIONS)}"
            )
    return tuple(value)


def check_group(group: Mapping[str, Any], known: Iterable[str], owner: str) -> None:
    """Raise an error for a group without parameters, or with a setting that is not known."""
    if "params" not in group:
        raise UsageError(f"a parameter group has no 'params': it has {', '.join(map(str, group))}")
    check_params(group["params"])
    unknown = sorted(map(str, group.keys() - {*known} - _TORCHS_KEYS))
    if unknown:
        raise UsageError(
            f"a parameter group has {', '.join(unknown)}, which {owner} does not know: it has "
            f"{', '.join(known)}"
        )
    params = group["params"]
    if isinstance(params, Sequence) and len(set(map(id, params))) < len(params):
        raise UsageError("a parameter group holds a parameter twice: give each of them once")


def check_params(params: Any) -> None:
    """Raise TypeError, as torch does, for what cannot be a list of parameters."""
    if isinstance(params, nn.Module | Mapping | str) or not isinstance(params, Iterable):
        raise TypeError(
            f"params is of type {type(params).__name__}: give model.parameters(), a list of "
            "tensors, or a list of groups, each a dict with 'params'"
        )


def _check_length(name: str, value: Any, length: int) -> None:
    if not isinstance(value, tuple | list) or len(value) != length:
        words = {2: "a pair of numbers", 3: "three numbers"}.get(length, f"{length} numbers")
        raise UsageError(f"{name} is {value!r}: it must be {words}")


_TORCHS_KEYS = {
    "params",
    "param_names",
    "initial_lr",
    "max_lr",
    "min_lr",
    "max_momentum",
    "base_momentum",
    "swa_lr",
    "decoupled_weight_decay",
    "train_mode",
}
"""Keys of a group that are no settings: torch's schedulers write theirs there."""
