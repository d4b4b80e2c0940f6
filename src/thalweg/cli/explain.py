"""The command `thalweg explain`."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

from cyclopts import Parameter

from thalweg.cli.output import print_json

_WORDS = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""So that an option, --lr, can be asked for as it is written."""

_JSON = Annotated[bool, Parameter(name="--json", negative="", help="print one JSON object")]


def explain(*words: _WORDS, json: _JSON = False) -> int:
    """Explain a finding, TW104, or a word that a command or a report prints; alone, list them.

    Parameters
    ----------
    words:
        a code such as TW104, or a term: momentum, "learning rate", --lr
    """
    job = import_module("thalweg.jobs.explain")
    found = job.explain(" ".join(words))
    print_json(found) if json else print(job.as_text(found))
    return 0
