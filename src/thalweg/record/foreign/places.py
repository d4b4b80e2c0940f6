"""Where in a run a line of text stands: the many ways in which loops print epoch and batch.

Each is a pattern whose groups have the names of counters; what it matched is taken out of the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from thalweg.record.foreign.names import EPOCHS, STEPS, TRAIN, named

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Train Epoch: 1 [640/60000 (1%)]
        r"epoch:?\s*(?P<epoch>\d+)\s*\[\s*(?P<part>\d+)/\s*(?P<whole>\d+)\s*\(\s*\d+(?:\.\d+)?%\)\]",
        # Train: 0 [  50/1251 (  4%)]
        r"train:\s*(?P<epoch>\d+)\s*\[\s*(?P<batch>\d+)/\s*(?P<batches>\d+)\s*\(\s*\d+%\)\]",
        # Epoch: [0][10/391]   Epoch(train)  [1][ 50/7330]
        r"epoch(?:\(\w+\))?:?\s*\[(?P<epoch>\d+)\](?:\s*\[\s*(?P<batch>\d+)/\s*(?P<batches>\d+)\])?",
        # Epoch [1/5], Step [100/600]
        r"epoch:?\s*\[\s*(?P<epoch>\d+)\s*/\s*\d+\],?\s*(?:step|batch|iter\w*):?"
        r"\s*\[\s*(?P<batch>\d+)\s*/\s*(?P<batches>\d+)\]",
        # Epoch [1/5]
        r"epoch:?\s*\[\s*(?P<epoch>\d+)\s*/\s*\d+\]",
        # Epoch 3:  52%|#####     | 26/50 [00:01<00:01, 20.1it/s
        r"epoch:?\s*(?P<epoch>\d+)(?:/\d+)?:?\s*\d+%\|[^|]*\|\s*(?P<batch>\d+)/(?P<batches>\d+)",
        # epoch 001:    100 / 5000 loss=...
        r"epoch\s+(?P<epoch>\d+):\s+(?P<batch>\d+)\s*/\s*(?P<batches>\d+)\b",
        # [1,   200] loss: 0.135
        r"^\s*\[\s*(?P<epoch>\d+),\s*(?P<batch>\d+)\s*\]",
        # [12]  train-logloss:0.65
        r"^\s*\[(?P<step>\d+)\]\s",
        # loss: 2.303494  [   64/60000]
        r"\[\s*(?P<done>\d+)/\s*(?P<all>\d+)\]\s*$",
        #  45%|####      | 450/1000 [00:10<00:12, 44.7it/s
        r"\d+%\|[^|]*\|\s*(?P<bar>\d+)/(?P<bar_of>\d+)\s*",
        # 313/313 [======] - 1s 2ms/step - loss: ...
        r"^\s*(?P<keras>\d+)/(?P<keras_of>\d+)\s*(?:[━\[=>.\-\]]+\s*)?(?=.*\d(?:s|ms|us)/(?:step|epoch))",
    )
)

_STAMP = re.compile(
    r"(?:(?P<day>\d{4}[-/]\d\d[-/]\d\d)[ T]|(?P<month>\d\d)/(?P<date>\d\d)[ ]|\b)"
    r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?P<f>[.,]\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?(?=[\]\s,|:-]|$)"
)
_SOURCE = re.compile(r"^[\w/.\-]+\.py[:\s]*\d*\]?")


_LEFT_OVER = re.compile(r"^([^|]*?)\s{8,}\|\s*\d+/\d+\s*\[\d+:\d\d")
"""The end of a bar behind what was written over it: its values are old."""

_ONLY_LOSSES = re.compile(
    r"^\s*\(epoch: (?P<epoch>\d+), iters: (?P<step>\d+), time: .*?\)\s*(?=\w+: )"
    r"|^.*\[epoch:\s*(?P<epoch2>\d+), iter:\s*(?P<step2>[\d,]+), lr:\([\d.e-]+.*?\]"
    r"\s*\[eta: .*?\)?\]\s*(?=\w+: )"
)
"""Heads of lines with nothing but losses behind them, of which no name says so: those of CycleGAN's
and pix2pix' programs, and of BasicSR."""

_LLM_C = re.compile(r"^s:(?P<step>\d+)\s+(?P<set>tel|trl):(?=[\d.-]|nan|inf)")
"""llm.c's lines: "s:250 tel:3.2817" and "s:250 trl:3.3120"."""


@dataclass(frozen=True, slots=True)
class Place:
    """counters: by name; stamp: seconds on the line's clock, or None; rest: the line without both

    is_part: a bar of Keras's amid an epoch; is_bar: any other bar, which repeats what it showed;
    only_losses: nothing else stands in the rest
    """

    counters: dict[str, float]
    stamp: float | None
    rest: str
    is_part: bool = False
    is_bar: bool = False
    only_losses: bool = False


def place_of(line: str) -> Place:
    """The counters of a line.

    >>> place_of("Epoch: [2][10/391] Loss 2.3").counters
    {'epoch': 2.0, 'batch': 10.0, 'batches': 391.0}
    """
    stamp, rest = _stamp(line)
    known = _ONLY_LOSSES.match(rest) or _ONLY_LOSSES.match(line)
    if known:
        return _among_losses(known, stamp)
    short = _LLM_C.match(rest)
    if short:
        name = "val loss: " if short["set"] == "tel" else "train loss: "
        return Place({"step": float(short["step"])}, stamp, name + rest[short.end() :])
    for pattern in _PATTERNS:
        match = pattern.search(rest)
        if match:
            found = {name: float(text) for name, text in match.groupdict().items() if text}
            found = {} if "bar" in found and _is_other(rest[: match.start()]) else found
            rest = f"{rest[: match.start()]} {rest[match.end() :]}"
            return _placed(found, stamp, rest, "%|" in match[0])
    left = _LEFT_OVER.match(rest)
    return Place({}, stamp, rest if left is None else left[1])


def _among_losses(match: re.Match[str], stamp: float | None) -> Place:
    """A line whose values are all losses; its step is one of the epoch, or of the whole run."""
    rest = match.string[match.end() :]
    if match["epoch"]:
        counters = {"epoch": float(match["epoch"]), "batch": float(match["step"])}
        return Place(counters, stamp, rest, only_losses=True)
    return Place(
        {"step": float(match["step2"].replace(",", ""))},
        stamp,
        rest,
        only_losses=True,
    )


def _is_other(title: str) -> bool:
    """Does the text before a bar tell that it is none of the training's? ("Map:", "Evaluating:")"""
    return bool(title.strip()) and not named(title).has(TRAIN | EPOCHS | STEPS)


def _placed(found: dict[str, float], stamp: float | None, rest: str, is_bar: bool) -> Place:
    if "part" in found:
        share = found["part"] / max(found["whole"], 1.0)
        return Place({"epoch": found["epoch"] + share}, stamp, rest)
    if "done" in found:
        return Place({"share": found["done"] / max(found["all"], 1.0)}, stamp, rest)
    if "keras" in found:
        return Place({}, stamp, rest, found["keras"] < found["keras_of"])
    return Place(found, stamp, rest, is_bar=is_bar)


def _stamp(line: str) -> tuple[float | None, str]:
    """A time at the head of a line in seconds, from some day on; and the line without it."""
    match = _STAMP.search(line[:60])
    if not match:
        return None, line
    seconds = 3600.0 * int(match["h"]) + 60 * int(match["m"]) + int(match["s"])
    seconds += float((match["f"] or ".0").replace(",", "."))
    if match["day"] or match["month"]:
        day = match["day"] or f"2000/{match['month']}/{match['date']}"
        try:
            day = datetime.strptime(day.replace("-", "/"), "%Y/%m/%d").toordinal()
        except ValueError:
            return None, line
        seconds += 86_400.0 * day
    rest = line[match.end() :].lstrip(" ]|:-")
    return seconds, f"{line[: match.start()].rstrip(' [')} {_SOURCE.sub('', rest)}"
