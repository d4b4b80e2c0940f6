"""A table is read and made ready while torch is being loaded, which takes as long.

Only a command of ours does that, before it imports what trains. Whatever fails is done again in its
turn, where it is told; so nothing but time hangs on this file.
"""

from __future__ import annotations

import os
import sys
from threading import Thread

from thalweg.jobs.asked import asked_of
from thalweg.jobs.settings import Settings
from thalweg.jobs.text import is_language
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.read import Table, read_table
from thalweg.tasks.table.ready import Ready, made_ready

SMALLEST = 1 << 20
"""Bytes of a file that is worth it."""

TURN = 5e-4
"""Seconds after which a thread lets another one go on: the loading one has no pause of its own."""


class Ahead(Thread):
    """data, asked: what was begun; table, ready: what has come of it so far"""

    def __init__(self, data: str, asked: Asked):
        super().__init__(name="thalweg-ahead", daemon=True)
        self.data, self.asked = data, asked
        self.table: Table | None = None
        self.ready: Ready | None = None

    def run(self) -> None:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(TURN)
        try:
            self.table = read_table(self.data, texts=self.asked.texts, numbers=self.asked.numbers)
            self.ready = made_ready(self.table.frame, self.asked, self.table.name)
        except BaseException:
            pass  # it comes again, and is told; Ctrl-C may meet this thread inside of polars
        finally:
            sys.setswitchinterval(usual)


_begun: list[Ahead] = []
"""At most one, until it is taken."""


def begin(data: str, settings: Settings) -> None:
    """Begin with a large file, unless more than its table decides what becomes of it."""
    more = (settings.text, settings.schema, settings.init, settings.folds)
    if settings.target is None or is_language(settings) or any(row is not None for row in more):
        return
    if not os.path.isfile(data) or os.path.getsize(data) < SMALLEST:
        return
    ahead = Ahead(data, asked_of(settings, settings.target, {}))
    ahead.start()
    _begun[:] = [ahead]


def taken(data: object, asked: Asked) -> Ahead | None:
    """What was begun for this and nothing else, once it is done; None where it has to be done."""
    if not _begun:
        return None
    ahead = _begun.pop()
    ahead.join()
    is_this = (ahead.data, ahead.asked) == (data, asked)
    return ahead if is_this and ahead.ready is not None else None
