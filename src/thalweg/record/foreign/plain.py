"""Logs that are lines of text, as Megatron, nanoGPT and home-made loops print them.

Each line is taken apart into names with a number behind them: "iter 100: loss 2.34, time 12.1ms",
"step 250: train loss 1.91, val loss 2.02", "iteration 10/ 500 | lm loss: 2.3E+00 | grad norm: 1.2".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from thalweg.record.foreign.roles import named
from thalweg.record.foreign.table import Cells, number_of

_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf|infinity)"
_PAIR = re.compile(
    rf"([A-Za-z_][\w/.\-]*(?:[ _-][A-Za-z_][\w/.\-]*){{0,3}}?)[\"']?\s*[:=]?\s*[\"']?({_NUMBER})"
    r"(?![\w.])\s*(?:/\s*\d+)?",
    re.IGNORECASE,
)
_STAMP = re.compile(
    r"^\W*(?:\d{4}-\d\d-\d\d[ T]|\d\d/\d\d[ /]?\d*[ ]?)?\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?\]?[\s:|-]*"
)
_STEP_WORDS = ("step", "iter", "iteration", "global_step", "update", "it", "epoch", "batch")

LEAST_LINES = 3
"""Lines with a loss that make a text a log."""


def read_lines(text: str) -> Cells | None:
    """None where fewer than three lines tell a loss."""
    cells, losses = Cells([]), 0
    for line in text.splitlines():
        values = dict(_pairs(line))
        if not values:
            continue
        is_loss = any(named(name).is_loss for name in values)
        losses += is_loss
        if not is_loss and len(values) < 2:
            continue
        cells.names += [name for name in values if name not in cells.names]
        cells.rows.append(values)
    return cells if losses >= LEAST_LINES else None


def _pairs(line: str) -> Iterator[tuple[str, float]]:
    """Names and numbers of a line."""
    bare = _STAMP.sub("", line)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", bare)
    for match in _PAIR.finditer(bare):
        value = number_of(match[2].replace(",", "") if "," in match[2] else match[2])
        if value is not None:
            yield " ".join(match[1].split()).strip().lower(), value
