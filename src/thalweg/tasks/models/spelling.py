"""How models are written: `mlp:256,256`, `resmlp:256x4`, `transformer:128x4,heads=8`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from thalweg.errors import UsageError
from thalweg.tasks.callables import is_callable_name

MOST_BLOCKS = 1000


@dataclass(frozen=True, slots=True)
class Form:
    """How one kind of model is written.

    sizes: what stands after the colon; none, widths (256,256) or blocks (256x4)
    options: NAME=VALUE after the sizes, with the values that there are; none of them: a number
    embeds: can a category with many levels be given to the model as a code?
    """

    text: str
    sizes: str
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    embeds: bool = False


NUMBERS = {"numbers": ("plain", "bins")}

FORMS = {
    "linear": Form("linear", "none"),
    "mlp": Form("mlp:WIDTH,WIDTH,... such as mlp:256,256", "widths", NUMBERS, embeds=True),
    "resmlp": Form("resmlp:WIDTHxBLOCKS such as resmlp:256x4", "blocks", NUMBERS, embeds=True),
    "conv": Form("conv:WIDTH,WIDTH,... such as conv:32,64,128", "widths"),
    "bag": Form("bag:WIDTH such as bag:16", "widths"),
    "transformer": Form(
        "transformer:WIDTHxBLOCKS such as transformer:128x4", "blocks", {"heads": ()}
    ),
}
OWN = "module:function for one of your own"
SPELLING = f"linear, or {', '.join(f.text for f in list(FORMS.values())[1:])}, or {OWN}"


@dataclass(frozen=True, slots=True)
class Spelling:
    """A model's name, read. widths: one for each layer or stage, of blocks a single one; empty
    where the data decides; num_blocks: 0 where there are none, or the data decides
    """

    name: str
    kind: str
    widths: tuple[int, ...] = ()
    num_blocks: int = 0
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_sized(self) -> bool:
        """Does it say how large it is?"""
        return bool(self.widths) or self.kind in ("linear", "own")

    def sized(self, sizes: str, options: Mapping[str, str]) -> Spelling:
        """The same model at sizes such as 256x4, and with options that it does not name."""
        both = {**options, **self.options}
        texts = [f"{key}={value}" for key, value in both.items()]
        return parsed(f"{self.kind}:{','.join([sizes, *texts])}")


def parsed(name: str) -> Spelling:
    """Raises UsageError, with what can be written, for a name that is none."""
    kind, colon, rest = name.partition(":")
    if kind not in FORMS:
        if is_callable_name(name):
            return Spelling(name, "own")
        near = get_close_matches(kind, FORMS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"model {name!r} is unknown: {hint}write {SPELLING}")
    form = FORMS[kind]
    parts = [part.strip() for part in rest.split(",")] if colon else []
    options = [part for part in parts if "=" in part]
    sizes = parts[: len(parts) - len(options)]
    if "=" in "".join(sizes) or (colon and form.sizes == "none"):
        raise _unknown(name)
    widths, num_blocks = _sizes(name, form, sizes)
    return Spelling(name, kind, widths, num_blocks, _options(name, form, options))


def _sizes(name: str, form: Form, parts: list[str]) -> tuple[tuple[int, ...], int]:
    if not parts:
        return (), 0
    if form.sizes == "widths":
        return tuple(_number(name, part) for part in parts), 0
    width, _, blocks = parts[0].partition("x")
    num_blocks = _number(name, blocks)
    if len(parts) > 1:
        raise _unknown(name)
    if num_blocks > MOST_BLOCKS:
        raise UsageError(f"model {name!r} has {num_blocks:,} blocks: at most {MOST_BLOCKS:,} do")
    return (_number(name, width),), num_blocks


def _options(name: str, form: Form, parts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        key, _, value = map(str.strip, part.partition("="))
        known = form.options.get(key)
        if known is None:
            there = f"it has {', '.join(form.options)}" if form.options else "it has none"
            raise UsageError(f"model {name!r}: {key!r} is no option of it: {there}")
        if known and value not in known:
            raise UsageError(f"model {name!r}: {key} is one of {', '.join(known)}")
        found[key] = value if known else str(_number(name, value))
    return found


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise _unknown(name)
    return int(text)


def _unknown(name: str) -> UsageError:
    form = FORMS[name.partition(":")[0]]
    return UsageError(f"model {name!r} is unknown: write {form.text}")


def embeds(model: Any) -> bool:
    """Does the model learn a vector for each level of a category, given as its code?"""
    form = FORMS.get(parsed(model).kind) if isinstance(model, str) else None
    return form is not None and form.embeds
