"""Does the loss reach the weights, and does the optimizer's step? Gradients and updates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from thalweg.facts import SIGNED, Moved, Ran, Setup, StepFacts, Weight
from thalweg.health.made import made, named, short
from thalweg.types import Finding

LOST = 0.9
"""The share of updates that may be lost to rounding before it is said."""

TINY_RATE = 1e-6
"""A rate below which it is asked whether steps are lost in 32 bits too."""

MANY = 0.75
"""The share of dead or saturated units that explains gradients of 0."""

NARROW = ("bfloat16", "float16")

NEARLY_ALL = 0.9
"""Of a step: averages that are loaded back undo 99% of it and more."""

OTHER, FEWEST_DRAWN = 0.7, 64
"""1 less the cosine, from which a weight is another one, and the values by which that is known: two
draws have 1, less or more 3 / sqrt(values).
"""

MOST = 1_000

USUAL_SHARE, SAME = 0.02, 0.1
"""Rates up to which a share as small is no warm-up's; and how near to it two steps must be."""

TINY_SHARE, TINY = 1e-7, 1e-3
"""Of a gradient's norm, what a step gets; and that itself: a large gradient that was scaled by 2 **
16 is clipped to a millionth, but to a length of 0.1 and more.
"""

ORDER = "the order of a step is: optimizer.zero_grad(), loss.backward(), optimizer.step()"


def cut(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Weights whose module ran, and which the loss does not reach."""
    if not steps:
        return
    step = steps[0]
    arrived = {moved.name for moved in step.moved if moved.arrived is not None}
    ran = {each.module: each for each in step.ran if each.rows}
    silent = [w for w in setup.weights if w.is_trainable and w.is_held and w.name not in arrived]
    silent = [weight for weight in silent if weight.module in ran]
    if not arrived or not silent:
        return
    blocked = [weight for weight in silent if not ran[weight.module].with_grad]
    open_ones = [weight for weight in silent if ran[weight.module].with_grad]
    training = [weight for weight in blocked if ran[weight.module].mode]
    if training:
        text = f"{named(training)} ran without a graph (torch.no_grad) and got no gradient"
        yield made("TW309", 1, 0.75, text, numbers=_numbers(training))
    if open_ones:
        yield _cut_or_unused(open_ones, setup, step, arrived)


def _cut_or_unused(
    silent: Sequence[Weight], setup: Setup, step: StepFacts, arrived: set[str]
) -> Finding:
    consumer = _consumer(silent, setup, step, arrived)
    if consumer is None:
        text = f"{named(silent)} ran and got no gradient: the loss does not use what they give"
        return made("TW309", 1, 0.4, text, numbers=_numbers(silent), severity="warn")
    sure = 0.9 if consumer.cut_from == "?" else 0.95
    text = f"{named(silent)} got no gradient: '{consumer.module}' took their output without a graph"
    return made("TW309", 1, sure, text, numbers=_numbers(silent))


def _consumer(
    silent: Sequence[Weight], setup: Setup, step: StepFacts, arrived: set[str]
) -> Ran | None:
    """A module that got a gradient, and whose input came without a graph from the silent ones."""
    alive = {weight.module for weight in setup.weights if weight.name in arrived}
    modules = {weight.module for weight in silent}
    first = min(ran.order for ran in step.ran if ran.module in modules)
    for ran in step.ran:
        is_after = ran.order > first and ran.module in alive
        if is_after and (ran.cut_from == "?" or ran.cut_from in modules):
            return ran
    return None


def _numbers(weights: Sequence[Weight]) -> dict[str, object]:
    return {
        "modules": list(dict.fromkeys(weight.module for weight in weights)),
        "weights": sum(weight.size for weight in weights),
    }


def flat(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Gradients that are exactly 0: what lies on their way has no slope."""
    loss = steps[0].loss if steps else None
    if loss is None or not math.isfinite(loss.value):
        return
    is_from_zero = any(weight.initial == "zero" for weight in setup.weights)
    shown = steps[:2] if is_from_zero or not loss.flat else steps[:1]
    still = set.intersection(*({m.name for m in s.moved if m.arrived == 0} for s in shown))
    zero = [w for w in setup.weights if w.name in still and w.inputs and w.is_held]
    if loss.flat and zero and len(shown) == 1 + is_from_zero:
        text = (
            f"{named(zero)} got a gradient of exactly 0: {loss.flat}() lies between them and the "
            "loss, and is flat"
        )
        remedy = (
            f"leave {loss.flat}() out of training, or let the gradient pass it by: "
            f"x + (x.{loss.flat}() - x).detach()"
        )
        yield made("TW309", 1, 0.93, text, numbers=_numbers(zero), remedy=remedy)
    elif not loss.flat and len(shown) == 2 and loss.value != 0:
        yield from _all_zero([w for w in setup.weights if w.name in still and w.is_held], shown)


def _all_zero(zero: Sequence[Weight], steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """No weight of the model got any, twice, and no unit was seen to be at its bound."""
    arrived = [moved.arrived for step in steps for moved in step.moved]
    is_told = any(max(ran.dead, ran.saturated) >= MANY for ran in steps[0].ran)
    if not zero or any(arrived) or is_told:
        return
    before = [link.before for link in steps[0].loss.links] if steps[0].loss else []
    if "relu" in before or "clamp" in before:
        unit = "relu" if "relu" in before else "clamp"
        text = f"every gradient was exactly 0: the {unit} behind the last layer gave its bound for "
        text += "every sample of the first two batches"
        remedy = f"leave the {unit} out in training"
        yield made("TW301", 1, 0.85, text, numbers=_numbers(zero), remedy=remedy)
    else:
        text = "every gradient of the first two steps was exactly 0, and the loss was not"
        yield made("TW104", 1, 0.7, text, numbers=_numbers(zero))


def without_slope(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A term of the loss that was made of a gradient has none of its own."""
    loss = steps[0].loss if steps else None
    if loss is not None and loss.is_slope_cut:
        text = "a term of the loss depends on no weight, and the loss does not depend, through the "
        text += "model, on the inputs that ask for a gradient: a slope in it is only a number"
        remedy = (
            "torch.autograd.grad(..., create_graph=True) where a loss is made of what it gives: a "
            "penalty of gradients, or an equation"
        )
        yield made("TW309", 1, 0.85, text, numbers={"loss": loss.value}, remedy=remedy)


def sampled(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A layer that takes a draw from what others give, without a graph, while these others are
    trained by the loss alone.
    """
    step = steps[0] if steps else None
    if step is None or step.loss is None:
        return
    depths, nearest = dict(step.loss.depth_of), {}
    for weight in setup.weights:
        if weight.is_held and weight.name in depths:
            nearest[weight.module] = min(depths[weight.name], nearest.get(weight.module, MOST))
    for ran in step.ran:
        given = [module for module in ran.drawn_from if nearest.get(module) == 1]
        if given and len(given) == len(ran.drawn_from) and ran.module in nearest:
            shown = " and ".join(repr(module) for module in given[:2])
            text = f"'{ran.module}' took values without a graph that have the shape of what {shown}"
            text += " gave: a draw from these, of which they do not learn"
            remedy = "draw with rsample(), or mean + std * torch.randn_like(std): sample() cuts "
            remedy += "the graph"
            numbers = {"module": ran.module, "from": given}
            yield made("TW309", 1, 0.82, text, numbers=numbers, remedy=remedy)
            return


# ------------------------------------------------------------ the order of a step


def zeroed_too_early(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Gradients that came and were gone when the optimizer looked."""
    held = {weight.name for weight in setup.weights if weight.is_held}
    for step in steps[:2]:
        moved = [each for each in step.moved if each.name in held and each.arrived]
        came = [m for m in moved if m.arrived is not None and math.isfinite(m.arrived)]
        if came and not any(m.gradient for m in step.moved if m.name in held):
            text = f"{len(came)} gradients came with loss.backward() and were 0 at optimizer.step()"
            yield made("TW307", step.number, 0.95, text, numbers={"came": len(came)}, remedy=ORDER)
            return


def no_zero_grad(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """The gradient of a step still holds that of the step before."""
    stale = next((step for step in steps if step.stale == 1.0), None)
    if stale is not None:
        number = stale.number
        text = f"at step {number} the gradients still held those of step {number - 1}"
        yield made("TW308", number, 0.95, text, numbers={"share": 1.0})


def zeroed_between(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Two backward passes with gradients zeroed between them: of the first nothing is left."""
    step = steps[0] if steps else None
    if step is None or not step.were_zeroed:
        return
    held = {weight.name: weight for weight in setup.weights if weight.is_held}
    came = [moved for moved in step.moved if moved.name in held and moved.arrived]
    lost = [held[moved.name] for moved in came if not moved.gradient]
    if lost and len(lost) < len(came):
        text = f"gradients of {named(lost)} came with a backward(), were zeroed before the next, "
        text += "and did not come again: optimizer.step() found none"
        remedy = (
            "call zero_grad() once a step, before the first backward(), or add the losses up: "
            "(loss_a + loss_b).backward()"
        )
        numbers = _numbers(lost)
        yield made("TW307", step.number, 0.9, text, numbers=numbers, remedy=remedy)


def used_twice(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Two steps of the optimizer on one gradient."""
    if len(steps) < 2:
        return
    first, second = ({m.name: m for m in step.moved if m.gradient} for step in steps[:2])
    came = [m for m in steps[0].moved if m.arrived]
    is_same = all(m.gradient == first[name].gradient for name, m in second.items() if name in first)
    is_new = any(m.arrived is not None for m in steps[1].moved)
    if came and second and second.keys() == first.keys() and is_same and not is_new:
        text = "step 2 took the gradients of step 1 once more: no backward() came between the two"
        remedy = f"call optimizer.step() once for each backward(); {ORDER}"
        yield made("TW308", 2, 0.9, text, numbers={"weights": len(second)}, remedy=remedy)


def undone(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Weights that were put back to where they stood before the step, or nearly so."""
    if len(steps) < 2:
        return
    changed = {moved.name for moved in steps[0].moved if moved.changed}
    back = {moved.name: moved.gone for moved in steps[1].moved if moved.gone >= NEARLY_ALL}
    if changed and back.keys() == changed:
        share = min(back.values())
        text = f"all {len(back)} weights that step 1 changed stood at step 2 where they had before"
        remedy = (
            "load a state once, before the loop, or after the step that was the best: "
            "load_state_dict() or copy_() in the loop undoes the optimizer's step"
        )
        if share < 1:
            text = f"{share:.2%} of what step 1 had changed was undone before step 2, in all "
            text += f"{len(back)} weights that it had changed"
            remedy = (
                "keep averaged weights in a copy of the model, for evaluations: what is loaded "
                "into the model itself undoes the optimizer's steps"
            )
        yield made("TW307", 2, 0.88, text, numbers={"weights": len(back)}, remedy=remedy)


def drawn_anew(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Weights that have nothing in common with what the last step left."""
    drawn = {w.name: w for w in setup.weights if w.initial == "drawn" and w.is_held}
    moved = [m for m in steps[1].moved if m.name in drawn] if len(steps) > 1 else []
    moved = [m for m in moved if drawn[m.name].size >= FEWEST_DRAWN]
    others = [drawn[m.name] for m in moved if m.strayed > OTHER]
    if others and len(others) == len(moved):
        like = max(1 - m.strayed for m in moved)
        text = f"between steps 1 and 2 {named(others)} became others: their cosine with what step "
        text += f"1 had left is {short(like)} at most"
        remedy = (
            "draw the weights once, before the loop: in the loop it throws away what was learnt"
        )
        numbers = {"weights": sum(w.size for w in others), "cosine": like}
        yield made("TW307", 2, 0.88, text, numbers=numbers, remedy=remedy)


def shrunk(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Gradients of which next to nothing is left at the optimizer's step."""
    step = steps[0] if steps else None
    pairs = (
        [(m.arrived, m.gradient) for m in step.moved if m.arrived and m.gradient] if step else []
    )
    came, left = (math.hypot(*numbers) for numbers in zip(*pairs, strict=True)) if pairs else (0, 0)
    if step is None or left >= TINY or not 0 < left < TINY_SHARE * came < math.inf:
        return
    text = f"the gradient came with a norm of {short(came)} and had {short(left)} at "
    text += "optimizer.step(): it was clipped while a scaler still multiplied it, or to nothing"
    remedy = (
        "with a GradScaler, call scaler.unscale_(optimizer) before clip_grad_norm_(); else clip "
        "to 1, or not at all"
    )
    is_signed = any(kind in setup.optimizer for kind in SIGNED)
    sure, severity = (0.7, "warn") if is_signed else (0.9, "act")
    numbers = {"came": came, "left": left}
    yield made("TW102", 1, sure, text, numbers=numbers, severity=severity, remedy=remedy)


def rate_of_a_rate(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A schedule that gives the rate where its share is wanted: what comes out is its square."""
    pairs = [(step.lr, step.peak) for step in steps[:2]]
    if len(pairs) < 2 or not all(0 < peak <= USUAL_SHARE for _, peak in pairs):
        return
    if all(abs(lr - peak**2) < SAME * peak**2 for lr, peak in pairs):
        lr, peak = pairs[0]
        text = f"the rate is {short(lr)}, the base rate of {short(peak)} times itself: a schedule "
        text += "gives a rate where its share of the base rate is wanted"
        remedy = "let LambdaLR's function give 1 for the whole rate, or set the base rate to 1"
        numbers = {"lr": lr, "base": peak}
        yield made("TW102", 1, 0.75, text, numbers=numbers, severity="warn", remedy=remedy)


# ------------------------------------------------------------ rounding


def lost_updates(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Weights in 16 bits that a step leaves as they were, now and at the schedule's peak."""
    if not steps or steps[0].keeps_master or steps[0].lr == 0:
        return
    narrow = {w.name: w for w in setup.weights if w.dtype in NARROW and w.is_held}
    moved = [m for m in steps[0].moved if m.name in narrow and m.changed is not None]
    size = sum(narrow[m.name].size for m in moved)
    if not size:
        return
    lost = _total(moved, narrow, lambda m: 1 - (m.changed or 0.0)) / size
    later = _total(moved, narrow, lambda m: m.lost_at_peak) / size
    is_warming = steps[0].lr < 0.5 * steps[0].peak
    if lost >= LOST and (not is_warming or later >= LOST):
        kind = narrow[moved[0].name].dtype
        text = f"{lost:.0%} of the weights in {kind} were left as they were by the first step"
        yield made("TW401", 1, 0.9, text, numbers={"lost": lost, "dtype": kind, "lr": steps[0].lr})


def too_small(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A rate so low that weights in 32 bits cannot take the steps, nor at the schedule's peak."""
    if len(steps) < 2 or not 0 < steps[0].peak < TINY_RATE:
        return
    wide = {w.name: w for w in setup.weights if w.dtype not in NARROW and w.is_held}
    shares = []
    for step in steps[:2]:
        moved = [m for m in step.moved if m.name in wide and m.changed is not None]
        size = sum(wide[m.name].size for m in moved)
        lost = _total(moved, wide, lambda m: min(1 - (m.changed or 0.0), m.lost_at_peak))
        shares.append(lost / size if size else 0.0)
    if min(shares) >= LOST:
        kind = next(iter(wide.values())).dtype
        text = f"at a rate of {short(steps[0].peak)} the first two steps left {min(shares):.0%} of "
        text += f"the weights as they were: {kind} cannot hold changes that small"
        numbers = {"lr": steps[0].peak, "lost": min(shares)}
        yield made("TW102", 1, 0.9, text, numbers=numbers)


def _total(moved: Sequence[Moved], weights: dict[str, Weight], value: Any) -> float:
    return sum(weights[m.name].size * value(m) for m in moved)
