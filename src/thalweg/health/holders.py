"""Who trains which weight: what is frozen, held by no optimizer, or out of everyone's reach."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from thalweg.facts import Setup, StepFacts, Weight
from thalweg.health.made import counted, made, named
from thalweg.types import Finding

Steps = Sequence[StepFacts]

LEAST = 256
"""Size of a weight from which it can be told whether it is as it was drawn."""

REBUILT = (
    "build the optimizer after the last change to the model: optimizer(model.parameters()); a "
    "model that is replaced, copied or given a new head has new parameters"
)
REGISTER = (
    "keep layers as attributes, or in nn.ModuleList, nn.ModuleDict or nn.ParameterList instead of "
    "a plain list, dictionary or function, and wrap a tensor last, as nn.Parameter(2 * values); "
    "then build the optimizer"
)
SMALL_TABLE = 1_024
"""Values of a table of categories; a larger one may have been learnt before, and is left as it is.
"""

SLOW = 0.002
"""A group's rate by the largest one, from which down what was just drawn hardly learns."""

RATE = (
    "set a rate above 0; where a schedule begins at 0, step it once a step, so that its warm-up "
    "does not last for a whole epoch"
)
UNFREEZE = "set requires_grad = True for what is to be trained, and build the optimizer after it"


# ------------------------------------------------------------ who holds which weight


def frozen(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Nothing can be trained, or the last layer cannot."""
    matrices = [weight for weight in setup.weights if weight.inputs]
    is_any = any(weight.is_trainable for weight in setup.weights)
    if setup.weights and not is_any and not setup.outsiders and not setup.foreign:
        size = sum(weight.size for weight in setup.weights)
        text = f"all {counted(size)} have requires_grad = False"
        yield made("TW307", 0, 0.95, text, numbers={"frozen": size}, remedy=UNFREEZE)
        return
    head = last_run(matrices, steps)
    below = [weight for weight in matrices if weight.is_trainable]
    passing = {ran.module for step in steps[:1] for ran in step.ran if ran.with_grad}
    if head is None or head.module not in passing:
        return
    if not head.is_trainable and head.initial == "drawn" and below:
        text = (
            f"the last layer {named([head])} is frozen as it was drawn, and those before it train"
        )
        yield made("TW307", 1, 0.7, text, numbers={"frozen": head.size}, remedy=UNFREEZE)


def drawn_and_frozen(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Hidden layers that the optimizer was given and that stay as they were drawn."""
    orders = {ran.module: ran for ran in steps[0].ran} if steps else {}
    matrices = [weight for weight in setup.weights if weight.inputs and weight.module in orders]
    still = [weight for weight in matrices if not weight.is_trainable]
    trained = [weight for weight in matrices if weight.is_trainable and weight.is_held]
    fresh = [weight for weight in still if weight.is_fresh and weight.is_held]
    is_pretrained = any(not weight.is_fresh for weight in still if weight.size >= LEAST)
    if not fresh or not trained or is_pretrained or last_run(matrices, steps) in still:
        return
    first = min(orders[weight.module].order for weight in fresh)
    learning = {weight.module for weight in setup.weights if weight.is_trainable}
    later = [ran for ran in orders.values() if ran.order > first and ran.module in learning]
    fed = any(ran.cut_from for ran in later)
    if fed or any(orders[weight.module].with_grad for weight in fresh):
        text = (
            f"{named(fresh)} have requires_grad = False and look as they were drawn, though the "
            "optimizer was given them"
        )
        numbers = {"frozen": sum(weight.size for weight in fresh), "layers": len(fresh)}
        remedy = (
            f"{UNFREEZE}; layers that are to stay must hold weights learnt before: check that they "
            "were loaded"
        )
        yield made("TW307", 1, 0.7, text, numbers=numbers, severity="warn", remedy=remedy)


def left_behind(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Layers that are as drawn, and whose group learns at next to none of the others' rate: small
    rates are for what was learnt before.
    """
    ran = {each.module for each in steps[0].ran} if steps else set()
    drawn = [w for w in setup.weights if w.inputs and w.is_fresh and w.is_held and w.is_trainable]
    slow = [w for w in drawn if 0 < w.pace <= SLOW and w.module in ran]
    if not slow:
        return
    pace = max(weight.pace for weight in slow)
    text = f"{named(slow)} look as they were drawn, and learn at {pace:.2g} of the largest rate"
    remedy = (
        "give them the full rate, or load what was learnt before into them: a small rate for the "
        "body is for weights that are good already"
    )
    numbers = {"weights": sum(weight.size for weight in slow), "pace": pace}
    yield made("TW307", 1, 0.75, text, numbers=numbers, severity="warn", remedy=remedy)


def made_anew(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """A layer that is made in the forward pass, used once and forgotten."""
    loss = steps[0].loss if steps else None
    if loss is not None and loss.orphans:
        text = (
            f"the loss uses a layer of {counted(loss.orphans)} that nothing holds: it was made in "
            "the forward pass, and the next pass draws another"
        )
        remedy = "make the layer once, in __init__, and use it in forward"
        yield made("TW307", 1, 0.9, text, numbers={"weights": loss.orphans}, remedy=remedy)


def one_of_many(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Layers of a list of which one ran as often as there are layers, and the others never."""
    times = {ran.module: ran.times for ran in steps[0].ran} if steps else {}
    for (before, _, _), modules in lists_of(setup.weights).items():
        ran = [module for module in modules if module in times]
        is_one = len(ran) == 1 and len(modules) > 1
        if is_one and times[ran[0]] == len(modules) * min(times.values()):
            text = (
                f"'{ran[0]}' ran {times[ran[0]]} times, and the other {len(modules) - 1} layers of "
                f"'{before.rstrip('.')}' never did"
            )
            remedy = "in the loop over the layers, call the layer of the loop, not one fixed layer"
            numbers = {"layers": len(modules), "times": times[ran[0]]}
            yield made("TW307", 1, 0.92, text, numbers=numbers, remedy=remedy)
            return


def lists_of(weights: Sequence[Weight]) -> dict[tuple[str, str, str], list[str]]:
    """Modules that differ by one number in their path, with what stands before and after it.

    >>> lists_of([Weight(f"a.{i}.weight", f"a.{i}", "Linear", 4, "", True, True) for i in (0, 1)])
    {('a.', 'Linear', ''): ['a.0', 'a.1']}
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for weight in weights:
        for match in re.finditer(r"(?<![^.])\d+(?![^.])", weight.module):
            key = weight.module[: match.start()], weight.kind, weight.module[match.end() :]
            modules = found.setdefault(key, [])
            if weight.module not in modules:
                modules.append(weight.module)
    return found


def table_passed_by(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Embeddings that never ran, before a layer that was given values of their width, of one or of
    all joined, without a graph: their weights were read past them.
    """
    step = steps[0] if steps else None
    columns = step.columns if step is not None else None
    if step is None or columns is None or columns.is_given:
        return
    ran = {each.module for each in step.ran}
    arrived = {moved.name for moved in step.moved if moved.arrived is not None}
    tables = [w for w in setup.weights if w.kind == "Embedding" and w.is_trainable and w.is_held]
    tables = [w for w in tables if w.module not in ran and w.name not in arrived]
    alone = [[weight] for weight in tables]
    for read in (*alone, tables):
        if sum(weight.units for weight in read) == columns.count:
            text = (
                f"{named(read)} never ran and got no gradient, and '{columns.module}' was "
                f"given {columns.count} values of a sample without a graph"
            )
            remedy = "call the embedding itself; .data and .detach() leave the graph behind"
            numbers = {"weights": sum(weight.size for weight in read)}
            yield made("TW309", 1, 0.85, text, numbers=numbers, remedy=remedy)
            return


def resting(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Weights that were just drawn, in a group of the optimizer whose rate is 0."""
    if len(steps) < 2:
        return
    if steps[0].lr == 0:
        yield from at_rest(steps)
        return
    names = steps[0].resting & steps[1].resting
    still = [w for w in setup.weights if w.name in names and w.initial == "drawn"]
    still = [weight for weight in still if weight.is_trainable]
    if still:
        text = f"{named(still)} stand in a parameter group whose rate is 0, as they were drawn"
        remedy = "give each parameter group a rate above 0, or set requires_grad = False if meant"
        numbers = {"weights": sum(weight.size for weight in still), "lr": 0.0}
        yield made("TW307", 1, 0.8, text, numbers=numbers, remedy=remedy)


def at_rest(steps: Steps) -> Iterator[Finding]:
    """All rates are 0, and not for the first step of a warm-up alone."""
    if steps[1].lr == 0 and not any(moved.changed for step in steps[:2] for moved in step.moved):
        text = "the learning rate was 0 in both of the first two steps, so that nothing moved"
        yield made("TW102", 1, 0.85, text, numbers={"lr": 0.0}, remedy=RATE)


def no_gradient(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """The optimizer steps, and no gradient has come to anything that it holds."""
    held = {weight.name for weight in setup.weights if weight.is_held and weight.is_trainable}
    empty = [step for step in steps[:2] if held and is_empty(step, held)]
    if not empty or empty[0].number != 1 or setup.foreign:
        return
    loss = empty[0].loss
    if empty[0].is_number or (loss is not None and not loss.reached):
        text = (
            "the loss depends on no weight: it was made anew from a number, or from a detached "
            "tensor, and backward() ends there"
        )
        remedy = "give backward() the loss itself; .item(), float() and torch.tensor() cut it off"
        yield made("TW309", 1, 0.95, text, numbers={"weights": len(held)}, remedy=remedy)
    elif len(empty) == 2 and norms(empty[0]) == norms(empty[1]):
        text = "the optimizer made two steps, and no weight that it holds had a gradient"
        remedy = "call loss.backward() before optimizer.step(), on a loss of this model"
        yield made("TW307", 1, 0.85, text, numbers={"weights": len(held)}, remedy=remedy)


def is_empty(step: StepFacts, held: set[str]) -> bool:
    """Had none of these weights a gradient?"""
    moved = [each for each in step.moved if each.name in held]
    return bool(moved) and all(m.arrived is None and m.gradient is None for m in moved)


def norms(step: StepFacts) -> list[float]:
    """Of all weights."""
    return [moved.norm for moved in step.moved]


def last_run(matrices: Sequence[Weight], steps: Steps) -> Weight | None:
    """The weight of the layer that ran last."""
    orders = {ran.module: ran.order for ran in steps[0].ran} if steps else {}
    ran = [weight for weight in matrices if weight.module in orders]
    return max(ran, key=lambda weight: orders[weight.module], default=None)


def not_held(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Weights that get gradients and that no optimizer moves."""
    if not steps or is_mastered(setup):
        return
    # a head of zeros lets nothing through before it has moved
    arrived = {moved.name for step in steps[:2] for moved in step.moved if moved.arrived}
    missing = [w for w in setup.weights if is_missing(w) and w.name in arrived]
    if not missing:
        return
    size = sum(weight.size for weight in missing)
    numbers = {"missing": size, "foreign": setup.foreign}
    if setup.foreign_tensors and not setup.foreign_reached:
        text = (
            f"the optimizer holds {counted(setup.foreign)} that are not the model's and get no "
            f"gradient; {named(missing)} get gradients and are held by no optimizer"
        )
        yield made("TW307", 1, 0.97, text, numbers=numbers, remedy=REBUILT)
        return
    text = f"{named(missing)} get gradients, and no optimizer holds them"
    fresh = [weight for weight in missing if weight.initial]
    if fresh:
        sure = 0.9 if is_downstream(fresh, setup, steps) else 0.75
        yield made("TW307", 1, sure, text, numbers=numbers)
    elif not any(w.inputs or (w.kind == "Embedding" and w.size > SMALL_TABLE) for w in missing):
        yield made("TW307", 1, 0.6, text, numbers=numbers, severity="warn")


def is_missing(weight: Weight) -> bool:
    """Is it to be trained, and held by nobody?"""
    return weight.is_trainable and not weight.is_held and not weight.is_held_elsewhere


def is_mastered(setup: Setup) -> bool:
    """Does the optimizer hold wider copies of the weights?"""
    return setup.num_masters > 0.9 * setup.foreign_tensors


def is_downstream(fresh: Sequence[Weight], setup: Setup, steps: Steps) -> bool:
    """Does one of them come after a weight that is trained?"""
    orders = {ran.module: ran.order for ran in steps[0].ran}
    trained = [orders[w.module] for w in setup.weights if w.is_held and w.module in orders]
    last = max((orders.get(weight.module, 0) for weight in fresh), default=0)
    return bool(trained) and last > min(trained)


def unregistered(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Layers in plain lists: the optimizer, state_dict and .to() do not find them."""
    for outsider in setup.outsiders if steps else ():
        if not outsider.has_gradient and not outsider.ran:
            continue
        where, size = outsider.where, counted(outsider.size)
        numbers = {"weights": outsider.size, "where": where}
        if not outsider.is_held:
            text = f"'{where}' ({size}) is used and not registered, so no optimizer holds it"
            yield made("TW307", 1, 0.93, text, numbers=numbers, remedy=REGISTER)
        elif not outsider.is_in_function:
            text = (
                f"'{where}' ({size}) is trained and not registered: state_dict() and .to() leave it"
            )
            yield made("TW307", 1, 0.6, text, numbers=numbers, severity="warn", remedy=REGISTER)
