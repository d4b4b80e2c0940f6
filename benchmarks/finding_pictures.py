"""Pictures of real runs for the findings' pages: docs/findings/pictures, from FaultBench's runs.

    make faultbench-data
    python -m benchmarks.finding_pictures            all of them
    python -m benchmarks.finding_pictures TW104      one

Each shows a run in which something was planted, beside the same run without it. Of the runs of the
tuning tasks in which a finding is true, the one is taken that the table below asks for and of which
it was said first, with the most confidence; so a picture is of a clear case.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.curve_picture import Line, Mark, Panel, picture
from benchmarks.healthbench.monitored import first_findings
from benchmarks.healthbench.plan import Run
from benchmarks.healthbench.store import log_of, metas, path_of
from thalweg.health.diagnosis import diagnose
from thalweg.record.foreign.log import Log, Series
from thalweg.types import Finding

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "findings" / "pictures"
TASKS = {
    "digits": "Digits, 64 pixels as columns",
    "mnist": "Digits of MNIST, 14 x 14 pixels",
    "letter": "Letters, 16 measures of each",
    "spam": "Mails, spam or not",
    "diamonds": "Prices of diamonds",
}
"""The tuning tasks, those first that need the fewest words; held-out runs are left unseen."""

OPTIMIZERS = {
    "sgd": "SGD with momentum",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "adagrad": "AdaGrad",
}

LABELS = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "lr": "learning rate",
    "gradient_norm": "gradient's norm",
    "validation_accuracy": "accuracy",
    "validation_balanced_accuracy": "mean over the classes",
    "validation_accuracy:earlier": "accuracy on the earlier classes",
    "loss_scale": "loss scale",
    "seconds": "seconds a step",
    "dead": "dead units, the worst layer",
    "saturated": "saturated units, the worst layer",
    "parameter_norm": "norm of all weights",
    "first": "gradient, first layer",
    "head": "last layer",
}
"""What a column is called in a picture."""

LOSSES = ("loss", "validation_loss")


@dataclass(frozen=True)
class Wanted:
    """What a picture shows. fault: of FaultBench; words: what was planted, with its {amount}

    left, right: columns of the two panels, or of one alone; zoom: the right one shows so many steps
    """

    fault: str
    words: str
    left: tuple[str, ...] = LOSSES
    right: tuple[str, ...] = ()
    zoom: int = 0


WANTED = {
    "TW001": Wanted("zero-by-zero", "0 divided by 0 in the loss of one batch"),
    "TW002": Wanted("exploding-growth", "gradients that grow by {amount:.0%} from step to step"),
    "TW003": Wanted("spikes", "batches of wrong labels and {amount:g} times as large inputs"),
    "TW004": Wanted(
        *("exploding-growth", "gradients that grow by {amount:.0%} from step to step"),
        right=("gradient_norm",),
    ),
    "TW005": Wanted(
        "vanishing",
        "{amount:.0f} layers of sigmoids, one behind the other",
        right=("first", "head"),
    ),
    "TW101": Wanted("rate-high", "a rate {amount:g} times as high"),
    "TW102": Wanted("rate-low", "a rate of {amount:.2g} times the right one"),
    "TW103": Wanted("noise-plateau", "batches of 8, and {amount:g} times the rate, constant"),
    "TW104": Wanted("zero-inputs", "inputs that are all zero"),
    "TW105": Wanted(
        "decayed-early", "a schedule that is over after {amount:.0%} of the run", right=("lr",)
    ),
    "TW106": Wanted("strong-decay", "a weight decay of {decay:.3g}", right=("parameter_norm",)),
    "TW107": Wanted("tiny-batch", "batches of {amount:.0f}"),
    "TW201": Wanted("few-samples", "a few samples to learn from"),
    "TW202": Wanted("too-narrow", "hidden layers that are {amount:.0f} wide"),
    "TW203": Wanted("label-noise-shard", "{amount:.0%} of the labels wrong"),
    "TW204": Wanted(
        *("imbalance", "all classes but one rare, {amount:.1%} of their samples left"),
        right=("validation_accuracy", "validation_balanced_accuracy"),
    ),
    "TW205": Wanted("target-leak", "columns that tell the answer, in {amount:.0%} of the rows"),
    "TW206": Wanted("sorted", "samples in the order of their targets", right=("loss",), zoom=150),
    "TW207": Wanted(
        *("repeated-batches", "the same {amount:.0f} batches again and again"),
        right=("loss",),
        zoom=60,
    ),
    "TW208": Wanted("unscaled-inputs", "columns of sizes up to 10 to the power of {amount:.0f}"),
    "TW209": Wanted(
        *("forgetting", "trained on half of the classes before, and now on the others alone"),
        right=("validation_accuracy:earlier", "validation_accuracy"),
    ),
    "TW301": Wanted("dead-biases", "biases lowered by {amount:g}", right=("dead",)),
    "TW302": Wanted(
        "saturated", "tanh, with weights {amount:g} times as large", right=("saturated",)
    ),
    "TW303": Wanted("large-weights", "first weights {amount:g} times as large"),
    "TW304": Wanted("too-deep", "{amount:.0f} hidden layers without a normalisation"),
    "TW305": Wanted("softmax-twice", "a softmax before the cross-entropy, which has its own"),
    "TW306": Wanted("evaluates-while-trained", "batch norm in evaluation mode while it trains"),
    "TW307": Wanted("replaced", "layers put in after the optimizer was made"),
    "TW308": Wanted("never-zeroed", "gradients that are never zeroed"),
    "TW309": Wanted("detached", "a graph that is cut below the last layers"),
    "TW310": Wanted("masked", "no label that counts in {amount:.0%} of the batches"),
    "TW401": Wanted("lost-updates", "weights in bfloat16, and {amount:g} times the rate"),
    "TW402": Wanted(
        "skipped-steps", "gradients that overflow fp16 at any scale", right=("loss_scale",)
    ),
    "TW403": Wanted("truncated", "an end long before the planned one"),
    "TW404": Wanted("slow-steps", "steps that take longer", right=("seconds",)),
}


class Case(NamedTuple):
    """A run with its log. found: what was said of the code, by which of the two"""

    meta: dict[str, Any]
    log: Log
    found: Finding | None
    by: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finding_pictures")
    parser.add_argument("codes", nargs="*", default=list(WANTED))
    PICTURES.mkdir(exist_ok=True)
    for code in parser.parse_args(arguments).codes:
        cases = sorted(cases_of(code), key=lambda case: rank(code, case))
        if not cases:
            print("there are no runs yet: make faultbench-data", file=sys.stderr)
            return 1
        text = drawn(code, cases[0])
        (PICTURES / f"{code}.svg").write_text(text, encoding="utf-8")
        print(f"{code}  {len(text):>6,} bytes  {cases[0].meta['name']}")
    return 0


def cases_of(code: str) -> Iterator[Case]:
    """The runs in which the wanted fault did harm, and which have a twin without it."""
    for task in TASKS:
        for meta in all_metas(task):
            is_wanted = meta["fault"] == WANTED[code].fault and code in meta["codes"]
            if is_wanted and meta["status"] == "fault" and twin_of(meta) is not None:
                log = log_of(meta, path_of(task, meta["name"]))
                yield Case(meta, log, *said_of(code, meta, log))


def said_of(code: str, meta: dict[str, Any], log: Log) -> tuple[Finding | None, str]:
    """The finding: where diagnose has it first, or the monitor at once, or diagnose too."""
    findings = diagnose(log).findings
    named = [each for each in findings if each.code == code]
    if named and findings[0] is named[0]:
        return named[0], "first"
    seen = [each for each in first_findings(meta) if each.code == code]
    if seen:
        return seen[0], "monitor"
    return (named[0], "among others") if named else (None, "")


def rank(code: str, case: Case) -> tuple[Any, ...]:
    """The clearest case first: its main cause, said first, surest; by task; dated best; by name."""
    meta, found = case.meta, case.found
    by = ("first", "monitor", "among others", "").index(case.by)
    sure, off = 0.0, 0.0
    if found is not None:
        length = len(case.log.series["loss"])
        sure, off = found.confidence, abs(found.since_step - meta["onset"]) / length
    place = list(TASKS).index(meta["run"]["task"])
    return meta["codes"][0] != code, by, -round(sure, 1), place, round(off, 1), meta["name"]


def twin_of(meta: dict[str, Any]) -> Log | None:
    """The log of the same run without the fault."""
    twin = Run(**meta["run"]).twin
    path = path_of(twin.task, twin.name)
    if not path.exists():
        return None
    return next(log_of(row, path) for row in all_metas(twin.task) if row["name"] == twin.name)


all_metas = cache(metas)
"""Read once."""


def drawn(code: str, case: Case) -> str:
    """The picture of one finding."""
    wanted, twin = WANTED[code], twin_of(case.meta)
    assert twin is not None
    marks = [Mark(case.meta["onset"], "planted", "planted")]
    if case.found is not None:
        marks.append(Mark(case.found.since_step, f"{code} from here", "said"))
    panels = [Panel(list(drawn_lines(case.log, twin, wanted.left, "without the fault")), marks)]
    if wanted.right:
        end = float(case.log.series["loss"].steps[-1])
        steps = (end - wanted.zoom, end) if wanted.zoom else None
        right = list(drawn_lines(case.log, twin, wanted.right, ""))
        panels.append(Panel(right, (), steps, IS_LOG.get(wanted.right[0])))
    return picture(caption(code, case), panels)


IS_LOG = {"dead": False, "saturated": False, "loss_scale": True}
"""By column; others as their values ask for."""


def drawn_lines(log: Log, twin: Log, names: Sequence[str], label: str) -> Iterator[Line]:
    """The columns of a run, and of its twin the last one of them."""
    for name, look in zip(names, ("train", "checks"), strict=False):
        yield Line(LABELS[name], look, column(log, name))
    beside = column(twin, names[-1])
    if len(beside):
        yield Line(label, "twin", beside)


def column(log: Log, name: str) -> Series:
    """A column by its name, or one made of those of all layers; empty where there is none."""
    if name in log.series:
        return log.series[name]
    if name not in MADE:
        return Series.of(name, ())
    rows = [row for key, row in log.series.items() if key.startswith(f"{MADE[name][0]}:")]
    if not rows:
        return Series.of(name, ())
    values = np.array([row.values for row in rows])
    return Series(name, rows[0].steps, MADE[name][1](values))


MADE: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "dead": ("dead", lambda values: values.max(0)),
    "saturated": ("saturated", lambda values: values.max(0)),
    "parameter_norm": ("parameter_norm", lambda values: np.sqrt((values**2).sum(0))),
    "first": ("gradient_norm", lambda values: values[0]),
    "head": ("gradient_norm", lambda values: values[-2]),
}
"""By name: the columns of all layers, in the order of the network, weight before bias; and what is
made of them.
"""


def caption(code: str, case: Case) -> str:
    """Task, optimizer, what was planted and from when; and what was said of it."""
    meta, recipe = case.meta, case.meta["recipe"]
    words = WANTED[code].words.format(amount=meta["amount"], decay=recipe["weight_decay"])
    since = "from the start" if meta["onset"] == 1 else f"from step {meta['onset']:,}"
    optimizer = f"{OPTIMIZERS[recipe['optimizer']]}, rate {recipe['lr']:,.4g}"
    start = f"{TASKS[meta['run']['task']]}; {optimizer}. Planted {since}: {words}."
    return f"{start} Grey: the same run without it. {_said(code, case)}"


def _said(code: str, case: Case) -> str:
    if case.found is None:
        findings = diagnose(case.log).findings
        if not findings:
            return f"No check names {code} in this run."
        other, is_true = findings[0], findings[0].code in case.meta["codes"]
        truth = "is true of it as well" if is_true else "is wrong"
        return f"thalweg diagnose names {other.code}, {other.name}, instead, which {truth}."
    step, sure = f"step {max(1, case.found.since_step):,}", f"{case.found.confidence:.0%} sure"
    if case.by == "monitor":
        return f"The curves alone do not name it; thalweg.monitor says {code} at {step}, {sure}."
    place = "first" if case.by == "first" else "beside others"
    return f"thalweg diagnose names {code} {place}, since {step}, {sure}."


if __name__ == "__main__":
    sys.exit(main())
