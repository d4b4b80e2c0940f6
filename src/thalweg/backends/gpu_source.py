"""Writes the source of GPU kernels: a formula and how its arrays are stored, in; Python text, out.

The text is compiled by Triton (`gpu_launch.py`). All kernels of a formula take the same arguments
(`gpu_words.py` says which); those of a sweep have one program a chunk, the others one for every row
or for `lanes` rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.backends.gpu_words import ARGUMENTS, Column, spell_double, spell_single, words
from thalweg.backends.layout import Layout, arrays_of
from thalweg.backends.rounding import SHIFTS
from thalweg.backends.spelling import Speller, indented
from thalweg.rules.formula import Formula

_HEAD = '''"""Kernels written by thalweg: {title}."""

import triton
import triton.language as tl

from thalweg.backends.gpu_elements import (
    INFINITY, checked, clip_factor, draw, exact, gradient_sum, key_of, maximum, minimum,
    narrowed, narrowed_by_chance, place, power, read, segment_sum, sign, stretch_sum, widened,
    within, write,
)

COUNTS = ("num_rows", "num_chunks", "num_all", "num_segments")


@triton.jit(do_not_specialize=COUNTS)
def norm({arguments}, is_aligned: tl.constexpr, block: tl.constexpr):
    """The sums of g², chunk by chunk."""
    c = tl.program_id(0)
    t = tl.load(chunks + 3 * c)
    total = tl.full((), 0.0, tl.float64)
    bad = tl.full((), 0.0, tl.float64)
    if tl.load(grads + t) != 0:
        start = tl.multiple_of(tl.load(chunks + 3 * c + 1), block)
        n = tl.load(chunks + 3 * c + 2).to(tl.int32)
        g_at = place(grads, t, {grad}, is_aligned) + start
        total, bad = gradient_sum(g_at, n, {kind}, block)
    tl.store(sums + c, total)
    tl.store(sums + 3 * num_chunks + c, bad)


@triton.jit(do_not_specialize=COUNTS)
def collect({arguments}, num_slots: tl.constexpr, width: tl.constexpr):
    """The sums of a row, over its chunks."""
    t = tl.program_id(0)
    first = tl.load(table + {first} * num_rows + t).to(tl.int32)
    end = tl.load(table + {end} * num_rows + t).to(tl.int32)
    row = tl.load(table + {row} * num_rows + t)
    for slot in tl.static_range(num_slots):
        total = stretch_sum(sums + slot * num_chunks, first, end, width)
        tl.store(squares + slot * num_all + row, total)
'''

_SETTLE = '''

@triton.jit(do_not_specialize=COUNTS)
def settle({arguments}, lanes: tl.constexpr, width: tl.constexpr):
    """Decides whether the step is a no-op; if not, counts it and computes what its rows need."""
    t = tl.program_id(0) * lanes + tl.arange(0, lanes)
    is_row = t < num_rows
    group = tl.load(table + {group} * num_rows + t, mask=is_row, other=0)
    segment = tl.load(table + {segment} * num_rows + t, mask=is_row, other=0)
    row = tl.load(table + {row} * num_rows + t, mask=is_row, other=0)

    skip = (tl.load(ask + {ask_skip}) != 0.0).to(tl.int32)
    square = tl.zeros((lanes,), tl.float64)
    if tl.load(ask + {ask_needs_norm}) != 0.0:
        skips_nonfinite = (tl.load(ask + {ask_skips_nonfinite}) != 0.0).to(tl.int32)
        for s in range(num_segments):
            total = segment_sum(squares, segments, s, num_all, width)
            square = tl.where(segment == s, total, square)
            skip = skip | (skips_nonfinite & (1 - (total < INFINITY).to(tl.int32)))
    tl.store(outcome, skip.to(tl.float64))

    scale = tl.load(ask + {ask_scale})
    limit = tl.load(limits + segment, mask=is_row, other=0.0)
    own_limit = tl.load(limits + num_segments + segment, mask=is_row, other=0.0)
    own_square = tl.load(squares + row, mask=is_row, other=0.0)
    norm = tl.abs(scale) * tl.sqrt(square)
    lowered = tl.minimum(limit, tl.load(ask + {ask_clip_to}))
    limit = tl.where(norm > tl.load(ask + {ask_outlier}), lowered, limit)
    clip = clip_factor(limit, norm)
    clip = clip * clip_factor(own_limit, tl.abs(scale) * tl.sqrt(own_square))
    tl.store(clips + row, clip, mask=is_row)

    goes = is_row & (tl.load(grads + t, mask=is_row, other=0) != 0) & (skip + tl.zeros_like(t) == 0)
    hyper_at = hyper + {hyper_size} * group
    sign_of_step = tl.load(hyper_at, mask=is_row, other=1.0)
    tl.store(made + t, clip * scale * sign_of_step, mask=goes)
{advance}
'''

_SCALE = '''

@triton.jit(do_not_specialize=COUNTS)
def scale{k}({arguments}, width: tl.constexpr):
    """The coefficient that measure {k} of a row comes to."""
    t = tl.program_id(0)
    first = tl.load(table + {first} * num_rows + t).to(tl.int32)
    end = tl.load(table + {end} * num_rows + t).to(tl.int32)
    size = tl.load(table + {size} * num_rows + t).to(tl.float64)
    hyper_at = hyper + {hyper_size} * tl.load(table + {group} * num_rows + t)
    is_row = True
{lines}
    tl.store(made + {slot} * num_rows + t, {value})
'''

_SWEEP = '''

@triton.jit
def {kernel}_piece({piece_arguments}, is_whole: tl.constexpr):
    """Up to `block` elements; returns the sums with theirs added."""
{body}
    return {totals}


@triton.jit(do_not_specialize=COUNTS)
def {kernel}({arguments}, is_aligned: tl.constexpr, block: tl.constexpr):
    c = tl.program_id(0)
    t = tl.load(chunks + 3 * c)
    start = tl.multiple_of(tl.load(chunks + 3 * c + 1), block)
    n = tl.load(chunks + 3 * c + 2).to(tl.int32)
    if tl.load(grads + t) == 0:
{without}
        return
    at1 = place(grads, t, {grad}, is_aligned) + start
    if tl.load(outcome) != 0.0:
{skipped}
        return
{setting}
    lane = tl.arange(0, block)
    {accumulators} = {zeros}
    num_whole = n // block * block
    for first in range(0, num_whole, block):
        inside = lane < block
        {accumulators} = {kernel}_piece({given}, True)
    if num_whole < n:
        first = num_whole
        inside = lane < n - num_whole
        {accumulators} = {kernel}_piece({given}, False)
{ending}
'''

POINTERS = {
    "float64": "tl.float64",
    "float32": "tl.float32",
    "float16": "tl.float16",
    "bfloat16": "tl.uint16",
}
"""What is read from memory, by the type that is stored there."""


def source(formula: Formula, layout: Layout) -> str:
    """The module of a formula's kernels: norm, collect, settle, measure0, scale0, ..., update."""
    writer = _Writer(formula, layout)
    return "".join(
        [
            _HEAD.format(title=f"{formula.name}, stored as {layout.name}", **writer.words),
            writer.settle(),
            *(
                text(k)
                for k in range(len(formula.measures))
                for text in (writer.measure, writer.scale)
            ),
            writer.update(),
        ]
    )


class _Writer:
    """Writes the kernels of one formula and layout."""

    def __init__(self, formula: Formula, layout: Layout):
        self.formula, self.layout = formula, layout
        self.arrays = arrays_of(formula, layout)
        self.num_scalars = len(formula.rule.scalars)
        self.spell: Speller = spell_single if layout.arithmetic == "float32" else spell_double
        self.words = {
            **words(),
            "arguments": ", ".join(ARGUMENTS),
            "grad": POINTERS[layout.grad],
            "kind": f"tl.{layout.arithmetic}",
            "hyper_size": 1 + len(formula.rule.hypers),
        }
        names = [row.name for row in formula.rule.hypers]
        self.hypers = {name: f"h_{name}" for name in names}
        self.load_hypers = [
            f"h_{name} = tl.load(hyper_at + {1 + k}, mask=is_row, other=1.0)"
            for k, name in enumerate(names)
        ]

    # -------------------------------------------------------- once a step

    def settle(self) -> str:
        return _SETTLE.format(advance=indented(self._advance(), 4), **self.words)

    def _advance(self) -> list[str]:
        """Count the update, and compute the coefficients of each row."""
        pointers = [
            self._pointer("step_at", Column.STEPS, "float32"),
            *(
                self._pointer(f"at_{name}", Column.ADDRESSES + j, "float64")
                for j, name in enumerate(self.formula.rule.scalars)
            ),
        ]
        lines, scalars, values = spell_double.coefficients(self.formula, self.hypers)
        return [
            *pointers,
            "c_t = tl.load(step_at, mask=goes, other=0.0).to(tl.float64) + 1.0",
            "tl.store(step_at, c_t.to(tl.float32), mask=goes)",
            *self._key(),
            *self.load_hypers,
            *(
                f"c_{name} = tl.load(at_{name}, mask=goes, other=0.0)"
                for name in self.formula.rule.scalars
            ),
            *lines,
            *(
                f"tl.store(at_{name}, {value}, mask=goes)"
                for name, value in zip(self.formula.rule.scalars, scalars, strict=True)
            ),
            *(
                f"tl.store(made + {1 + k} * num_rows + t, {value}, mask=goes)"
                for k, value in enumerate(values)
            ),
        ]

    def _pointer(self, name: str, column: int, kind: str) -> str:
        address = f"tl.load(table + {column:d} * num_rows + t, mask=is_row, other=0)"
        return f"{name} = {address}.to(tl.pointer_type(tl.{kind}))"

    def _key(self) -> list[str]:
        if self.layout.rounding != "stochastic":
            return []
        return [
            "seed = tl.load(seeds + group, mask=is_row, other=0)",
            f"name = tl.load(table + {Column.NAME:d} * num_rows + t, mask=is_row, other=0)",
            "tl.store(keys + t, key_of(seed, name, c_t), mask=goes)",
        ]

    def scale(self, k: int) -> str:
        """The kernel that turns the sums of measure k into a coefficient."""
        measure = self.formula.measures[k]
        sums = [f"sum{j}" for j in range(len(measure.sums))]
        given = [
            f"{name} = stretch_sum(sums + {1 + j} * num_chunks, first, end, width)"
            for j, name in enumerate(sums)
        ]
        lines, value = spell_double.scale(measure, self.hypers, sums)
        return _SCALE.format(
            k=k,
            lines=indented([*self.load_hypers, *given, *lines], 4),
            slot=1 + len(self.formula.coefficients) + k,
            value=value,
            **self.words,
        )

    # -------------------------------------------------------- sweeps

    def measure(self, k: int) -> str:
        """The sweep that measure k needs before the update."""
        measure = self.formula.measures[k]
        body = [f"_{name} = {self.spell(value)}" for name, value in measure.lines]
        sums = list(map(self.spell, measure.sums))
        ending = [
            f"tl.store(sums + {1 + j} * num_chunks + c, tl.sum(total{j}, axis=0).to(tl.float64))"
            for j in range(len(sums))
        ]
        totals = [f"total{j}" for j in range(len(sums))]
        return self._sweep(f"measure{k}", body, dict(zip(totals, sums, strict=True)), ending)

    def update(self) -> str:
        """The sweep itself."""
        formula = self.formula
        body = [f"_{name} = {self.spell(value)}" for name, value in formula.lines]
        body.append(f"step = {self.spell(formula.step)}")
        moved, *states = map(self.spell, formula.outputs)
        if self.layout.rounding == "kahan":
            body += [
                "wanted = _kahan - step",
                f"moved = widened(narrowed(stored + wanted, {POINTERS[self.layout.param]}), "
                f"{self.words['kind']})",
                "lost = wanted - (moved - stored)",
            ]
            states.append("lost")
        else:
            body.append(f"moved = {moved}")
        if self.layout.rounding == "master":
            states.append("moved")
        body += self._stores(["moved", None, *states])
        sums = {"sum_g": "raw * raw", "sum_step": "step * step", "sum_p": "moved * moved"}
        ending = [
            "total, bad = checked(tl.sum(sum_g, axis=0).to(tl.float64), at1, n, block)",
            *_put(
                "total",
                "tl.sum(sum_step, axis=0).to(tl.float64)",
                "tl.sum(sum_p, axis=0).to(tl.float64)",
                "bad",
            ),
        ]
        return self._sweep("update", body, sums, ending)

    def _stores(self, values: Sequence[str | None]) -> list[str]:
        """Write every array but the gradient, rounded as its type asks."""
        lines = []
        if self.layout.rounding == "stochastic":
            lines.append("chance = draw(key, start + first + lane)")
        for k, ((_, dtype), value) in enumerate(zip(self.arrays, values, strict=True)):
            if value is None:
                continue
            rounded = f"narrowed({value}, {POINTERS[dtype]})"
            if self.layout.is_by_chance(dtype):
                rounded = f"narrowed_by_chance({value}, chance, {SHIFTS[k % len(SHIFTS)]})"
            lines.append(f"write(at{k} + first, lane, {rounded}, inside, is_whole)")
        return lines

    def _sweep(self, kernel: str, body: list[str], sums: dict[str, str], ending: list[str]) -> str:
        adding = [f"{name} += within({value}, inside, is_whole)" for name, value in sums.items()]
        numbers = [f"_{name}" for name in (*self.formula.coefficients, *self._measured(kernel))]
        addresses = [f"at{k}" for k in range(len(self.arrays))]
        chance = ["key"] if self.layout.rounding == "stochastic" else []
        given = [*addresses, "start", "first", "lane", "inside", "factor", *numbers, *chance, *sums]
        return _SWEEP.format(
            kernel=kernel,
            piece_arguments=", ".join(given),
            given=", ".join(given),
            body=indented([*self._loads(), *body, *adding], 4),
            totals=_tuple(list(sums)),
            accumulators=_tuple(list(sums)),
            zeros=_tuple([f"tl.zeros((block,), {self.words['kind']})"] * len(sums)),
            setting=indented(self._setting(numbers), 4),
            without=indented(_put("0.0", "0.0", "0.0", "0.0"), 8),
            skipped=indented(self._skipped(), 8),
            ending=indented(ending, 4),
            **self.words,
        )

    def _measured(self, kernel: str) -> list[str]:
        """The coefficients from measures that are known when this kernel runs."""
        names = [measure.name for measure in self.formula.measures]
        return names if kernel == "update" else names[: int(kernel.removeprefix("measure"))]

    def _skipped(self) -> list[str]:
        """A no-op moves nothing, and the parameter is not looked at."""
        kind = self.words["kind"]
        return [
            f"total, bad = gradient_sum(at1, n, {kind}, block)",
            *_put("total", "0.0", 'float("nan")', "bad"),
        ]

    def _setting(self, numbers: Sequence[str]) -> list[str]:
        """What a chunk needs before its loop: addresses and coefficients."""
        lines = []
        for k, (_, dtype) in enumerate(self.arrays):
            if k != 1:
                column = Column.ADDRESSES + self.num_scalars + max(0, k - 1)
                at = f"place(table + {column:d} * num_rows, t, {POINTERS[dtype]}, is_aligned)"
                lines.append(f"at{k} = {at} + start")
        for k, name in enumerate(["factor", *numbers]):
            lines.append(f"{name} = tl.load(made + {k} * num_rows + t).to({self.words['kind']})")
        if self.layout.rounding == "stochastic":
            lines.append("key = tl.load(keys + t)")
        return lines

    def _loads(self) -> list[str]:
        lines = []
        for k, (name, _) in enumerate(self.arrays):
            target = "raw" if k == 1 else f"_{name}"
            kind = self.words["kind"]
            lines.append(f"{target} = read(at{k} + first, lane, inside, {kind}, is_whole)")
        lines.append("_g = raw * factor")
        rounded = f"widened(narrowed(_master, {POINTERS[self.layout.param]}), {self.words['kind']})"
        true_p = {
            "kahan": ["stored = _p", "_p = _p + _kahan"],
            "master": [f"_p = tl.where({rounded} == _p, _master, _p)"],
        }
        return [*lines, *true_p.get(self.layout.rounding, [])]


def _put(*values: str) -> list[str]:
    """Write the four sums of a chunk."""
    return [f"tl.store(sums + {k} * num_chunks + c, {value})" for k, value in enumerate(values)]


def _tuple(parts: Sequence[str]) -> str:
    return ", ".join(parts) + ("," if len(parts) == 1 else "")
