"""Every command of `thalweg`. Results go to standard output, progress to standard error.

What a command needs is imported when it runs, so that --help answers at once.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, get_args

from cyclopts import (
    App,
    ArgumentCollection,
    CycloptsError,
    Parameter,
    Token,
    UnusedCliTokensError,
    convert,
)

from thalweg.cli.diagnose import diagnose
from thalweg.cli.explain import explain
from thalweg.cli.output import print_json, print_scores, size_text, warn
from thalweg.errors import ThalwegError, UsageError
from thalweg.jobs import defaults
from thalweg.jobs.settings import Settings
from thalweg.version import __version__

_SETTINGS = Annotated[Settings, Parameter(name="*")]
_JSON = Annotated[bool, Parameter(name="--json", negative="", help="print one JSON object")]
_QUIET = Annotated[
    bool, Parameter(name="--quiet", negative="", help="no progress on standard error")
]
_ALERT = Annotated[
    str | None,
    Parameter(
        name="--alert",
        help="a URL, or a command of the shell, that gets each finding that needs an act once, as "
        "JSON, as soon as it turns up",
    ),
]
_OUT = Annotated[str, Parameter(name="--out", help="the folder that holds the runs")]
_STDIN = {"-": "/dev/stdin"}
"""cyclopts takes a lone - for an option."""

_FREES_AT_ONCE = "_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0"
"""polars' allocator, which it asks when it is loaded, would keep the memory that reading took."""

_RUN = Annotated[str, Parameter(help='a folder, a name below --out, or "last"')]


def _convert(kind: Any, tokens: Sequence[Token]) -> Any:
    """cyclopts' own conversion, but a text with a point is no whole number: it would be rounded."""
    allowed = get_args(kind) or (kind,)
    if int in allowed and float not in allowed and "." in tokens[0].value:
        if str in allowed:
            return tokens[0].value
        raise ValueError(f"{tokens[0].value} is not a whole number")
    return convert(kind, tokens)


def _repeat(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill what the command line leaves open from the run.toml that --config names."""
    asked = {argument.name: argument for argument in arguments}
    config = asked.get("--config")
    if config is None or not config.tokens:
        return
    path = config.tokens[0].value
    for name, value in _job("config", "values_of")(path).items():
        argument = asked["DATA" if name == "data" else f"--{name.replace('_', '-')}"]
        if not argument.tokens:
            argument.append(Token(keyword=argument.name, value=str(value), source=path))


_DEFAULTS = "\n\n".join(f"{row.name}: {row.rule}." for row in defaults.TABLE)

app = App(
    name="thalweg",
    help="Train models by gradient descent, and keep the descent on its line.",
    version=__version__,
    version_flags=["--version"],
    result_action="return_value",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(converter=_convert),
    config=_repeat,
)


@app.command(help_epilogue=f"Defaults, where you do not choose:\n\n{_DEFAULTS}")
def fit(
    data: str | None = None,
    /,
    *,
    settings: _SETTINGS = Settings(),
    config: str | None = None,
    alert: _ALERT = None,
    json: _JSON = False,
    quiet: _QUIET = False,
) -> int:
    """Train a model to predict one column of a table, or to write a plain text (--task lm).

    Parameters
    ----------
    data:
        a table: CSV, JSON lines, Parquet or Arrow, a folder of such files, or - for standard
        input; or pictures: a folder that holds a folder for each class; or module:function that
        returns a thalweg.Task; with --task lm a plain text
    config:
        run.toml of an earlier run, to repeat it; options given beside it come first
    """
    if data is None:
        raise UsageError("no data was given: thalweg fit FILE --target COL")
    _job("check", "check")(data, settings, alert)
    _job("ahead", "begin")(data, settings)
    run = _job("fit", "run_fit")(data, settings, quiet=quiet, alert=alert, owns_process=True)
    return _end(run, json)


@app.command
def resume(
    run: _RUN,
    data: str | None = None,
    /,
    *,
    epochs: str | None = None,
    steps: str | None = None,
    from_step: int | None = None,
    set: list[str] | None = None,
    name: str | None = None,
    exact: bool = False,
    alert: _ALERT = None,
    out: _OUT = "runs",
    json: _JSON = False,
    quiet: _QUIET = False,
) -> int:
    """Go on with a run that was stopped or killed, as if it had never been; or train it longer.

    Parameters
    ----------
    data:
        where the run's data stands now, if it was moved
    epochs:
        +20 trains it longer by so many passes, be it finished or not
    steps:
        +500 trains it longer by so many steps
    from_step:
        begin a child in a new folder, from the checkpoint of this step
    set:
        begin a child with a setting changed: lr=1e-4; may be given several times
    name:
        of the child's folder; by default the run's and a number
    exact:
        refuse a machine on which the last bits would be others
    """
    result = _job("resume", "run_resume")(
        run,
        data,
        _job("wish", "Wish").of(
            epochs=epochs, steps=steps, from_step=from_step, set=set, name=name
        ),
        model=None,
        loss=None,
        exact=exact,
        out=out,
        quiet=quiet,
        alert=alert,
        owns_process=True,
    )
    return _end(result, json)


@app.command
def demo(*, seed: int = 0, out: _OUT = "runs", json: _JSON = False, quiet: _QUIET = False) -> int:
    """Train on the handwritten digits that ship with scikit-learn.

    Parameters
    ----------
    seed:
        of the split, the first weights and the order
    """
    return _end(_job("demo", "demo")(out=out, seed=seed, quiet=quiet), json)


@app.command
def predict(
    run: _RUN,
    data: str | None = None,
    /,
    *,
    to: str | None = None,
    prompt: str | None = None,
    length: int = 200,
    temperature: float = 0.8,
    seed: int = 0,
    out: _OUT = "runs",
    json: _JSON = False,
) -> int:
    """Predict new rows: CSV on standard output, or a file; or let a language model write.

    Parameters
    ----------
    data:
        a table as for fit, with the columns that the run was trained on; for a run on pictures
        one, a folder, or a .txt with a path in each line
    to:
        write to this file instead, .csv or .parquet
    prompt:
        a text that a language model goes on from
    length:
        bytes that it writes
    temperature:
        0 takes the likeliest byte each time; 1 draws as often as the model expects
    seed:
        of these draws
    """
    if prompt is not None:
        wishes = {"length": length, "temperature": temperature, "seed": seed}
        found = _job("predict", "generate")(run, data, prompt=prompt, to=to, out=out, **wishes)
        print_json(found) if json else print(found["prompt"] + found["text"])
        return 0
    if data is None:
        raise UsageError(
            "no data was given: thalweg predict RUN DATA; of a language model --prompt"
        )
    result, frame = _job("predict", "predict")(run, data, to=to, out=out)
    _tell_drift(result)
    if json:
        print_json(result)
    elif to is None:
        sys.stdout.write(frame.write_csv())
    if to is not None:
        print(f"wrote {to}", file=sys.stderr)
    return 0


@app.command
def evaluate(run: _RUN, data: str, /, *, out: _OUT = "runs", json: _JSON = False) -> int:
    """Score a run on new rows that hold the target as well.

    Parameters
    ----------
    data:
        a table as for fit, with the run's columns and its target; or folders of pictures
    """
    result = _job("evaluate", "evaluate")(run, data, out=out)
    _tell_drift(result)
    print_json(result) if json else print_scores(result)
    return 0


@app.command
def report(
    run: _RUN,
    /,
    *,
    schema: bool = False,
    post_mortem: Annotated[bool, Parameter(negative="")] = False,
    out: _OUT = "runs",
    json: _JSON = False,
) -> int:
    """Build the page of a run anew and say where it is.

    Parameters
    ----------
    post_mortem:
        print instead what happened and what was done, step by step, and what the run cost after
        its best evaluation
    schema:
        print instead what the run took its columns for, whole, as a file for fit --schema
    """
    if schema:
        result = _job("report", "schema_text")(run, out=out)
        print_json(result) if json else print(result["columns"], end="")
        return 0
    if post_mortem:
        result = _job("post_mortem", "post_mortem")(run, out=out)
        print_json(result) if json else print(_job("diagnose", "as_post_mortem")(result))
        return 0
    result = _job("report", "report")(run, out=out)
    print_json(result) if json else print(result["report"])
    return 0


app.command(diagnose)
app.command(explain)

runs = App(name="runs", help="List the runs, oldest first, or delete one.")
app.command(runs)


@runs.default
def list_runs(*, out: _OUT = "runs", json: _JSON = False) -> int:
    """List the runs with their sizes."""
    result = _job("runs", "list_runs")(out)
    if json:
        print_json(result)
        return 0
    for row in result["runs"]:
        print(
            f"{row['name']:<24}{row['state']:<12}{row['optimizer'] or '-':<12}"
            f"{size_text(row['bytes']):>10}{_child_text(row['parent'])}"
        )
    if not result["runs"]:
        print(f"no run in {out} yet")
    return 0


def _child_text(parent: Mapping[str, Any] | None) -> str:
    return "" if parent is None else f"  from {parent['run']}, step {parent['step']:,}"


@runs.command(name="delete")
def delete_run(run: _RUN, /, *, out: _OUT = "runs", json: _JSON = False) -> int:
    """Delete a run, for good."""
    result = _job("runs", "delete_run")(run, out=out)
    print_json(result) if json else print(f"deleted {result['run']} ({size_text(result['bytes'])})")
    return 0


def main(words: list[str] | None = None) -> int:
    """Run one command; returns the exit code. A warning is one line, as an error is."""
    os.environ.setdefault(*_FREES_AT_ONCE)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *place, **more: warn(str(message))
        return _run(words)


def _run(words: list[str] | None) -> int:
    try:
        words = [_STDIN.get(word, word) for word in (sys.argv[1:] if words is None else words)]
        return app(words, exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        return _say(_usage(error), UsageError.exit_code)
    except ThalwegError as error:
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return _say("interrupted", 130)


def _usage(error: CycloptsError) -> str:
    """What is wrong with a command line, in one line."""
    text = " ".join(str(error).split()).removesuffix(".")
    if isinstance(error, UnusedCliTokensError):
        text = f"nothing is expected at {' '.join(error.unused_tokens or [])!r}"
    return f"{text} (thalweg --help shows what there is)"


def _say(message: str, code: int) -> int:
    warn(message)
    return code


def _end(run: Any, json: bool) -> int:
    """Print the result of a fit; the exit code that goes with it."""
    print_json(run.result) if json else print(run)
    if run.result["status"] == "interrupted":
        return 130
    return 3 if run.verdict.state == "diverging" else 0


def _tell_drift(result: Mapping[str, Any]) -> None:
    """A line for each column whose new values differ from those that were trained on."""
    for row in result["drift"]:
        warn(f"warning: {row['text']}")


def _job(module: str, name: str) -> Any:
    """A function of jobs/, imported now.

    What an import makes is no garbage: not looking for any meanwhile saves a seventh of the time.
    """
    is_on = gc.isenabled()
    gc.disable()
    try:
        return getattr(import_module(f"thalweg.jobs.{module}"), name)
    finally:
        if is_on:
            gc.enable()


if __name__ == "__main__":
    sys.exit(main())
