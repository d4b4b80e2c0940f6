"""Reads checkpoints made by an enemy, with the interpreter watching itself.

Folders come as a JSON list on standard input. For each, a line of JSON: what came of `read`, the
files outside the folder that were opened, and what else the interpreter was made to do. A process
of its own, because a hook for audits cannot be taken off again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from thalweg.errors import RunError
from thalweg.state.checkpoint import read

HARMLESS = ("open", "os.listdir", "os.scandir", "object.__getattr__", "sys._getframe", "gc.")
"""Audit events that a reader may cause: it reads."""

events: list[tuple[str, tuple[object, ...]]] = []
folder = ""


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if not folder:
        return
    is_inside = event == "open" and (
        isinstance(arguments[0], int) or str(arguments[0]).startswith(folder)
    )
    is_reading = event == "open" and not (arguments[1] and {*"wax+"} & {*str(arguments[1])})
    if not (is_inside and is_reading) and (event == "open" or not event.startswith(HARMLESS)):
        events.append((event, arguments))


def look(path: str) -> dict[str, object]:
    """What came of reading one."""
    global folder  # noqa: PLW0603
    events.clear()
    begun = time.perf_counter()
    folder = path
    try:
        outcome, text = "read", str(read(Path(path)).number)
    except RunError as error:
        outcome, text = "refused", str(error)
    except BaseException as error:
        outcome, text = "raised", f"{type(error).__name__}: {error}"
    folder = ""
    seconds = time.perf_counter() - begun
    return {"outcome": outcome, "text": text, "events": repr(events), "seconds": seconds}


if __name__ == "__main__":
    good, *others = json.load(sys.stdin)
    read(Path(good))  # what is imported late is imported now
    sys.addaudithook(watch)
    for path in (good, *others):
        print(json.dumps(look(path)), flush=True)
