"""The samples that a model was given: leaks, order, repeats, classes, labels.

From the same rows in several places, and from targets beside them, which no log shows.
"""

from __future__ import annotations

from collections.abc import Iterator

from thalweg.health.made import made, short
from thalweg.sample_facts import Overlap, Samples, Telling
from thalweg.types import Finding

FEWEST_ROWS = 20
LEAST_SHARED, ALL = 0.1, 0.97
TIMES_CHANCE = 2.0
"""So many times the share of equal rows that the data have by themselves."""

ROW_HAS_TWINS = 0.3
"""Equals of a row among the others from which a table counts as one whose rows repeat."""

FEW_BATCHES, TIMES_BEFORE = 10, 3

LEAST_ALIKE, LEAST_TARGET_BATCHES = 0.2, 20
ERRORS = 4.0

FEWEST_SAMPLES, RARE, RATHER_RARE, FEWEST_OF_CLASS = 500, 200, 40, 30

FEWEST_AGAIN, LEAST_DIFFERING = 50, 0.1
TIMES_BY_NATURE, MANY_DIFFERING = 3.0, 0.15
"""So many times the rows that the data have twice by themselves, which may well differ in class;
or this share of all rows, which is much in any data.
"""

OFTEN_MASKED = 0.01

FEWEST_BATCHES, NEARLY_ALL = 10, 0.8
"""Batches, and the share of them, that one row fills where they are put together wrongly."""

FAVOURED, CLEARLY, FEWEST_DRAWN, DIFFERENT = 2.5, 5.0, 1_000, 0.3
"""How many more rows there are than are mostly drawn, and are clearly; rows by which that is known,
and the share of an evaluation's rows from which on rows repeat by themselves.
"""

TIMES, DEVIATIONS = 5.0, 5.0
"""How many times as large a column is, and how far its mean lies off, where it was prepared in
another way. Noise that is added in training makes columns smaller in an evaluation.
"""

OFF = 0.25
"""The share of the columns that are of another size in an evaluation where it was scaled apart."""

ALIKE = "prepare both alike: the scaler or transform that was fitted on the training part, for both"


def in_samples(seen: Samples) -> Iterator[Finding]:
    """What is wrong with the samples.

    >>> seen = Samples(90, 2880, 960, 0.0, overlap=Overlap(90, 300, 150, is_told=True))
    >>> [(found.code, found.severity) for found in in_samples(seen)]
    [('TW205', 'act')]
    """
    yield from telling(seen)
    yield from shared_rows(seen)
    yield from masked(seen)
    yield from repeated(seen)
    yield from alike(seen)
    yield from rare_class(seen)
    yield from differing(seen)
    yield from another_size(seen)
    yield from copies(seen)
    yield from favoured(seen)


# ------------------------------------------------------------ leaks


def shared_rows(seen: Samples) -> Iterator[Finding]:
    """Rows of an evaluation that were trained on."""
    over = seen.overlap
    if over is None or over.rows < FEWEST_ROWS or over.is_apart:
        return
    share = over.shared / over.rows
    chance = min(1.0, seen.twins)
    if share < max(LEAST_SHARED, TIMES_CHANCE * chance):
        return
    is_partial = share < ALL
    if not over.is_told and not (is_partial and over.is_whole):
        return
    numbers = {"shared": over.shared, "rows": over.rows, "share": share, "by_chance": chance}
    if over.is_told and (over.is_whole or not is_partial):
        text = f"{over.shared:,} of {over.rows:,} rows of the evaluation were trained on as well"
        yield made("TW205", over.step, 0.95, text, numbers=numbers)
    else:
        yield made("TW205", over.step, 0.6, _unsure(over), numbers=numbers, severity="warn")


def _unsure(over: Overlap) -> str:
    return (
        f"{over.shared:,} of {over.rows:,} rows that were given without gradients were trained on "
        "as well; if they are meant to be validation rows, they leak"
    )


HOW = {
    "values": "each class has a value of its own",
    "copy": "the target itself",
    "line": "a straight line of the target",
}


def telling(seen: Samples) -> Iterator[Finding]:
    """The target stands among the inputs."""
    found = seen.telling
    if found is None:
        return
    numbers = {"columns": list(found.columns), "share": found.share, "samples": found.samples}
    if found.how == "same":
        text = f"in {found.share:.0%} of {found.samples} samples what is to be predicted is the "
        text += "input itself, place by place: targets are to be shifted by one"
        severity, sure = "warn", 0.8
    else:
        text = f"{_columns(found)}: {HOW[found.how]}, in {found.share:.0%} of {found.samples} "
        text += "samples; it will not be known when the model is used"
        severity, sure = ("warn", 0.7) if found.how == "line" else ("act", 0.85)
    remedy = "leave out what is known only once the target is"
    yield made("TW205", 1, sure, text, numbers=numbers, severity=severity, remedy=remedy)


def _columns(found: Telling) -> str:
    shown = ", ".join(map(str, found.columns[:5])) + (", ..." if len(found.columns) > 5 else "")
    word, gives = ("column", "gives") if len(found.columns) == 1 else ("columns", "give")
    return f"{word} {shown} of the inputs (from 0) {gives} the target away"


# ------------------------------------------------------------ batches


def repeated(seen: Samples) -> Iterator[Finding]:
    """A few batches, again and again, though there are other rows."""
    now = seen.recent
    if now is None or now.different > FEW_BATCHES:
        return
    numbers = {"batches": now.different, "rows": now.rows, "evaluated": seen.new}
    text = f"the last {now.batches} batches were {now.different} different one"
    text += f"s, of {now.rows:,} rows in all" if now.different > 1 else f", of {now.rows:,} rows"
    if now.before >= TIMES_BEFORE * now.rows:
        text += f"; {now.before:,} other rows had come before"
        yield made("TW207", now.since, 0.92, text, numbers=numbers)
    elif seen.new > now.rows:
        text += f", while evaluations are made on {seen.new:,} others"
        if now.different > 1:
            yield made("TW207", now.since, 0.88, text, numbers=numbers)
        elif _is_usual_size(now.rows):
            text += "; if these are all that there is to learn from, all is well"
            yield made("TW207", now.since, 0.75, text, numbers=numbers, severity="warn")
    elif now.different > 1:
        text += "; if that is meant, to overfit them on purpose or as there are no others, all is "
        text += "well, but for the fixed order"
        yield made("TW207", now.since, 0.6, text, numbers=numbers, severity="warn")


def _is_usual_size(rows: int) -> bool:
    """Batches have 8, 16, 32, ... rows, and small data sets as a whole seldom do."""
    return rows >= 8 and rows & (rows - 1) == 0


def alike(seen: Samples) -> Iterator[Finding]:
    """Batches that hold one class, or numbers of one size."""
    is_sure = seen.alike > max(LEAST_ALIKE, ERRORS * seen.alike_error)
    if seen.target_batches < LEAST_TARGET_BATCHES or not is_sure:
        return
    if seen.are_classes and len(seen.counts) == 2 and seen.next_alike < LEAST_ALIKE:
        return  # one class and the other by turns, as a discriminator is given them
    what = "classes" if seen.are_classes else "numbers"
    text = f"the batches are sorted: targets of one batch are alike ({what}; {short(seen.alike)}, "
    text += "where shuffled batches have 0 and batches of one target 1)"
    numbers = {"alike": seen.alike, "batches": seen.target_batches}
    severity, sure = (None, 0.92) if seen.are_classes else ("warn", 0.85)
    yield made("TW206", 1, sure, text, numbers=numbers, severity=severity)


# ------------------------------------------------------------ labels


def rare_class(seen: Samples) -> Iterator[Finding]:
    """A class of which next to nothing is seen."""
    if sum(seen.counts) < FEWEST_SAMPLES or len(seen.counts) < 2:
        return
    most, least = seen.counts[0], seen.counts[-1]
    at_most = least if seen.is_whole else least + 3 * least**0.5 + 1  # three errors up
    if is_rare(most, at_most, rows=seen.rarest if seen.is_whole else None):
        text = f"the most frequent class has {most:,} of {sum(seen.counts):,} samples, the rarest "
        text += f"{least:,}" + (f" ({seen.rarest} different ones)" if seen.is_whole else "")
        text += "; accuracy will not show whether it is learnt"
        numbers = {"most": most, "least": least, "classes": len(seen.counts)}
        yield made("TW204", 1, 0.7, text, numbers=numbers, severity="warn")


def is_rare(most: float, least: float, *, rows: int | None) -> bool:
    """Is a class too rare beside the most frequent one? rows: different ones of it, if known"""
    is_thin = rows is not None and rows < FEWEST_OF_CLASS
    return most > (RATHER_RARE if is_thin else RARE) * least


def differing(seen: Samples) -> Iterator[Finding]:
    """The same input with different labels, in data whose rows do not repeat by themselves."""
    if seen.again < FEWEST_AGAIN or seen.least_twins > ROW_HAS_TWINS:
        return
    by_nature = seen.different * min(1.0, seen.twins)  # rows that look alike and are two
    least = min(TIMES_BY_NATURE * by_nature, MANY_DIFFERING * seen.different)
    if seen.differing >= max(LEAST_DIFFERING * seen.again, least):
        text = f"of {seen.again:,} inputs that came more than once, {seen.differing:,} had "
        text += "different labels"
        numbers = {"again": seen.again, "differing": seen.differing}
        yield made("TW203", seen.step, 0.86, text, numbers=numbers, severity="warn")


def masked(seen: Samples) -> Iterator[Finding]:
    """Batches without a label that counts."""
    if not seen.masked:
        return
    text = f"in {seen.masked:,} of {seen.labelled:,} batches no label counts"
    numbers = {"masked": seen.masked, "batches": seen.labelled}
    is_often = seen.masked > max(1, OFTEN_MASKED * seen.labelled)
    severity, sure = ("act", 0.95) if is_often else ("warn", 0.75)
    yield made("TW310", seen.first_masked, sure, text, numbers=numbers, severity=severity)


def another_size(seen: Samples) -> Iterator[Finding]:
    """What is evaluated on was scaled in another way than what is trained on, or not at all."""
    found = seen.apart
    if found is None or found.num_off < max(min(2, found.columns), OFF * found.columns):
        return
    is_larger = found.scale > TIMES
    how = f"is {short(found.scale)} times as large" if is_larger else "has its mean "
    how += "" if is_larger else f"{short(found.shift)} standard deviations off"
    text = (
        f"{found.num_off:,} of {found.columns:,} columns of what is evaluated on are of another "
        f"size than those trained on: column {found.worst} (from 0) {how}"
    )
    numbers = {"columns": found.columns, "off": found.num_off, "scale": found.scale}
    is_told = seen.overlap is not None and seen.overlap.is_told
    sure, severity = (0.88, "act") if is_told else (0.6, "warn")
    yield made("TW208", seen.step, sure, text, numbers=numbers, severity=severity, remedy=ALIKE)


def copies(seen: Samples) -> Iterator[Finding]:
    """One row fills most of a batch, in each batch another one: they are put together wrongly."""
    if seen.batches < FEWEST_BATCHES or seen.filled < NEARLY_ALL * seen.batches:
        return
    if 2 * seen.filling < seen.filled:
        return  # one that the data have often, such as an empty one
    text = f"in {seen.filled:,} of {seen.batches:,} batches one row fills half of the places or "
    text += "more, and hardly ever the same one"
    remedy = "look at what puts batches together: a buffer that is used again holds the last sample"
    numbers = {"batches": seen.batches, "filled": seen.filled}
    yield made("TW207", seen.step, 0.9, text, numbers=numbers, remedy=remedy)


def favoured(seen: Samples) -> Iterator[Finding]:
    """A few rows are drawn again and again, though there are many others."""
    over = seen.overlap
    if over is None or over.rows < FEWEST_ROWS or over.shared > DIFFERENT * over.rows:
        return
    is_known = seen.few > 0 and seen.rows >= max(FEWEST_DRAWN, 20 * seen.few)
    times = seen.different / max(seen.few, 1)
    if is_known and times > FAVOURED:
        text = f"{seen.few:,} of {seen.different:,} different rows make up 90% of the "
        text += f"{seen.rows:,} that were handed out"
        remedy = "look at the weights of the sampler: nearly all of them are next to nothing"
        numbers = {"few": seen.few, "different": seen.different, "rows": seen.rows}
        severity = "act" if times > CLEARLY else "warn"
        yield made(
            "TW207", seen.step, 0.78, text, numbers=numbers, severity=severity, remedy=remedy
        )
