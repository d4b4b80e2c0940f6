"""The generated parts of docs/optimizers.md: from rules, classes, options and notes."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from itertools import combinations
from typing import Any, get_args, get_type_hints

import torch
from docstrings import entries, fenced, legend, sentence, source, sources
from optimizer_notes import NOTES

from thalweg.errors import UsageError
from thalweg.jobs.defaults import LR
from thalweg.optim import OPTIMIZERS, Optimizer
from thalweg.rules import RULES, Rule
from thalweg.rules.formula import compose
from thalweg.rules.options import OPTIONS, PIECES
from thalweg.rules.printing import MATHS
from thalweg.rules.sheet import Part, names_of, piece_sheet, sheet, written

CLASSES = tuple(dict.fromkeys(named.build for named in OPTIMIZERS.values()))
"""Every optimizer class, in the order of the table of names."""

DECAYS = {
    "coupled": "coupled: a part of the gradient",
    "decoupled": "decoupled: beside the step",
    "own": "its own, see the formula",
}
FLAGS = {
    "averages_weights": "averages its weights: `eval()` shows the average, `train()` goes on; "
    "`fit` and `descend` do both",
    "couples_tensors": "one number is measured over all tensors before any of them moves",
    "takes_sparse": "takes sparse gradients",
    "cancels": "subtracts states from each other, so they are stored as float32 at least",
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A rule of a class, the settings that choose it, and the options that it always has."""

    rule: Any
    settings: Mapping[str, Any]
    options: tuple[Any, ...]

    @property
    def parts(self) -> list[Part]:
        return sheet(self.rule, self.options)

    def text(self) -> str:
        """Its formula; the lines of its function where it is written for whole matrices."""
        if isinstance(self.rule, Rule):
            return fenced("text", written(self.parts, MATHS))
        below = getattr(self.rule, "below", None)  # for tensors of fewer dimensions
        texts = [text for rule in (self.rule, below) if rule for text in sources(rule.update)]
        return fenced("python", "\n\n\n".join(dict.fromkeys(texts)))

    def symbols(self) -> dict[str, str]:
        """What the letters mean: those of the legend that the formula has."""
        known = legend(self.rule.update)
        if not isinstance(self.rule, Rule):
            return known
        for option in compose(self.rule, self.options).options:
            known = {**legend(PIECES[type(option)].apply), **known}
        used = names_of(self.parts)
        return {name: text for name, text in known.items() if name in used}


def variants(build: type[Optimizer]) -> list[Variant]:
    """The rules that a class runs, the default's first, each with the fewest settings."""
    found: dict[str, Variant] = {}
    default = build([torch.zeros(2, 2)])
    hypers = default.rule_of(default.param_groups[0]).hypers
    switches = [*_switches(build), *_turned_on(build, default, hypers)]
    for size in range(min(3, len(switches)) + 1):
        for chosen in combinations(switches, size):
            settings = dict(chosen)
            try:
                group = build([torch.zeros(2, 2)], **settings).param_groups[0]
            except UsageError:
                continue
            rule = default.rule_of(group)
            found.setdefault(rule.name, Variant(rule, settings, tuple(group["options"])))
    return list(found.values())


def _switches(build: type[Optimizer]) -> Iterator[tuple[str, Any]]:
    """Settings that are True or False, or one of several words: other values than the default."""
    hints = get_type_hints(build.__init__)
    for row in arguments(build):
        if isinstance(row.default, bool):
            yield row.name, not row.default
        elif isinstance(row.default, str):
            others = (word for word in get_args(hints[row.name]) if word != row.default)
            yield from ((row.name, word) for word in others)


def _turned_on(
    build: type[Optimizer], default: Optimizer, hypers: Any
) -> Iterator[tuple[str, Any]]:
    """Numbers that are 0 by default and that only some rules of the class have: momentum."""
    known = {row.setting for row in hypers}
    for row in arguments(build):
        if row.default == 0 and not isinstance(row.default, bool) and row.name not in known:
            yield row.name, _rows(default)[row.name][0].default


def _rows(optimizer: Optimizer) -> dict[str, list[Any]]:
    """Every hyperparameter row of an optimizer's rules, by the setting it stands in."""
    rows: dict[str, list[Any]] = {}
    for row in dict.fromkeys(optimizer._family.hypers()):
        held = rows.setdefault(row.setting, [])
        if all(row.index != other.index for other in held):
            held.append(row)
    return rows


def arguments(build: type[Optimizer]) -> list[inspect.Parameter]:
    """A class's own arguments."""
    given = inspect.signature(build).parameters.values()
    return [row for row in given if row.name != "params" and row.kind is not row.VAR_KEYWORD]


def table() -> str:
    """All optimizers in a table, one line each."""
    lines = [
        "| optimizer | in one sentence | `--optimizer` | lr of `fit` | states | also in torch |",
        "|---|---|---|---|---|---|",
    ]
    for build in CLASSES:
        names = [name for name, named in OPTIMIZERS.items() if named.build is build]
        first = variants(build)[0]
        cells = [
            f"[{build.__name__}](#{build.__name__.lower()})",
            sentence(build),
            ", ".join(f"`{name}`" for name in names),
            ", ".join(dict.fromkeys(f"{LR[name]:g}" for name in names if name in LR)),
            str(len(first.rule.states)),
            "yes" if hasattr(torch.optim, build.__name__) else "no",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    note = "States: tensors of the parameter's size that are kept beside it, with default settings."
    return "\n".join([*lines, "", note])


def each() -> str:
    """A section for every class."""
    return "\n\n".join(["## Each optimizer", _reading(), *map(section, CLASSES)])


def _reading() -> str:
    names = ", ".join(f"`{short}` is `{name}`" for name, short in MATHS.names.items())
    return (
        "How to read a formula: `←` gives the name on its left a new value, line by line from the "
        "top; `·` is times, `√` the square root, `|x|` the size of x without its sign. It is "
        f"printed from the functions that run. {names}, and beta1 and beta2 are `betas[0]` and "
        "`betas[1]`."
    )


def section(build: type[Optimizer]) -> str:
    """All there is to say about one class."""
    found = variants(build)
    note = NOTES.get(build.__name__)
    blocks = [f"### {build.__name__}", sentence(build)]
    if note is not None:
        blocks.append(f"**When to choose it.** {note.when}")
    blocks += _formulas(found)
    blocks.append(settings_table(build))
    blocks.append("\n".join(f"- {fact}" for fact in _facts(build, found)))
    if note is not None and note.differs:
        blocks.append(f"**Where libraries disagree.** {note.differs}")
    return "\n\n".join(blocks)


def _formulas(found: list[Variant]) -> Iterator[str]:
    """The formula of each variant; one that differs in the kind of decay only is told in words."""
    shown: list[Variant] = []
    for variant in found:
        same = [v for v in shown if _functions(v.rule) == _functions(variant.rule)]
        if not same:
            if shown:
                yield f"With {spelled(variant.settings)}:"
            yield variant.text()
            symbols = variant.symbols()
            new = {k: v for k, v in symbols.items() if all(k not in s.symbols() for s in shown)}
            if new:
                spelling = MATHS.names
                yield " · ".join(f"`{spelling.get(k, k)}` {text}" for k, text in new.items())
            shown.append(variant)
    decays = {variant.rule.decay for variant in shown if isinstance(variant.rule, Rule)}
    for variant in found:
        if variant not in shown and variant.rule.decay not in decays:
            decays.add(variant.rule.decay)
            kind = DECAYS[variant.rule.decay].partition(":")[0]
            yield f"With {spelled(variant.settings)}: weight decay is {kind}, all else the same."


def _functions(rule: Any) -> tuple[Any, ...]:
    names = ("coefficients", "update", "measure", "conclude")
    return tuple(getattr(rule, name, None) for name in names)


def spelled(settings: Mapping[str, Any]) -> str:
    """Settings as they are typed."""
    return "`" + ", ".join(f"{name}={value!r}" for name, value in settings.items()) + "`"


def settings_table(build: type[Optimizer]) -> str:
    """Every argument: default, range, meaning."""
    known = _rows(build([torch.zeros(2, 2)]))
    lines = ["| argument | default | allowed | meaning |", "|---|---|---|---|"]
    for row in arguments(build):
        hypers = known.get(row.name, [])
        if not hypers:
            allowed = ", ".join(_words(get_type_hints(build.__init__)[row.name]))
            lines.append(f"| `{row.name}` | `{row.default!r}` | {allowed} | {told(build, row)} |")
        for hyper in hypers:
            is_pair = hyper.index is not None
            name = f"{row.name}[{hyper.index}]" if is_pair else row.name
            default = row.default[hyper.index] if is_pair else row.default
            is_free = math.isinf(hyper.low) and math.isinf(hyper.high)
            allowed = "any number" if is_free else f"`{hyper.range}`"
            allowed = "`True`, `False`" if isinstance(default, bool) else allowed
            number = f"{default:g}" if isinstance(default, float | int) else repr(default)
            value = repr(default) if isinstance(default, bool) else number
            lines.append(f"| `{name}` | `{value}` | {allowed} | {hyper.meaning} |")
    return "\n".join(lines)


def _words(hint: Any) -> Iterator[str]:
    """What a type allows: the words of a Literal, the parts of a union."""
    if hint is bool:
        yield from ("`True`", "`False`")
    elif get_args(hint):
        for part in get_args(hint):
            yield from _words(part)
    elif isinstance(hint, type):
        known = {type(None): "`None`", float: "a number", torch.Tensor: "a tensor of one"}
        yield known.get(hint, f"`{hint.__name__}`")
    else:
        yield f"`{hint!r}`"


def told(build: type, argument: inspect.Parameter) -> str:
    """What a docstring says of an argument: the class's own, else one that it refers to."""
    for kind in (build, *CLASSES):
        text = entries(inspect.getdoc(kind) or "").get(argument.name)
        if text is not None:
            return text
    return ""


def _facts(build: type[Optimizer], found: list[Variant]) -> Iterator[str]:
    """One line for each fact of the rows."""
    first = found[0].rule
    yield f"State: {_states(found)}."
    if isinstance(first, Rule):
        yield f"Weight decay: {DECAYS[first.decay]}."
    for flag, text in FLAGS.items():
        flagged = [v for v in found if getattr(v.rule, flag, False)]
        if flagged:
            where = "" if flagged[0] is found[0] else f" (with {spelled(flagged[0].settings)})"
            yield f"{text[0].upper()}{text[1:]}{where}."
    names = [name for name, named in OPTIMIZERS.items() if named.build is build]
    yield "On the command line: " + ", ".join(_command(name) for name in names) + "."
    papers = [variant.rule.paper for variant in found if variant.rule.paper]
    papers += [source(type(option)) for option in found[0].options]
    yield "Source: " + "; ".join(dict.fromkeys(papers)) + "."


def _command(name: str) -> str:
    preset = OPTIMIZERS[name].preset
    means = f" is {spelled(preset)}" if preset else ""
    rate = f" (lr {LR[name]:g})" if name in LR else ""
    return f"`--optimizer {name}`{means}{rate}"


def _states(found: list[Variant]) -> str:
    """The keys of the state dict, each with its letter, and when it is there."""
    told: dict[str, str] = {}
    for variant in found:
        rule = variant.rule
        letters: Any = list(rule.states)
        if isinstance(rule, Rule):
            letters = rule.update_program.inputs[2:]
        keys = {
            key: "" if letter == key else f" ({letter})"
            for key, letter in zip(rule.states, letters, strict=False)
        }
        keys |= {"step": " (t)"} if rule.counts_steps else {}
        keys |= dict.fromkeys(rule.scalars, "")
        where = f" with {spelled(variant.settings)}" if variant.settings else ""
        for key, letter in keys.items():
            told.setdefault(key, f"`{key}`{letter}{where}")
    return ", ".join(told.values()) or "none"


def options() -> str:
    """A part for every option."""
    return "\n\n".join(map(option_section, OPTIONS.values()))


def option_section(kind: type) -> str:
    """What an option does, its formula, its fields, and what it excludes."""
    given = ", ".join(_field(row) for row in fields(kind))
    blocks = [f"### {kind.__name__}({given})", _described(kind)]
    if kind in PIECES:
        blocks.append(fenced("text", written(piece_sheet(PIECES[kind]), MATHS)))
    excluded = [other.__name__ for other in OPTIONS.values() if _clash(kind, other)]
    refusing = [text for build in CLASSES if (text := _refusing(build, kind))]
    if excluded:
        blocks.append(f"Not together with {', '.join(excluded)}.")
    if refusing:
        blocks.append(f"Not for {', '.join(refusing)}.")
    return "\n\n".join(blocks)


def _described(kind: type) -> str:
    """The docstring: its sentences, a line for each field, its source."""
    text = (inspect.getdoc(kind) or "").replace("Source: ", "\n\nSource: ")
    lines = re.sub(r"\n(\w+): ", r"\n\n- `\1`: ", text.replace("Source: ", "Source ")).split("\n\n")
    told = [" ".join(line.split()) for line in lines]
    return "\n\n".join(line.replace("Source ", "Source: ", 1) for line in told if line)


def _field(row: Any) -> str:
    return row.name if row.default is MISSING else f"{row.name}={row.default!r}"


def example(kind: type) -> Any:
    """An option with 1.0 for what has no default."""
    return kind(**{row.name: 1.0 for row in fields(kind) if row.default is MISSING})


def _clash(kind: type, other: type) -> bool:
    return kind is not other and _is_refused(RULES["adamw"], example(kind), example(other))


def _refusing(build: type[Optimizer], kind: type) -> str:
    """A class that takes no such option, or does not with some of its settings; "" where it does.

    Muon's matrices take none that works on elements: its docstring says so.
    """
    found = variants(build)
    refused = [variant for variant in found if _refuses(variant.rule, kind)]
    if len(refused) == len(found):
        return build.__name__
    settings = refused[0].settings if refused else {}
    return f"{build.__name__} with {spelled(settings)}" if settings else ""


def _refuses(rule: Any, kind: type) -> bool:
    return (not isinstance(rule, Rule) and kind in PIECES) or _is_refused(rule, example(kind))


def _is_refused(rule: Any, *given: Any) -> bool:
    if not isinstance(rule, Rule):
        return False
    try:
        compose(rule, given)
    except UsageError:
        return True
    return False
