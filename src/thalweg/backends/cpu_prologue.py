"""Writes what happens once a step, before the sweep: the decision to skip, counts, coefficients.

Plain float64 arithmetic over the rows of a table, one thread, no fast-math: a few microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from thalweg.backends.cpu_words import Ask, Word, spell, words
from thalweg.backends.spelling import indented
from thalweg.rules.formula import Formula

_TEMPLATE = '''

load_step = load("float32", "float64", 14)
store_step = store("float32", "float64", 14)


set_factors = factors({hyper_size})


@careful
def advance(at):
    """Count an update of every row that has a gradient, and compute its coefficients."""
    last = -1
    last_t = 0.0
{first_scalars}
    for t in range(word(at, {num_rows})):
        if word(word(at, {arrays} + 1), t) == 0:
            continue
        step_at = word(word(at, {steps}), t)
        c_t = load_step(step_at, 0) + 1.0
        store_step(step_at, 0, c_t)
        group = word(word(at, {groups}), t)
        hyper = word(at, {hyper}) + {hyper_size} * group
        row = word(at, {coefficients}) + {row_size} * t
{key}
{load_scalars}
        if last >= 0 and word(word(at, {groups}), last) == group and last_t == c_t{same}:
            before = word(at, {coefficients}) + {row_size} * last
            for k in range({num_coefficients}):
                put(row, k, number(before, k))
{copy_scalars}
            last = t
            continue
        last = t
        last_t = c_t
{keep_scalars}
{compute}


@careful
def settle(at):
    request = word(at, {request})
    if is_skipped(at):
        put(request, {ask_skipped}, 1.0)
        return
    put(request, {ask_skipped}, 0.0)
    set_factors(at)
    advance(at)


{scale_functions}

@careful
def whole(at):
    """A whole step in this thread; the norm first, where REQUEST asks for what needs it."""
    squares = word(at, {squares})
    for s in range(word(at, {num_segments})):
        put(squares, s, 0.0)
    if number(word(at, {request}), {ask_needs_norm}) != 0.0:
        norm(at)
        put_word(word(at, {counter}), 0, 0)
        total(at)
    settle(at)
    if number(word(at, {request}), {ask_skipped}) == 0.0:
{measures}
        update(at)
'''

_SCALE = '''

@careful
def scale{k}(at):
    """The coefficient that measure {k} comes to, row by row."""
    for t in range(word(at, {num_rows})):
        hyper = word(at, {hyper}) + {hyper_size} * word(word(at, {groups}), t)
{lines}
        put(word(at, {scales}), {num_measures} * t + {k}, {value})
'''

HYPER_HEAD = 2
"""Numbers that stand before the hyperparameters of a group: the bits of its seed, its sign."""


def prologue(formula: Formula, *, is_by_chance: bool) -> str:
    """The text of `total`, `settle`, `scale0`, ... and `whole`."""
    names = [row.name for row in formula.rule.hypers]
    places = {name: f"number(hyper, {HYPER_HEAD + k})" for k, name in enumerate(names)}
    sizes = {
        "hyper_size": 8 * (HYPER_HEAD + len(names)),
        "row_size": 8 * len(formula.coefficients),
        "num_coefficients": len(formula.coefficients),
        "num_measures": len(formula.measures),
    }
    scales = [_scale(formula, k, places, sizes) for k in range(len(formula.measures))]
    return _main(formula, places, sizes, scales, is_by_chance=is_by_chance)


def _main(
    formula: Formula,
    places: Mapping[str, str],
    sizes: Mapping[str, int],
    scales: Sequence[str],
    *,
    is_by_chance: bool,
) -> str:
    scalars = list(formula.rule.scalars)
    at = [
        f"word(word(at, {Word.SCALARS:d}), {len(scalars)} * t + {j})" for j in range(len(scalars))
    ]
    key = f"put_word(word(at, {Word.KEYS:d}), t, key_of(np.uint64(word(hyper, 0)), "
    key += f"np.uint64(word(word(at, {Word.NAMES:d}), t)), c_t))"
    measures = [
        f"put_word(word(at, {Word.COUNTER:d}), 0, 0)\n{' ' * 8}{kind}{k}(at)"
        for k in range(len(formula.measures))
        for kind in ("measure", "scale")
    ]
    measures.append(f"put_word(word(at, {Word.COUNTER:d}), 0, 0)")
    return _TEMPLATE.format(
        key=indented([key] if is_by_chance else [], 8),
        first_scalars=indented([f"last_{name} = new_{name} = 0.0" for name in scalars], 4),
        load_scalars=indented(
            [f"c_{n} = number({p}, 0)" for n, p in zip(scalars, at, strict=True)], 8
        ),
        same="".join(f" and last_{name} == c_{name}" for name in scalars),
        copy_scalars=indented(
            [f"put({p}, 0, new_{n})" for n, p in zip(scalars, at, strict=True)], 12
        ),
        keep_scalars=indented([f"last_{name} = c_{name}" for name in scalars], 8),
        compute=indented(_coefficients(formula, places, at), 8),
        measures=indented(measures, 8),
        scale_functions="".join(scales),
        **{f"ask_{ask.name.lower()}": int(ask) for ask in Ask},
        **sizes,
        **words(),
    )


def _coefficients(formula: Formula, places: Mapping[str, str], at: Sequence[str]) -> list[str]:
    """The lines that compute a row's coefficients and running scalars."""
    lines, made, values = spell.coefficients(formula, places)
    for name, place, value in zip(formula.rule.scalars, at, made, strict=True):
        lines += [f"new_{name} = {value}", f"put({place}, 0, new_{name})"]
    return [*lines, *(f"put(row, {k}, {value})" for k, value in enumerate(values))]


def _scale(formula: Formula, k: int, places: Mapping[str, str], sizes: Mapping[str, int]) -> str:
    measure = formula.measures[k]
    sums = [f"row_sum(at, t, {j + 1})" for j in range(len(measure.sums))]
    lines, value = spell.scale(measure, places, sums)
    return _SCALE.format(
        k=k,
        lines=indented(["size = row_elements(at, t)", *lines], 8),
        value=value,
        **sizes,
        **words(),
    )
