"""What `thalweg.monitor` says of a stored run: its steps up to the first evaluation, and two more,
are made again beside it, and its samples are shown to what looks at them, over the whole run.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

import thalweg
from benchmarks.healthbench.loop import Scaler, evaluation, forward_backward, update
from benchmarks.healthbench.plan import Run, built
from benchmarks.healthbench.replayed import sample_findings
from thalweg.types import Finding

FEWEST, MOST = 3, 64
"""Steps that are made again; where the first evaluation comes later, one is made after the second.
"""


def first_findings(meta: dict[str, Any]) -> list[Finding]:
    """The findings of structure, oldest first, then those of the samples."""
    torch.set_num_threads(1)
    names = {field.name for field in fields(Run)}
    program, _ = built(Run(**{name: value for name, value in meta["run"].items() if name in names}))
    criterion = program.criterion
    of_samples = sample_findings(program)
    with thalweg.monitor(program.model, program.optimizer, tell=None) as monitor:

        def shown(outputs: Tensor, targets: Tensor) -> Tensor:
            loss = criterion(outputs, targets)
            if loss.requires_grad:
                monitor(loss)
            return loss

        program.criterion = shown
        scaler = Scaler() if program.recipe.precision == "fp16" else None
        first = program.evaluates_every if program.evaluates_every + 2 <= MOST else FEWEST - 1
        for step in range(1, max(FEWEST, first + 2) + 1):
            for act in program.acts.pop(step, ()):
                act()
            forward_backward(program, step)
            update(program, program.rate(step), scaler)
            for then in program.after:
                then(step)
            if step == first:
                evaluation(program)
    found = {each.code: each for each in monitor.findings if "says" not in each.evidence}
    for each in of_samples:
        if each.code not in found or found[each.code].severity == "warn":
            found[each.code] = each
    return list(found.values())
