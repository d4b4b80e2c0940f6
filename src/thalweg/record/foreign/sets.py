"""Tables in which a column tells of each row whose values it holds: split = train, val, ..."""

from __future__ import annotations

import numpy as np

from thalweg.record.foreign.cells import Cells
from thalweg.record.foreign.names import HELD, TEST, TRAIN, named

_NAMES = {"split", "phase", "mode", "set", "stage", "subset", "dataset", "partition"}
_SETS = TRAIN | HELD | TEST


def by_set(cells: Cells) -> Cells:
    """Each column once for every set, as train/loss and val/loss; as it is where no column tells
    the set.
    """
    column = next((words for name, words in cells.texts.items() if name.lower() in _NAMES), [])
    told = {word.lower() for word in column if word}
    if len(told) < 2 or not told <= _SETS:
        return cells
    found = Cells(cells.num_rows, stamps=cells.stamps)
    whose = np.array([word.lower() for word in column])
    for name in cells.names:
        row, has = named(name), cells.has[name]
        sets = [] if row.is_counter or row.is_epoch or row.has(_SETS) else sorted(told)
        for part in sets:
            found.add(f"{part}/{name}", cells.values[name], has & (whose == part))
        if not sets:
            found.add(name, cells.values[name], has)
    return found
