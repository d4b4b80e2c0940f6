"""What flows through the model: inputs, modes, units, and how far a gradient comes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from thalweg.facts import Columns, Ran, Setup, StepFacts
from thalweg.health.codes import NON_FINITE_AT_ONCE
from thalweg.health.made import made, short
from thalweg.types import Finding

LARGE_INPUT, VERY_LARGE_INPUT, TINY_INPUT = 20.0, 50.0, 0.05
"""Root mean square of a column; of the last, the length of a sample."""

APART, FAR_APART = 100.0, 1000.0
"""Largest column by smallest."""

OFF_CENTRE, FAR_OFF_CENTRE = 30.0, 100.0

DEAD, MANY_DEAD = 0.95, 0.9
SATURATED, MANY_SATURATED = 0.9, 0.75
FEWEST_UNITS = 8

DEEP = 12
"""Layers in a row from which a net without normalisation is worth a word."""

VANISHED = 1e-5
"""Gradients by weights, of the first layers by the last ones."""

STRONG, GROWN_STRONG = 4.0, 20.0
"""Of variance x inputs, where most layers have it; and how much outputs may then grow."""

COLLAPSED = 1e-5
GROWN = 1e4
"""How far samples differ, and how much outputs grow over the layers, at the outermost."""

EMPTY = Setup((), 0, 0, 0, False, (), (), "")


OF_MODEL = (
    "find the first module whose output is not finite: weights that are not, a row of attention "
    "that is masked as a whole, a division by a norm of 0"
)


RESCALE = (
    "look how the inputs are scaled: divided by 255 twice, or by the mean and deviation of bytes "
    "when they were between 0 and 1 already"
)


def inputs(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """The columns that the first layer sees."""
    columns = steps[0].columns if steps else None
    if columns is None:
        return
    if columns.num_nonfinite:
        text = f"{columns.num_nonfinite} values that go into '{columns.module}' are not finite"
        numbers = {"nonfinite": columns.num_nonfinite}
        yield made("TW001", 1, 0.97, text, numbers=numbers, remedy=NON_FINITE_AT_ONCE)
    elif columns.largest > 0:
        yield from _sizes(columns)


def broken_loss(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A loss that is no number at the very start: no rate and no clipping has made it."""
    losses = [(step, step.loss) for step in steps if step.loss is not None]
    broken = [(step, loss) for step, loss in losses if not math.isfinite(loss.value)]
    if not broken or broken[0][0].outputs_finite:
        return  # of finite outputs the labels are looked at
    step, loss = broken[0]
    when = ", before any update" if step.number == 1 else ""
    text = (
        f"the loss of step {step.number} is {loss.value}{when}, and what the model gives is not "
        "finite: it comes from its weights, its inputs or a layer"
    )
    numbers = {"loss": str(loss.value), "outputs_finite": step.outputs_finite}
    yield made("TW001", step.number, 0.93, text, numbers=numbers, remedy=OF_MODEL)


def _sizes(columns: Columns) -> Iterator[Finding]:
    apart = columns.largest / columns.smallest if columns.smallest > 0 else 1.0
    numbers = {"largest": columns.largest, "smallest": columns.smallest, "module": columns.module}
    where = f"what goes into '{columns.module}'"
    if columns.largest > VERY_LARGE_INPUT:
        sure = 0.95 if columns.largest > 200 or apart > FAR_APART else 0.85
        yield made("TW208", 1, sure, _words(columns, where), numbers=numbers)
    elif columns.row_norm < TINY_INPUT and columns.largest < 0.1 * TINY_INPUT:
        text = f"{where} is tiny: its largest column is of size {short(columns.largest)}"
        yield made("TW208", 1, 0.75, text, numbers=numbers)
    elif columns.largest > LARGE_INPUT and apart > APART:
        yield made("TW208", 1, 0.6, _words(columns, where), numbers=numbers, severity="warn")
    elif columns.least_off_centre > OFF_CENTRE:
        text = f"{where} hardly differs from sample to sample: each column lies at least "
        text += f"{short(columns.least_off_centre)} standard deviations off 0"
        is_far = columns.least_off_centre > FAR_OFF_CENTRE
        sure, severity = (0.85, "act") if is_far else (0.65, "warn")
        yield made("TW208", 1, sure, text, numbers=numbers, severity=severity, remedy=RESCALE)
    elif columns.off_centre > OFF_CENTRE and columns.largest > 5:
        text = (
            f"column {columns.off_centre_at} of {where} lies {short(columns.off_centre)} standard "
            "deviations off 0"
        )
        yield made("TW208", 1, 0.6, text, numbers=numbers, severity="warn")


def _words(columns: Columns, where: str) -> str:
    if columns.count == 1 or columns.largest < 3 * columns.smallest:
        return f"{where} is of size {short(columns.largest)}; weights are drawn for about 1"
    return (
        f"{where}: column {columns.largest_at} is of size {short(columns.largest)}, column "
        f"{columns.smallest_at} of {short(columns.smallest)}"
    )


def wrong_mode(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """The whole model in evaluation mode while it is trained."""
    wrong = next((step for step in steps if not step.is_training), None)
    if wrong is not None and setup.sensitive:
        yield trained_in_evaluation(setup, wrong.number)


def unmeasured_norms(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Batch norms in evaluation mode, in a model that trains, with statistics that nothing has
    measured: they pass on what they get.
    """
    for step in steps[:1]:
        still = [ran for ran in step.ran if ran.module in setup.unmeasured and not ran.mode]
        still = [ran.module for ran in still if ran.with_grad]
        if still and step.is_training:
            shown = ", ".join(repr(name or "the model") for name in still[:3])
            text = (
                f"{shown} ran in evaluation mode, and the mean 0 and variance 1 that it used are "
            )
            text += "those it was made with: it normalises nothing"
            remedy = (
                "call model.train() after the model is put together; a part that is to stay in "
                "evaluation mode must hold statistics learnt before"
            )
            numbers = {"modules": len(still)}
            yield made("TW306", step.number, 0.88, text, numbers=numbers, remedy=remedy)


def trained_in_evaluation(setup: Setup, number: int) -> Finding:
    """A step was taken in evaluation mode."""
    text = f"step {number} trained in evaluation mode: {_shown(setup)} did not act as in training"
    return made("TW306", number, 0.88, text, numbers={"modules": len(setup.sensitive)})


def evaluated_in_training(setup: Setup, number: int, num_passes: int, *, is_told: bool) -> Finding:
    """Passes without gradients were made in training mode. is_told: they were an evaluation"""
    passes = "a pass" if num_passes == 1 else f"{num_passes} passes"
    text = f"{passes} without gradients after step {number} ran in training mode: {_shown(setup)}"
    text += " acted as in training"
    numbers = {"passes": num_passes, "modules": len(setup.sensitive)}
    severity, sure = ("act", 0.9) if is_told else ("warn", 0.8)
    return made("TW306", number, sure, text, numbers=numbers, severity=severity)


def dropped_in_evaluation(number: int, name: str, share: float) -> Finding:
    """A function of dropout was at work in a pass of a model in evaluation mode."""
    keeps = name == "scaled_dot_product_attention"
    text = f"{name} dropped {share:.0%} in an evaluation after step {number}, in which the model "
    text += "was in evaluation mode: a function does not hear of modes"
    given = "dropout_p=p if self.training else 0.0" if keeps else "training=self.training"
    remedy = f"give it the mode: F.{name}(..., {given})"
    return made("TW306", number, 0.93, text, numbers={"share": share}, remedy=remedy)


def statistics_are_fresh(number: int, names: Sequence[str]) -> Finding:
    """Batch norm has trained, and its running statistics are those that it was made with."""
    some = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if names[3:] else "")
    text = f"after {number} steps the running means of {some} are 0 and the variances 1, as in a "
    text += "fresh model: an evaluation knows nothing of what was trained on"
    remedy = (
        "keep batch norm's buffers: load the whole state_dict(), copy buffers beside parameters "
        "into an average, leave momentum above 0"
    )
    return made("TW306", number, 0.9, text, numbers={"layers": len(names)}, remedy=remedy)


def _shown(setup: Setup) -> str:
    shown = ", ".join(repr(name or "the model") for name in setup.sensitive[:3])
    more = len(setup.sensitive) - 3
    return f"{shown} and {more} more" if more > 0 else shown


# ------------------------------------------------------------ units


def dead_units(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Layers that are fed zeros by nearly all units, whatever the sample."""
    for step in steps[:1]:
        bad = [ran for ran in step.ran if ran.dead >= DEAD and ran.width >= FEWEST_UNITS]
        if bad:
            worst = max(bad, key=lambda ran: ran.dead)
            text = f"{worst.dead:.0%} of the {worst.width} units before '{worst.module}' were 0 "
            text += f"for all {worst.rows} samples and places"
            yield made("TW301", step.number, 0.93, text, numbers=_share(worst, worst.dead))


def saturated_units(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Layers that are fed by units at their bounds."""
    for step in steps[:1]:
        bad = [ran for ran in step.ran if ran.saturated >= MANY_SATURATED]
        if bad:
            worst = max(bad, key=lambda ran: ran.saturated)
            text = f"{worst.saturated:.0%} of what the {worst.unit} before '{worst.module}' gave "
            text += "lay within 1% of its bounds"
            is_sure = worst.saturated >= SATURATED
            yield made(
                "TW302",
                step.number,
                0.88 if is_sure else 0.6,
                text,
                numbers=_share(worst, worst.saturated),
                severity="act" if is_sure else "warn",
            )


def _share(ran: Ran, share: float) -> dict[str, object]:
    return {"module": ran.module, "share": share, "units": ran.width}


def units_later(before: StepFacts, now: StepFacts) -> Iterator[Finding]:
    """Of two probes in a row: layers whose units were dead, or saturated, at both."""
    earlier = {ran.module: ran for ran in before.ran}
    both = [
        replace(ran, dead=min(ran.dead, old.dead), saturated=min(ran.saturated, old.saturated))
        for ran in now.ran
        if (old := earlier.get(ran.module)) is not None
    ]
    step = replace(now, ran=tuple(both))
    for check in (dead_units, saturated_units):
        yield from check(EMPTY, [step])


# ------------------------------------------------------------ depth


def no_normalisation(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Many layers in a row, nothing between them that keeps their size."""
    loss = steps[0].loss if steps else None
    if loss is not None and loss.depth >= DEEP and not loss.is_normalised:
        text = f"{loss.depth} layers in a row without normalisation or a way around them"
        yield made("TW304", 1, 0.78, text, numbers={"depth": loss.depth})


def vanishing(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Gradients that fade, or grow, from the last layers to the first."""
    rows = _by_depth(setup, steps[0]) if steps else []
    if len(rows) < 5:
        return
    quarter = max(1, len(rows) // 4)
    near = median(value for _, value in rows[:quarter])
    far = median(value for _, value in rows[-quarter:])
    ratio = far / near
    fell = sum(b[1] < a[1] for a, b in pairwise(rows)) / (len(rows) - 1)
    numbers = {"ratio": ratio, "depth": len(rows)}
    if ratio < VANISHED and fell >= 0.75:
        text = f"by their weights, the first layers' gradients are {short(ratio)} of the last ones'"
        yield made("TW005", 1, 0.93, text, numbers=numbers)
    elif ratio > 1 / VANISHED and fell <= 0.25:
        text = f"by their weights, the first layers' gradients are {short(ratio)} x the last ones'"
        yield made("TW004", 1, 0.85, text, numbers=numbers)


def _by_depth(setup: Setup, step: StepFacts) -> list[tuple[int, float]]:
    """Gradient by weight at each depth, the last layer first; zeros are left out."""
    depths = dict(step.loss.depth_of) if step.loss is not None else {}
    matrices = {weight.name for weight in setup.weights if weight.inputs}
    found: dict[int, list[float]] = {}
    for moved in step.moved:
        is_usable = moved.name in matrices and moved.name in depths and moved.norm > 0
        if is_usable and moved.gradient and math.isfinite(moved.gradient):
            found.setdefault(depths[moved.name], []).append(moved.gradient / moved.norm)
    return [(depth, median(values)) for depth, values in sorted(found.items())]


def collapsed(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """The last layer gives every sample the same, though it does not begin with zeros."""
    step = steps[0] if steps else None
    if step is None or step.outputs_differ is None or not step.ran or step.loss is None:
        return
    last = step.ran[-1]
    zero = {weight.module for weight in setup.weights if weight.initial == "zero"}
    fresh = any(weight.initial == "drawn" for weight in setup.weights)
    is_fed = last.rows >= FEWEST_UNITS and last.rms > 0 and last.module not in zero
    is_known = any(ran.dead >= MANY_DEAD for ran in step.ran)
    if step.outputs_differ < COLLAPSED and is_fed and fresh and not is_known and not _is_one(step):
        text = f"samples differ by {short(step.outputs_differ)} of the output's size: the signal "
        text += f"fades over {len(step.ran)} layers"
        code = "TW303" if zero else "TW005"
        text += f", of which {len(zero)} begin with zeros" if zero else ""
        yield made(code, step.number, 0.75, text, numbers={"differ": step.outputs_differ})


def silenced(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A normalisation that gives every sample the same, and so does the model, or it is over a
    single value.
    """
    step = steps[0] if steps else None
    ran = [each for each in step.ran[:-1] if each.rows >= FEWEST_UNITS] if step is not None else []
    where = next((each for each in ran if each.spread == 0), None)
    if step is None or where is None or "Norm" not in where.kind:
        return
    is_single = where.kind == "LayerNorm" and where.width == 1
    if is_single or (step.outputs_differ == 0 and not _is_one(step)):
        text = f"'{where.module}' ({where.kind}) gives every sample the same"
        text += (
            ": a single value less its own mean is 0" if is_single else ", and so does the model"
        )
        remedy = (
            "let the scales of a normalisation begin with 1 (an initialisation of all vectors to 0 "
            "takes them too), and normalise over more than one value"
        )
        yield made("TW303", 1, 0.9, text, numbers={"module": where.module}, remedy=remedy)


def grown(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Outputs that grow, or fade, from layer to layer as the weights were drawn."""
    drawn = {weight.module for weight in setup.weights if weight.initial == "drawn"}
    ran = [each for each in steps[0].ran if each.module in drawn and each.rms > 0] if steps else []
    gains = [weight.gain for weight in setup.weights if weight.initial == "drawn"]
    loss = steps[0].loss if steps else None
    is_steady = len(gains) > 3 and median(gains) > STRONG and loss and not loss.is_normalised
    if len(ran) > 1 and ran[-1].rms > (GROWN_STRONG if is_steady else GROWN) * ran[0].rms:
        first, last = short(ran[0].rms), short(ran[-1].rms)
        text = f"outputs grow from {first} ('{ran[0].module}') to {last} ('{ran[-1].module}') "
        text += f"over {len(ran)} layers"
        yield made("TW303", 1, 0.8, text, numbers={"first": ran[0].rms, "last": ran[-1].rms})
    elif len(ran) > 2 and max(ran[-1].rms, ran[-2].rms) * GROWN < ran[0].rms:
        first, last = short(ran[0].rms), short(ran[-1].rms)
        text = f"outputs fade from {first} ('{ran[0].module}') to {last} ('{ran[-1].module}') "
        text += f"over {len(ran)} layers"
        yield made("TW005", 1, 0.8, text, numbers={"first": ran[0].rms, "last": ran[-1].rms})


def _is_one(step: StepFacts) -> bool:
    """Did all samples go in alike, so that alike is right?"""
    return step.columns is None or step.columns.largest == 0
