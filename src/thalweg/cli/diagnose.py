"""The command `thalweg diagnose`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

from cyclopts import Parameter

from thalweg.cli.output import print_json, warn
from thalweg.errors import UsageError

STDIN, STDIN_FILE = "-", "/dev/stdin"
"""As it is typed, and as the parser gives it."""

_OUT = Annotated[str, Parameter(help="the folder that holds the runs")]
_JSON = Annotated[bool, Parameter(name="--json", negative="", help="print one JSON object")]
_FLAG = Annotated[bool, Parameter(negative="")]


def diagnose(
    path: str,
    /,
    *,
    loss_column: str | None = None,
    validation_column: str | None = None,
    step_column: str | None = None,
    lr_column: str | None = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    against: str | None = None,
    follow: _FLAG = False,
    tries: Annotated[bool, Parameter(name="--try", negative="")] = False,
    try_steps: int | None = None,
    brief: _FLAG = False,
    alert: str | None = None,
    out: _OUT = "runs",
    json: _JSON = False,
) -> int:
    """Say what is wrong with a run, of ours or of another tool's log, and what to change.

    Parameters
    ----------
    path:
        a run; an event file of TensorBoard, a CSV, JSON lines or printed text, trainer_state.json,
        a database of MLflow or trackio (or DATABASE/RUN), a folder of wandb, or a folder of such;
        or - for standard input
    loss_column:
        the column of the training loss, where it is not found by its name
    validation_column:
        the column of the validation loss
    step_column:
        the column that counts steps
    lr_column:
        the column of the learning rate
    every:
        each log of a folder, each run of a database or a table
    against:
        a good run or log of the same: say where the two part
    follow:
        read standard input as it grows, and say the verdict each time that it changes
    tries:
        try causes and what is suggested, for a run of ours: trials on a checkpoint that confirm or
        refute what was found, and some steps of each change, ranked by what they did
    try_steps:
        steps of each try; by default a twenty-fifth of the run's, and at least 15
    brief:
        a summary to paste: settings, curves, verdict, open questions
    alert:
        with --follow: a URL, or a command of the shell, that gets each finding that needs an act
        once, as JSON, as soon as it turns up
    """
    path = STDIN if path == STDIN_FILE else path
    if json and brief:
        raise UsageError("--json and --brief are two ways to print it: leave one of them out")
    if try_steps is not None and not tries:
        raise UsageError("--try-steps says how long each try of --try is: give --try as well")
    idle = {"--all": every, "--against": against, "--try": tries}
    if follow and any(idle.values()):
        name = next(name for name, value in idle.items() if value)
        raise UsageError(f"--follow reads one log as it grows: leave out {name}")
    if alert is not None and not follow:
        raise UsageError(
            "--alert goes with --follow: of a log that is read once the exit code says it, 3 where "
            "a finding needs an act"
        )
    columns = job("diagnose", "Columns")(loss_column, validation_column, step_column, lr_column)
    if follow:
        return _follow(path, columns, brief=brief, json=json, alert=alert)
    said = job("diagnose", "diagnose_path")(path, columns, out=out, every=every, against=against)
    if tries:
        try_out = job("trying", "try_out")
        said = [
            try_out(each["source"]["path"], each, out=out, steps=try_steps, tell=warn)
            for each in said
        ]
    if json:
        print_json(said[0] if not every else {"schema": 1, "command": "diagnose", "runs": said})
    else:
        print("\n\n".join(_text_of(each, brief=brief, several=len(said) > 1) for each in said))
    is_unhealthy = any(each["verdict"]["healthy"] is False for each in said)
    return 3 if is_unhealthy else 0


def _follow(path: str, columns: Any, *, brief: bool, json: bool, alert: str | None) -> int:
    if path != STDIN:
        raise UsageError("--follow reads standard input: tail -f LOG | thalweg diagnose - --follow")

    def tell(said: Mapping[str, Any]) -> None:
        print_json(said) if json else print(_text_of(said, brief=brief, several=False), "\n")
        sys.stdout.flush()

    last = job("follow", "follow")(sys.stdin, columns, tell, alert=alert, warn=warn)
    return 3 if last["verdict"]["healthy"] is False else 0


def _text_of(said: Mapping[str, Any], *, brief: bool, several: bool) -> str:
    if brief:
        return job("diagnose", "as_brief")(said)
    text = job("diagnose", "as_text")(said)
    return f"{said['source']['path']}\n{text}" if several else text


def job(module: str, name: str) -> Any:
    """A function of jobs/, imported now."""
    return getattr(import_module(f"thalweg.jobs.{module}"), name)
