"""Writes the source of CPU kernels: a formula and how its arrays are stored, in; Python text, out.

The text is compiled by Numba (`cpu.py`). A kernel takes one address, of the table of a launch
(`cpu_words.py` says what stands where), and works off its chunks together with the other threads.
What no formula changes is no text: it is compiled once a process (`cpu_common.py`).
"""

from __future__ import annotations

from thalweg.backends.cpu_prologue import prologue
from thalweg.backends.cpu_words import Word, spell, words
from thalweg.backends.layout import SIZES, Layout, arrays_of
from thalweg.backends.rounding import SHIFTS
from thalweg.backends.spelling import indented
from thalweg.rules.formula import Formula, Measure

_HEAD = '''"""Kernels written by thalweg: {title}."""

import math

import numpy as np
from numba import cfunc, njit, types

from thalweg.backends.cpu_common import (
    FAST, careful, compiled, factors, is_skipped, key_of, norms, row_elements, row_sum, total,
)
from thalweg.backends.elements import (
    draw, exact, load, load_half, number, put, put_word, rounded, store, store_by_chance,
    store_halves, store_halves_by_chance, take, word,
)

F = np.{arithmetic}
inline = njit(inline="always", error_model="numpy", fastmath=FAST)
entry = cfunc(types.void(types.int64), error_model="numpy")
norm, careful_sum = norms("{grad}", "{arithmetic}")
load1 = load("{grad}", "{arithmetic}", 1)
add = exact("add", "{arithmetic}")
subtract = exact("subtract", "{arithmetic}")


@inline
def sign(x):
    return F(1) if x > F(0) else (F(-1) if x < F(0) else x)


@inline
def maximum(a, b):
    return a if (a > b or a != a) else b


@inline
def minimum(a, b):
    return a if (a < b or a != a) else b


@inline
def where(condition, a, b):
    return a if condition else b

'''

_KERNEL = """

@compiled
def {kernel}(at):
    while True:
        c = take(word(at, {counter}))
        if c >= word(at, {num_chunks}):
            break
        chunk = word(at, {chunks}) + 24 * c
        t = word(chunk, 0)
        start = word(chunk, 1)
        n = word(chunk, 2)
        sums = word(at, {sums}) + 32 * c
        g_at = word(word(at, {arrays} + 1), t)
        if g_at == 0:
            for k in range(4):
                put(sums, k, 0.0)
            continue
{setting}
        {accumulators} = {zeros}
{loop}
{ending}
"""


def source(formula: Formula, layout: Layout) -> str:
    """The module of a formula's kernel: its entry `main` does the task that the table names."""
    title = ascii(f"{formula.name}, stored as {layout.name}")[1:-1]
    parts = [
        _HEAD.format(title=title, grad=layout.grad, arithmetic=layout.arithmetic),
        *_accessors(formula, layout),
        *(_measure(formula, layout, k) for k in range(len(formula.measures))),
        _update(formula, layout),
        prologue(formula, is_by_chance=layout.rounding == "stochastic"),
        _main(formula),
    ]
    return "".join(parts)


def tasks(formula: Formula) -> list[str]:
    """What a kernel can be asked for; all threads run norm, measures and update, one the rest."""
    numbers = range(len(formula.measures))
    measures = [name for k in numbers for name in (f"measure{k}", f"scale{k}")]
    return ["norm", "total", "settle", *measures, "update", "whole"]


def _accessors(formula: Formula, layout: Layout) -> list[str]:
    """How each array is read and written: load0 and store0 are the parameter's; of two in a
    word, low0, high0 and both0."""
    lines = ["\n"]
    for k, (_, dtype) in enumerate(arrays_of(formula, layout)):
        is_by_chance, shift = layout.is_by_chance(dtype), SHIFTS[k % len(SHIFTS)]
        if layout.is_paired:
            lines.append(f"low{k} = load_half({k}, is_high=False)\n")
            lines.append(f"high{k} = load_half({k}, is_high=True)\n")
            by = f"store_halves_by_chance({k}, {shift})" if is_by_chance else f"store_halves({k})"
            lines.append(f"both{k} = {by}\n")
        if k == 1:
            continue
        lines.append(f'load{k} = load("{dtype}", "{layout.arithmetic}", {k})\n')
        if is_by_chance:
            lines.append(f'store{k} = store_by_chance("{layout.arithmetic}", {k}, {shift})\n')
        else:
            lines.append(f'store{k} = store("{dtype}", "{layout.arithmetic}", {k})\n')
    lines.append(f'rounded0 = rounded("{layout.param}", "{layout.arithmetic}")\n')
    return lines


def _setting(formula: Formula, layout: Layout) -> list[str]:
    """What a chunk needs before its loop: addresses and coefficients."""
    lines = [f"factor = F(number(word(at, {Word.FACTORS:d}), t))"]
    for k, (_, dtype) in enumerate(arrays_of(formula, layout)):
        base = "g_at" if k == 1 else f"word(word(at, {Word.ARRAYS + k:d}), t)"
        lines.append(f"at{k} = {base} + {SIZES[dtype]} * start")
    width = 8 * len(formula.coefficients)
    lines.append(f"row = word(at, {Word.COEFFICIENTS:d}) + {width} * t")
    lines += [f"_{name} = F(number(row, {k}))" for k, name in enumerate(formula.coefficients)]
    if formula.measures:
        lines.append(f"scales = word(at, {Word.SCALES:d}) + {8 * len(formula.measures)} * t")
    lines += [f"_{m.name} = F(number(scales, {k}))" for k, m in enumerate(formula.measures)]
    if layout.rounding == "stochastic":
        lines.append(f"key = types.uint32(word(word(at, {Word.KEYS:d}), t) + start)")
    return lines


def _loads(formula: Formula, layout: Layout, load: str = "load", i: str = "i") -> list[str]:
    """One element of every array; the gradient as it came, and as it counts."""
    lines = [f"raw = {load}1(at1, {i})", "_g = raw * factor"]
    arrays = enumerate(arrays_of(formula, layout))
    lines += [f"_{name} = {load}{k}(at{k}, {i})" for k, (name, _) in arrays if k != 1]
    return [*lines, *_TRUE_P.get(layout.rounding, [])]


_TRUE_P = {
    "kahan": ["stored = _p", "_p = _p + _kahan"],
    "master": ["_p = where(rounded0(_master) == _p, _master, _p)"],
}
"""What p stands for: what it lacks added; its copy, where nobody else has changed it."""


def _measure(formula: Formula, layout: Layout, k: int) -> str:
    measure: Measure = formula.measures[k]
    body = _loads(formula, layout)
    body += [f"_{name} = {spell(value)}" for name, value in measure.lines]
    body += [f"total{j} += {spell(value)}" for j, value in enumerate(measure.sums)]
    totals = [f"total{j}" for j in range(len(measure.sums))]
    ending = [f"put(sums, {1 + j}, np.float64({name}))" for j, name in enumerate(totals)]
    loop = ["for i in range(n):", *_deeper(body)]
    return _kernel(f"measure{k}", _setting(formula, layout), totals, loop, ending)


_KAHAN = [
    "wanted = subtract(_kahan, step)",
    "moved = rounded0(add(stored, wanted))",
    "lost = subtract(wanted, subtract(moved, stored))",
]
"""p goes where it can, and what is lacking is kept for the next step."""

_STATISTICS = ["sum_g += raw * raw", "sum_step += step * step", "sum_p += moved * moved"]

_UPDATE_ENDING = [
    "put(sums, 1, np.float64(sum_step))",
    "put(sums, 2, np.float64(sum_p))",
    "total = np.float64(sum_g)",
    "bad = 0.0",
    "if not sum_g < F(np.inf):",
    "    total, bad = careful_sum(at1, n)",
    "put(sums, 0, total)",
    "put(sums, 3, bad)",
]


def _update(formula: Formula, layout: Layout) -> str:
    lines, results = _element(formula, layout)
    alone = _alone(formula, layout, lines, results)
    loop = ["for i in range(n):", *_deeper(alone)]
    if layout.is_paired:
        pair = _pair(formula, layout, lines, results)
        loop = ["for j in range(n // 2):", *_deeper(pair)]
        loop += ["for i in range(n - n % 2, n):", *_deeper(alone)]
    totals = ["sum_g", "sum_step", "sum_p"]
    return _kernel("update", _setting(formula, layout), totals, loop, _UPDATE_ENDING)


def _element(formula: Formula, layout: Layout) -> tuple[list[str], dict[int, str]]:
    """What is computed of one element, and by array what is stored of it."""
    moved, *states = map(spell, formula.outputs)
    lines = [f"_{name} = {spell(value)}" for name, value in formula.lines]
    lines.append(f"step = {spell(formula.step)}")
    if layout.rounding == "kahan":
        lines += _KAHAN
        states.append("lost")
    else:
        lines.append(f"moved = {moved}")
    if layout.rounding == "master":
        states.append("moved")
    return [*lines, *_STATISTICS], {0: "moved", **dict(enumerate(states, start=2))}


def _alone(
    formula: Formula, layout: Layout, lines: list[str], results: dict[int, str]
) -> list[str]:
    """One element at a time, as it is stored."""
    body = [*_loads(formula, layout), *lines]
    if layout.rounding == "stochastic":
        body.append("chance = draw(key, i)")
    for k, (_, dtype) in enumerate(arrays_of(formula, layout)):
        if k in results:
            chance = ", chance" if layout.is_by_chance(dtype) else ""
            body.append(f"store{k}(at{k}, i, {results[k]}{chance})")
    return body


def _pair(formula: Formula, layout: Layout, lines: list[str], results: dict[int, str]) -> list[str]:
    """The two elements of a word: a vector of whole words needs no shuffle and fewer loads."""
    body = []
    for j, half in enumerate(("low", "high")):
        body += [*_loads(formula, layout, half, "j"), *lines]
        body += [f"{half}_result{k} = {value}" for k, value in results.items()]
        if layout.rounding == "stochastic":
            body.append(f"{half}_chance = draw(key, 2 * j + {j})")
    chances = ", low_chance, high_chance" if layout.rounding == "stochastic" else ""
    return body + [f"both{k}(at{k}, j, low_result{k}, high_result{k}{chances})" for k in results]


def _deeper(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def _kernel(
    kernel: str, setting: list[str], totals: list[str], loop: list[str], ending: list[str]
) -> str:
    return _KERNEL.format(
        kernel=kernel,
        setting=indented(setting, 8),
        accumulators=", ".join(totals) + ("," if len(totals) == 1 else ""),
        zeros=", ".join(["F(0)"] * len(totals)) + ("," if len(totals) == 1 else ""),
        loop=indented(loop, 8),
        ending=indented(ending, 8),
        **words(),
    )


def _main(formula: Formula) -> str:
    lines = ["\n\n@entry\ndef main(at):", f"    task = word(at, {Word.TASK:d})"]
    for k, name in enumerate(tasks(formula)):
        lines += [f"    {'el' if k else ''}if task == {k}:", f"        {name}(at)"]
    return "\n".join(lines) + "\n"
