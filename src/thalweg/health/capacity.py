"""Can the model learn what it is asked: its inputs, its narrowest layer, how much it drops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from thalweg.facts import Ran, Setup, StepFacts, Weight
from thalweg.health.holders import last_run
from thalweg.health.made import made
from thalweg.types import Finding

Steps = Sequence[StepFacts]

FEWEST_CLASSES = 5
FEWEST_COLUMNS, FEWEST_OF_TWO = 4, 16
"""Columns from which it is odd that all say one thing, or two."""

MUCH, VERY_MUCH, ALL = 0.75, 0.9, 1.0
"""Shares that a dropout drops; 0.1 to 0.5 is usual."""

LOOK = "look at what the model is given: "
MIXED = LOOK + (
    "a projection, a broadcast or one column that was written over the others; no model finds in "
    "these inputs what is not in them"
)


def empty_inputs(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """The model was given the same for every sample."""
    kinds = [step.are_alike for step in steps[:2]]
    if kinds[:1] == ["zero"]:
        text = "the model was given nothing but zeros, so no sample differs from another"
        remedy = LOOK + "a mask, a cast or a scale that leaves nothing, or a file that was not read"
        yield made("TW104", 1, 0.93, text, numbers={"inputs": "zero"}, remedy=remedy)
    elif kinds == ["alike", "alike"]:
        text = "the model was given the same inputs for every sample of the first two batches"
        remedy = LOOK + "an index that does not move, or a sample that is repeated"
        yield made("TW104", 1, 0.85, text, numbers={"inputs": "alike"}, remedy=remedy)


def few_directions(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Columns that all say one thing."""
    columns = steps[0].columns if steps else None
    if columns is None or not columns.directions:
        return
    count, where = columns.num_apart, f"each column that goes into '{columns.module}'"
    numbers = {"columns": count, "directions": columns.directions}
    if columns.directions == 1 and count >= FEWEST_COLUMNS:
        text = f"the inputs say one thing {count} times: {where} is a multiple of every other"
        yield made("TW202", 1, 0.88, text, numbers=numbers, remedy=MIXED)
    elif columns.directions == 2 and count >= FEWEST_OF_TWO:
        text = f"the inputs say two things in {count} columns: {where} is made of the same two"
        yield made("TW202", 1, 0.8, text, numbers=numbers, remedy=MIXED)


# ------------------------------------------------------------ layers


def narrow(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """A layer of very few units, through which all must go that tells the classes apart."""
    step = steps[0] if steps else None
    matrices = [weight for weight in setup.weights if weight.inputs]
    head = last_run(matrices, steps)
    if step is None or head is None:
        return
    if not is_of_classes(step, head.units):
        yield from one_relu(matrices, head, step)
        return
    ran = {each.module: each for each in step.ran}
    limit = max(1.0, math.log2(head.units) / 2)
    for weight in matrices:
        units = min_units(weight, head)
        if units <= limit and weight.module in ran and is_passage(weight, head, matrices, step):
            kind = "channel" if "Conv" in weight.kind else "unit"
            what = f"{units} {kind}" + ("s" if units > 1 else "")
            place = "takes" if weight is head else "has"
            text = (
                f"'{weight.module}' {place} {what}, and all that tells {head.units} classes apart "
            )
            text += "must go through"
            wanted = max(8, 2 * math.ceil(math.log2(head.units)))
            remedy = f"give it more {kind}s, {wanted} at the least; usual is 32 and more"
            numbers = {"units": units, "classes": head.units, "module": weight.module}
            sure = 0.78 if units == 1 else 0.7
            yield made("TW202", 1, sure, text, numbers=numbers, remedy=remedy)
            return


def one_relu(matrices: Sequence[Weight], head: Weight, step: StepFacts) -> Iterator[Finding]:
    """A single unit with a relu, through which all must go: flat wherever it is below 0."""
    ran = {each.module: each for each in step.ran}
    for weight in matrices:
        is_one = weight.units == 1 and weight.inputs > 1 and weight is not head
        if not is_one or weight.module not in ran or step.loss is None:
            continue
        following = next_of(weight, matrices, step)
        is_bent = following is not None and following.unit == "relu"
        if is_bent and is_passage(weight, head, matrices, step):
            text = (
                f"all must go through the one unit of '{weight.module}' and a relu: samples for "
                "which it is below 0 all get one answer"
            )
            numbers = {"units": 1, "module": weight.module}
            remedy = "give it more units; usual is 32 and more"
            yield made("TW202", 1, 0.8, text, numbers=numbers, remedy=remedy)
            return


def is_of_classes(step: StepFacts, count: int) -> bool:
    """Does a cross-entropy tell so many classes apart, and are these many?"""
    links = step.loss.links if step.loss is not None else ()
    widths = {link.width for link in links if link.loss in ("nll", "log_softmax")}
    return count >= FEWEST_CLASSES and count in widths


def min_units(weight: Weight, head: Weight) -> int:
    """What a layer lets through: its units, of the last one its inputs."""
    return weight.inputs if weight is head else weight.units


def is_passage(weight: Weight, head: Weight, matrices: Sequence[Weight], step: StepFacts) -> bool:
    """Does the loss depend on all that ran before through this layer alone?"""
    assert step.loss is not None
    past = dict(step.loss.past).get(weight.name)
    if past is None:
        return False
    orders = {ran.module: ran.order for ran in step.ran}
    homes = {each.name: each.module for each in matrices}
    others = {homes[name] for name in past if name in homes} - {weight.module}
    if any(orders.get(module, 0) <= orders[weight.module] for module in others):
        return False
    if weight is head:
        return step.loss.depth > 1 and not others
    following = next_of(weight, matrices, step)
    return following is not None and is_fed(following, weight)


def next_of(weight: Weight, matrices: Sequence[Weight], step: StepFacts) -> Ran | None:
    """The matrix layer that ran next."""
    modules = {each.module for each in matrices}
    place = next(ran.order for ran in step.ran if ran.module == weight.module)
    later = [ran for ran in step.ran if ran.order > place and ran.module in modules]
    return min(later, key=lambda ran: ran.order, default=None)


def is_fed(following: Ran, weight: Weight) -> bool:
    """Is what a layer gives, and no more, what the next one takes? Flattened channels are."""
    is_flat = "Conv" in weight.kind and "Conv" not in following.kind
    return following.width == weight.units or (is_flat and weight.units == 1)


def dropout(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Modules that drop nearly everything."""
    if not steps or not steps[0].is_training:
        return
    share = max((share for _, share in setup.dropouts), default=0.0)
    names = [name for name, p in setup.dropouts if p == share]
    if share < MUCH:
        return
    where = ", ".join(repr(name or "the model") for name in names[:3])
    where += f" and {len(names) - 3} more" if len(names) > 3 else ""
    text = f"{where} sets {share:.0%} of what goes through to 0 in training"
    numbers = {"share": share, "modules": len(names)}
    remedy = "drop 10 to 50%: p is the share that is dropped, not the one that is kept"
    if share >= ALL:
        yield made("TW202", 1, 0.95, text, numbers=numbers, severity="act", remedy=remedy)
    else:
        sure = 0.82 if share >= VERY_MUCH else 0.35
        yield made("TW202", 1, sure, text, numbers=numbers, remedy=remedy)
