"""A line of text as names with a number behind them, whatever stands between the two.

"iter 100: loss 2.34, time 12.1ms", "train loss=1.91 | val loss=2.02", "'lr': '1e-4'": a name is
what stands before a number, as far back as it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from thalweg.record.foreign.cells import number_of
from thalweg.record.foreign.names import HELD, LOSSES, METRICS, SMOOTHED, TEST, TIMES, TRAIN, named

_WRAPPED = re.compile(r"\b(?:tensor|(?:np|numpy|jnp)\.\w+|[Aa]rray)\(")
_NUMBER = re.compile(
    r"(?<![\w.@])"
    r"(?P<number>[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
    r"|nan|inf(?:inity)?))"
    r"(?P<unit>\sms\b|[a-z%]+(?:/[a-z]+)?)?"
    r"(?:\s*/\s*(?P<whole>\d+)(?![\w.]))?(?![\w:/]*\w)",
    re.IGNORECASE,
)
_SPEED = re.compile(r"(\d+\.?\d*)\s*(it/s|s/it|ms/step|s/step|us/step)")
_SPEEDS = {"it/s": None, "s/it": 1.0, "s/step": 1.0, "ms/step": 1e-3, "us/step": 1e-6}
_UNITS = {"ms": " ms", "s": " s", "sec": " s", "secs": " s", "seconds": " s", "%": "", "": ""}
_SHORT = re.compile(r"^\s*(\d+)\s+(train|val)\s+(\d+\.\d+)\s*$")
"""The whole line "250 val 5.9"."""

_CUT = re.compile(r"[|,;{}\[\]\t]|\s-\s|\s{2,}|:|=")
_IN_UNIT = re.compile(r"\s*\((m?s|sec)\)$")
_IS = re.compile(r"(?:\s(?:so far|now))?\s(?:is|was)$")
"""As a sentence has it: "avg loss so far is 0.25"."""

_WORD = re.compile(r"[A-Za-z_][\w@./\-]*")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")

SETS = {*TRAIN, *HELD, *TEST} - {"fit", "dev"}
_NOUNS = {*LOSSES, *METRICS, *TIMES, "lr", "rate", "norm", "gnorm", "step", "iter", "iteration"}
_NOUNS |= {"epoch", "update", "scale", "skipped", "iterations", "mfu", "batch"}
_BEFORE = {*SETS, *SMOOTHED, "learning", "grad", "gradient", "lm", "total", "cross", "per"}
_BEFORE |= {"entropy", "validation", "loss", "step", "iter", "iteration", "epoch", "balanced"}
_BEFORE |= {"global", "time"}


def pairs(line: str, part: str = "") -> dict[str, float]:
    """Names and numbers of a line; of a name that stands twice, the first. (Of "loss: 2.1,
    semantic loss: 1.5" the second is a part of the first.)

    part: the set (train, test, ...) of losses and metrics whose names tell none, where a line
    before told it

    >>> pairs("iter 100: loss 2.25, time 12.3ms, mfu 3.1%")
    {'iter': 100.0, 'loss': 2.25, 'time ms': 12.3, 'mfu': 3.1}
    """
    found: dict[str, float] = {}
    for name, whole, value in _pairs(_WRAPPED.sub("", line), part):
        is_part = name in found and whole != name and named(name).is_loss
        found.setdefault(whole if is_part else name, value)
    return found


def _pairs(line: str, part: str) -> Iterator[tuple[str, str, float]]:
    """Names with all words before them, and values."""
    short = _SHORT.match(line)
    if short:
        loss = f"{short[2]} loss"
        yield from (("step", "step", float(short[1])), (loss, loss, float(short[3])))
        return
    for speed in _SPEED.finditer(line):
        factor, number = _SPEEDS[speed[2]], float(speed[1])
        if factor or number:
            name = "seconds per it"
            yield name, name, factor * number if factor else 1.0 / number
    end, before, is_trained = 0, "", False
    for match in _NUMBER.finditer(line):
        name, whole, words = _name(line[end : match.start()])
        if not name and not match["number"][-1].isdigit() and match["number"][-1] != ".":
            continue  # "number of nan iterations"
        end = match.end()
        is_trained |= bool(TRAIN & set(words))
        part = words[-1] if words and not ("_" in name and named(name).has(SETS)) else part
        if name in SETS and named(before).is_loss:
            name = f"{name} loss"  # "loss train: 2.2, val: 2.3"
        unit = _UNITS.get((match["unit"] or "").strip().lower())
        value = number_of(match["number"].replace(",", ""))
        if name and unit is not None and value is not None:
            is_share = match["whole"] and named(name).has(set(METRICS))
            value = value / max(float(match["whole"]), 1.0) if is_share else value
            before = name
            is_time = named(name).is_time and not is_trained
            in_set = _in_set(name, part, is_time) + unit
            yield in_set, in_set if name == whole else whole, value


@lru_cache(maxsize=4096)
def _name(chunk: str) -> tuple[str, str, tuple[str, ...]]:
    """What the text before a number calls it, empty where it is no name, short and with all words;
    and the sets it names.
    """
    sets = tuple(word for word in named(chunk).words if word in SETS)
    return *_name_in(chunk), sets


def _name_in(chunk: str) -> tuple[str, str]:
    """Before a colon or an equals sign between bars all words count; else the last one, with those
    before it that people put before such.
    """
    bare = re.sub(r"([:=])\s*[\[(]+$", r"\1", chunk.rstrip().rstrip("\"'"))
    bare = _IS.sub(":", bare)
    is_told = bare.endswith((":", "="))
    bare = bare.rstrip(":= ").rstrip("\"'")
    unit = _IN_UNIT.search(bare)
    bare = bare[: unit.start()] if unit else bare
    start = max((cut.end() for cut in _CUT.finditer(bare)), default=0)
    name = bare[start:].strip(" \"'*>#-:").replace("(", " ").replace(")", " ")
    words = _CAMEL.sub("_", name).lower().split()
    if not words or words[-1].endswith(".py") or not _WORD.fullmatch(words[-1]):
        return "", ""
    whole = " ".join(words)
    if len(words) > 1 and (not is_told or "|" not in chunk):
        first = len(words) - 1
        while first and _is_before(words[first - 1]):
            first -= 1
        words = words[first:]
    last = named(words[-1])
    if not is_told and not last.has(_NOUNS) and not last.is_loss:
        return "", ""
    return " ".join(words) + (f" {unit[1]}" if unit else ""), whole


def _is_before(word: str) -> bool:
    return bool(set(named(word).words) & _BEFORE) and len(named(word).words) <= 2


@lru_cache(maxsize=4096)
def _in_set(name: str, part: str, is_time: bool) -> str:
    """A metric, a loss or another set's time with the set that the words before it told."""
    row = named(name)
    is_of_set = row.is_loss or row.has(set(METRICS)) or is_time
    return f"{part} {name}" if part and is_of_set and not row.has(SETS) else name
