"""Is the model put together rightly? Facts about its first steps in, findings out.

Each check is a function of the setup and of the steps seen so far, in the table at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from thalweg.facts import Setup, StepFacts, Weight
from thalweg.health.asked import (
    crossed,
    dropped_scores,
    far_targets,
    given_away,
    lowered_overlap,
    many_classes,
    mixed_samples,
    one_class,
    pushed_away,
    same_batch,
    told_by_a_column,
    unheeded,
    unheld,
)
from thalweg.health.capacity import dropout, empty_inputs, few_directions, narrow
from thalweg.health.holders import (
    LEAST,
    drawn_and_frozen,
    frozen,
    last_run,
    left_behind,
    made_anew,
    no_gradient,
    not_held,
    one_of_many,
    resting,
    table_passed_by,
    unregistered,
)
from thalweg.health.made import made, named, short
from thalweg.health.pairing import masked, maximised, pairing
from thalweg.health.signals import (
    LARGE_INPUT,
    broken_loss,
    collapsed,
    dead_units,
    grown,
    inputs,
    no_normalisation,
    saturated_units,
    silenced,
    unmeasured_norms,
    vanishing,
    wrong_mode,
)
from thalweg.health.updates import (
    cut,
    drawn_anew,
    flat,
    lost_updates,
    no_zero_grad,
    rate_of_a_rate,
    sampled,
    shrunk,
    too_small,
    undone,
    used_twice,
    without_slope,
    zeroed_between,
    zeroed_too_early,
)
from thalweg.types import Finding

Steps = Sequence[StepFacts]
CAUSES = ("TW301", "TW302", "TW303", "TW305")
"""What makes a signal vanish, so that it need not be said as well."""

DOUBTFUL = 0.35
"""Findings that are no surer are told only where there is no other."""

Check = Callable[[Setup, Steps], Iterator[Finding]]

LARGE_GAIN, VERY_LARGE_GAIN, SMALL_GAIN = 30.0, 100.0, 1e-4
ALL_LARGE, ALL_SMALL = 6.0, 1e-3
"""Variance x inputs of a weight, and of every one; usual initialisations lie between 0.3 and 2."""

FEWEST_INPUTS, ONE_SIDED = 8, 0.7
"""Inputs of a layer from which weights of one sign matter, and the mean by the root mean square of
such ones: drawn evenly from 0 on they have 0.87.
"""

LONG_MOMENTUM = 0.99
"""What the longest of recipes that train well take."""

SURE = 2.5
"""A first loss is at most this much, in nats, beyond as many times the loss of even guesses."""


def structural(setup: Setup, steps: Steps = ()) -> list[Finding]:
    """What is wrong with a model's structure, by what its first steps have shown so far.

    steps: none before the first; the setup then is not yet known to name other optimizers' weights

    >>> structural(Setup((), 0, 0, 0, False, (), (), ""))
    []
    """
    found = [finding for check in CHECKS for finding in check(setup, steps)]
    is_explained = any(f.code in CAUSES and f.severity == "act" for f in found)
    found = [f for f in found if f.code != "TW005" or not is_explained]
    found = [f for f in found if "outputs_finite" not in f.evidence or not is_explained]
    return found if len(found) == 1 else [f for f in found if f.confidence > DOUBTFUL]


# ------------------------------------------------------------ how the weights began


def all_alike(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Units that begin alike stay alike; zeros in a row pass no gradient."""
    layers = [weight for weight in setup.weights if weight.is_trainable and weight.inputs > 1]
    matrices = [weight for weight in layers if weight.units > 1]
    alike = [weight for weight in matrices if weight.initial in ("zero", "constant")]
    zero = [weight for weight in alike if weight.initial == "zero"]
    bare = [w for w in setup.weights if w.is_trainable and w.initial == "zero" and w not in zero]
    hidden = [w for w in alike if w is not layers[-1] and w.initial == "constant"]
    if len(matrices) > 1 and len(zero) == len(matrices):
        text = f"every layer begins with zeros: {named(zero)}"
        yield made("TW303", 0, 0.97, text, numbers={"zero": len(zero)})
    elif len(layers) > 1 and hidden:
        sure = 0.95 if len(alike) > 1 else 0.8
        text = f"all weights of {named(hidden)} begin with one value, so its units stay alike"
        yield made("TW303", 0, sure, text, numbers={"layers": len(hidden)})
    elif (zero or bare) and len(steps) > 1:
        yield from stuck_at_zero([*zero, *bare], steps)


def is_matrix(weight: Weight) -> bool:
    """Does it join several inputs to several units?"""
    return weight.is_trainable and weight.inputs > 1 and weight.units > 1


def is_turned(weight: Weight) -> bool:
    """Does a recurrent layer multiply its state by it, again and again?"""
    return "weight_hh" in weight.name and weight.inputs == 0


def stuck_at_zero(zero: Sequence[Weight], steps: Steps) -> Iterator[Finding]:
    """Zeros that get no gradient and do not move while other weights do."""
    still = set.intersection(*({m.name for m in s.moved if m.gradient == 0} for s in steps[:2]))
    is_moving = any(moved.changed for moved in steps[0].moved)
    stuck = [weight for weight in zero if weight.name in still]
    of_product = len(stuck) > 1 and all(moved.gradient == 0 for moved in steps[0].moved)
    if stuck and (is_moving or of_product):
        text = f"{named(stuck)} begin with zeros and get no gradient"
        yield made("TW303", steps[1].number, 0.85, text, numbers={"layers": len(stuck)})


def scale(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Weights drawn far too large or too small."""
    drawn = [weight for weight in setup.weights if is_matrix(weight) and weight.initial == "drawn"]
    turns = [w for w in setup.weights if w.is_trainable and is_turned(w) and w.initial == "drawn"]
    large = [weight for weight in (*drawn, *turns) if weight.gain > LARGE_GAIN]
    if len(drawn) > 1 and all(weight.gain > ALL_LARGE for weight in drawn):
        large = drawn
    if large:
        worst = max(large, key=lambda weight: weight.gain)
        is_sure = worst.gain > VERY_LARGE_GAIN or is_turned(worst)
        text = (
            f"the variance of {named([worst])} is {short(worst.gain)} / inputs: usual is 0.3 to 2"
        )
        numbers = {"gain": worst.gain, "layers": len(large)}
        severity = "act" if is_sure else "warn"
        sure = 0.93 if is_sure else 0.75
        yield made("TW303", 0, sure, text, numbers=numbers, severity=severity)
    is_every = len(drawn) > 1 and all(weight.gain < ALL_SMALL for weight in drawn)
    hidden = [w for w in drawn if w.gain < (ALL_SMALL if is_every else SMALL_GAIN)][:-1]
    loss = steps[0].loss if steps else None
    is_bare = loss is not None and bool(loss.reached) and not loss.is_normalised
    if is_bare and len(hidden) > 0 and len(hidden) >= len(drawn) // 2:
        least = min(hidden, key=lambda weight: weight.gain)
        text = (
            f"the variance of {named([least])} is {short(least.gain)} / inputs: usual is 0.3 to 2"
        )
        sure = 0.75 if is_every else 0.85
        yield made("TW303", 1, sure, text, numbers={"gain": least.gain, "layers": len(hidden)})


def begins_sure(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """A fresh classifier that begins far above the loss of even guesses."""
    step = steps[0] if steps else None
    matrices = [weight for weight in setup.weights if weight.inputs]
    head = last_run(matrices, steps)
    if step is None or step.loss is None:
        return
    links = [link for link in step.loss.links if (link.loss, link.before) == ("nll", "log_softmax")]
    widths = {link.width for link in links}
    if head is not None and head.initial == "drawn":
        widths &= {head.units}
    elif matrices or not are_bare(setup):
        return
    is_large = step.columns is not None and step.columns.largest > LARGE_INPUT
    if step.loss.is_mean and widths and not is_large:
        units = max(widths)
        even, value = math.log(units), step.loss.value
        if value > SURE * even + SURE:
            text = (
                f"the first loss is {short(value)}, and even guesses among {units} classes "
                f"cost {short(even)}: the model begins sure of wrong answers"
            )
            numbers = {"loss": value, "even": even}
            yield made("TW303", 1, 0.8, text, numbers=numbers)


def are_bare(setup: Setup) -> bool:
    """Are the model's weights its own parameters, no layers', and all as they were drawn?"""
    large = [weight for weight in setup.weights if weight.size >= LEAST and weight.gain != 1]
    return bool(large) and all(weight.is_fresh and not weight.inputs for weight in large)


def endless_momentum(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Gradients that go on for hundreds of steps, and carry the weights past where they should."""
    if LONG_MOMENTUM < setup.momentum < 1:
        lasts = 1 / (1 - setup.momentum)
        text = (
            f"momentum is {setup.momentum:g}: a gradient goes on for some {lasts:.0f} steps, where "
            "10 to 20 are usual"
        )
        remedy = (
            "set momentum (Adam: the first of betas) to 0.9; at the same rate, steps of plain "
            "momentum are then shorter by as much"
        )
        numbers = {"momentum": setup.momentum}
        yield made("TW101", 0, 0.75, text, numbers=numbers, severity="warn", remedy=remedy)


def all_positive(setup: Setup, steps: Steps) -> Iterator[Finding]:
    """Weights that were drawn between 0 and something: every unit sums up all that comes in."""
    drawn = [w for w in setup.weights if is_matrix(w) and w.initial == "drawn"]
    wide = [w for w in drawn if w.inputs >= FEWEST_INPUTS]
    aside = [w for w in wide if abs(w.centre) > ONE_SIDED]
    if aside and 2 * len(aside) >= len(wide):
        sign = "above" if aside[0].centre > 0 else "below"
        text = f"the weights of {named(aside)} lie {sign} 0, where they are drawn around 0"
        remedy = (
            "draw them around 0: torch.randn(...) / inputs ** 0.5, or the layer's own reset, in "
            "place of torch.rand or uniform_(0, ...)"
        )
        numbers = {"centre": aside[0].centre, "layers": len(aside)}
        yield made("TW303", 0, 0.85, text, numbers=numbers, remedy=remedy)


CHECKS: tuple[Check, ...] = (
    frozen,
    drawn_and_frozen,
    left_behind,
    not_held,
    unregistered,
    made_anew,
    one_of_many,
    table_passed_by,
    resting,
    no_gradient,
    empty_inputs,
    all_alike,
    scale,
    all_positive,
    begins_sure,
    inputs,
    pairing,
    maximised,
    lowered_overlap,
    dropped_scores,
    masked,
    one_class,
    many_classes,
    unheld,
    pushed_away,
    unheeded,
    crossed,
    told_by_a_column,
    same_batch,
    far_targets,
    given_away,
    mixed_samples,
    wrong_mode,
    unmeasured_norms,
    cut,
    without_slope,
    sampled,
    flat,
    zeroed_too_early,
    zeroed_between,
    no_zero_grad,
    used_twice,
    undone,
    drawn_anew,
    shrunk,
    rate_of_a_rate,
    lost_updates,
    too_small,
    silenced,
    dead_units,
    saturated_units,
    vanishing,
    grown,
    no_normalisation,
    collapsed,
    few_directions,
    narrow,
    dropout,
    broken_loss,
    endless_momentum,
)
"""Every check, in the order in which their findings are told."""
