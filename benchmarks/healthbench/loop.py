"""The plain torch loop that makes a run, and the columns that it leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from benchmarks.healthbench import measures
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.sets import Data, Part

INSIDE_EVERY = 20
"""Steps between two looks at each parameter and activation."""

NUM_TRAIN_ROWS = 500
"""Of the train part, scored at each evaluation beside the validation part."""

FIRST_SCALE, LARGEST_HALF, GROWTH_STEPS = 2.0**16, 65504.0, 100
"""Of emulated fp16: a step is skipped whose scaled gradient has a value above the largest; after so
many good steps the scale doubles (torch's 2,000 would not be seen in runs this short).
"""


@dataclass
class Columns:
    """What was logged: rows of (step, {name: value}) by how often they come."""

    steps: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    inside: list[dict[str, float]] = field(default_factory=list)
    ends: dict[str, float] = field(default_factory=dict)


def train(program: Program) -> Columns:
    """Run it to its end, also where its numbers have become NaN, as a plain loop does."""
    columns = Columns()
    scaler = Scaler() if program.recipe.precision == "fp16" else None
    norms = measures.Norms(program.model)

    for step in range(1, program.end + 1):
        started = time.thread_time()
        for act in program.acts.pop(step, ()):
            act()
        row = {"step": step, "lr": program.rate(step)}
        row |= forward_backward(program, step)

        is_looked_at = step % INSIDE_EVERY == 0 or step == 1
        if is_looked_at:
            norms.before()
        row |= update(program, row["lr"], scaler)
        if is_looked_at:
            columns.inside.append({"step": step, **norms.after(), **_inactive(program)})
        for then in program.after:
            then(step)

        if step % program.evaluates_every == 0 or step == program.end:
            columns.evaluations.append({"step": step, **evaluation(program)})
        if step not in program.lost:
            passed = time.thread_time() - started
            columns.steps.append(row | {"seconds": passed * program.slowness(step)})

    columns.ends = ends(program)
    return columns


def forward_backward(program: Program, step: int) -> dict[str, float]:
    """The mean loss of the step's batches, and the norm of the gradient that they leave."""
    accumulate = program.recipe.accumulate
    if program.zeroes:
        program.optimizer.zero_grad()

    total = 0.0
    program.model.train(program.trains_in_mode)
    for part in range(accumulate):
        batch = program.data.train.rows(program.order((step - 1) * accumulate + part + 1))
        x, y = batch.x, batch.y
        for change in program.changes:
            x, y = change(step, x, y)
        loss = program.criterion(program.model(x), y) / accumulate
        total += float(loss.detach())
        if loss.requires_grad:
            loss.backward()

    for change in program.gradients:
        change(step)
    return {"loss": program.shown(total), "gradient_norm": measures.gradient_norm(program.model)}


def update(program: Program, lr: float, scaler: Scaler | None) -> dict[str, float]:
    """Clip, scale and step; the loss scale where there is one."""
    for group in program.optimizer.param_groups:
        group["lr"] = lr
    parameters = list(program.model.parameters())
    is_sound = scaler is None or scaler.takes(parameters)

    if program.recipe.clip is not None:
        torch.nn.utils.clip_grad_norm_(parameters, program.recipe.clip)
    if is_sound:
        program.optimizer.step()
    if program.recipe.precision == "bf16":
        _round(parameters)
    return {} if scaler is None else {"loss_scale": scaler.scale}


class Scaler:
    """Emulates fp16's loss scale."""

    def __init__(self) -> None:
        self.scale = FIRST_SCALE
        self._good = 0

    def takes(self, parameters: list[torch.nn.Parameter]) -> bool:
        """Whether no gradient overflows; the scale is changed after it."""
        grads = [p.grad for p in parameters if p.grad is not None]
        largest = max((float(g.abs().max()) for g in grads), default=0.0)
        if not largest * self.scale <= LARGEST_HALF:
            self.scale, self._good = self.scale / 2, 0
            return False
        self._good += 1
        if self._good == GROWTH_STEPS:
            self.scale, self._good = self.scale * 2, 0
        return True


@torch.no_grad()
def _round(parameters: list[torch.nn.Parameter]) -> None:
    """To what bfloat16 holds."""
    for p in parameters:
        p.copy_(p.bfloat16())


def evaluation(program: Program) -> dict[str, float]:
    """Scores on the validation part, on some train rows, and on other parts by name."""
    data, found = program.data, {}
    for name, value in _scores(program, data, data.validation).items():
        found[f"validation_{name}"] = value
    some = Part(data.train.x[:NUM_TRAIN_ROWS], data.train.y[:NUM_TRAIN_ROWS])
    if data.kind == "symbols":
        some = Part(some.x[: len(data.validation)], some.y[: len(data.validation)])
    found["train_eval_loss"] = _scores(program, data, some)["loss"]
    for name, other in program.other.items():
        scores = _scores(program, other, other.validation)
        found |= {f"validation_{key}:{name}": value for key, value in scores.items()}
    return found


def _scores(
    program: Program, data: Data, part: Part, is_honest: bool = False
) -> Mapping[str, float]:
    """In the program's mode of evaluation and with the loss that it logs, or as is right."""
    is_set = program.evaluates_in_mode or is_honest
    with measures.evaluating(program.scored, is_set=is_set):
        outputs = program.scored(part.x)
        return measures.score(outputs, data, part, program.logged)


def _inactive(program: Program) -> dict[str, float]:
    return measures.inactive(program.model, program.data.train.x[: measures.NUM_WATCHED])


def ends(program: Program) -> dict[str, float]:
    """How the run has ended, scored honestly; num_missed: classes of which nothing is found."""
    honest = program.honest or program.data
    found = {
        f"honest_{name}": value
        for name, value in _scores(program, honest, honest.validation, is_honest=True).items()
    }
    if honest.kind == "classes":
        with measures.evaluating(program.scored):
            answers = program.scored(honest.validation.x).argmax(-1)
        missed = measures.recalls(answers, honest.validation.y, honest.num_outputs) == 0
        found["num_missed"] = float(missed.sum())
    return {name: value if math.isfinite(value) else math.nan for name, value in found.items()}
