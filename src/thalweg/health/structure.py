"""Is the model put together rightly? Facts about its first steps in, findings out.

Each check is a function of the setup and of the steps seen so far, in the table at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from thalweg.facts import Setup, StepFacts, Weight
from thalweg.health.made import counted, made, named, short
from thalweg.health.pairing import masked, pairing
from thalweg.health.signals import (
    collapsed,
    dead_units,
    grown,
    inputs,
    no_normalisation,
    saturated_units,
    vanishing,
    wrong_mode,
)
from thalweg.health.updates import cut, lost_updates, no_zero_grad, zeroed_too_early
from thalweg.types import Finding

Steps = Sequence[StepFacts]
CAUSES = ("TW301", "TW302", "TW303", "TW305")
"""What makes a signal vanish, so that it need not be said as well."""

Check = Callable[[Setup, Steps], Iterator[Finding]]

LARGE_GAIN, VERY_LARGE_GAIN, SMALL_GAIN = 30.0, 100.0, 1e-4
"""Variance x inputs of a weight; the usual initialisations lie between 0.3 and 2."""

REBUILT = (
    "build the optimizer after the last change to the model: optimizer(model.parameters()); a "
    "model that is replaced, copied or given a new head has new parameters"
)
REGISTER = (
    "keep the layers in nn.ModuleList, nn.ModuleDict or nn.ParameterList instead of a plain list "
    "or dictionary, then build the optimizer"
)
UNFREEZE = "set requires_grad = True for what is to be trained, and build the optimizer after it"


def structural(setup: Setup, steps: Steps = ()) -> list[Finding]:
    """What is wrong with a model's structure, by what its first steps have shown so far.

    steps: none before the first; the setup then is not yet known to name other optimizers' weights

    >>> structural(Setup((), 0, 0, 0, False, (), (), ""))
    []
    """
    found = [finding for check in CHECKS for finding in check(setup, steps)]
    is_explained = any(f.code in CAUSES and f.severity == "act" for f in found)
    return [f for f in found if f.code != "TW005" or not is_explained]


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
    if head is not None and not head.is_trainable and head.initial == "drawn" and below:
        text = (
            f"the last layer {named([head])} is frozen as it was drawn, and those before it train"
        )
        yield made("TW307", 1, 0.7, text, numbers={"frozen": head.size}, remedy=UNFREEZE)


def last_run(matrices: Sequence[Weight], steps: Steps) -> Weight | None:
    """The weight of the layer that ran last."""
    orders = {ran.module: ran.order for ran in steps[0].ran} if steps else {}
    ran = [weight for weight in matrices if weight.module in orders]
    return max(ran, key=lambda weight: orders[weight.module], default=None)


def not_held(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Weights that get gradients and that no optimizer moves."""
    if not steps or is_mastered(setup):
        return
    arrived = {moved.name for moved in steps[0].moved if moved.arrived}
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
    elif not any(weight.inputs or weight.kind == "Embedding" for weight in missing):
        yield made("TW307", 1, 0.5, text, numbers=numbers, severity="warn")


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
        else:
            text = (
                f"'{where}' ({size}) is trained and not registered: state_dict() and .to() leave it"
            )
            yield made("TW307", 1, 0.6, text, numbers=numbers, severity="warn", remedy=REGISTER)


# ------------------------------------------------------------ how the weights began


def all_alike(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Units that begin alike stay alike; zeros in a row pass no gradient."""
    matrices = [w for w in setup.weights if is_matrix(w)]
    alike = [weight for weight in matrices if weight.initial in ("zero", "constant")]
    zero = [weight for weight in alike if weight.initial == "zero"]
    hidden = [w for w in alike if w is not matrices[-1] and w.initial == "constant"]
    if len(matrices) > 1 and len(zero) == len(matrices):
        text = f"every layer begins with zeros: {named(zero)}"
        yield made("TW303", 0, 0.97, text, numbers={"zero": len(zero)})
    elif len(matrices) > 1 and hidden:
        sure = 0.95 if len(alike) > 1 else 0.8
        text = f"all weights of {named(hidden)} begin with one value, so its units stay alike"
        yield made("TW303", 0, sure, text, numbers={"layers": len(hidden)})
    elif zero and len(steps) > 1:
        yield from stuck_at_zero(zero, steps)


def is_matrix(weight: Weight) -> bool:
    """Does it join several inputs to several units?"""
    return weight.is_trainable and weight.inputs > 1 and weight.units > 1


def stuck_at_zero(zero: Sequence[Weight], steps: Steps) -> Iterator[Finding]:
    """Zeros that get no gradient and do not move while other weights do."""
    still = set.intersection(*({m.name for m in s.moved if m.gradient == 0} for s in steps[:2]))
    is_moving = any(moved.changed for moved in steps[0].moved)
    stuck = [weight for weight in zero if weight.name in still]
    if stuck and is_moving:
        text = f"{named(stuck)} begin with zeros and get no gradient"
        yield made("TW303", steps[1].number, 0.85, text, numbers={"layers": len(stuck)})


def scale(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Weights drawn far too large or too small."""
    drawn = [weight for weight in setup.weights if is_matrix(weight) and weight.initial == "drawn"]
    large = [weight for weight in drawn if weight.gain > LARGE_GAIN]
    if large:
        worst = max(large, key=lambda weight: weight.gain)
        is_sure = worst.gain > VERY_LARGE_GAIN
        text = (
            f"the variance of {named([worst])} is {short(worst.gain)} / inputs: usual is 0.3 to 2"
        )
        numbers = {"gain": worst.gain, "layers": len(large)}
        severity = "act" if is_sure else "warn"
        sure = 0.85 if is_sure else 0.55
        yield made("TW303", 0, sure, text, numbers=numbers, severity=severity)
    hidden = [weight for weight in drawn if weight.gain < SMALL_GAIN][:-1]
    loss = steps[0].loss if steps else None
    is_bare = loss is not None and bool(loss.reached) and not loss.is_normalised
    if is_bare and len(hidden) > 0 and len(hidden) >= len(drawn) // 2:
        least = min(hidden, key=lambda weight: weight.gain)
        text = (
            f"the variance of {named([least])} is {short(least.gain)} / inputs: usual is 0.3 to 2"
        )
        yield made("TW303", 1, 0.8, text, numbers={"gain": least.gain, "layers": len(hidden)})


CHECKS: tuple[Check, ...] = (
    frozen,
    not_held,
    unregistered,
    all_alike,
    scale,
    inputs,
    pairing,
    masked,
    wrong_mode,
    cut,
    zeroed_too_early,
    no_zero_grad,
    lost_updates,
    dead_units,
    saturated_units,
    vanishing,
    grown,
    no_normalisation,
    collapsed,
)
"""Every check, in the order in which their findings are told."""
