"""Is the model asked for what can be learnt? Its labels, its inputs, which way a loss pushes it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from thalweg.facts import Setup, StepFacts
from thalweg.health.made import made, short
from thalweg.types import Finding

FEWEST_LABELS = 16
"""Labels of a batch from which it is odd that all are one class."""

MANY_LABELS, MOST_LABELS, FEWEST_CLASSES = 60, 200, 3
"""Labels of two batches, all of the same class, from which that is odd where there are three
classes or more, and where there are two: other classes are then rarer than 3 in so many.
"""

FEWEST_PAIRS = 4
"""Pairs of a batch that must get no gradient."""

AWAY, BOTH_AWAY = -2.5, -7.0
"""Standard errors of each of two steps, and of both, by which a divergence has the wrong sign."""

FAR = 1_000.0
"""Targets beyond it are in units of their own."""

SCALED = (
    "train on (target - mean) / standard deviation of the training part, and turn what the model "
    "gives back into the unit; the error then is in standard deviations"
)

SHUFFLE = (
    "shuffle the samples; where all labels of the data are this class, look how they are made: a "
    "maximum over the wrong axis, a mask turned round, one folder read as all"
)
SHIFT = (
    "give the model the symbols up to the last but one, and take those from the second on for "
    "targets; a model that has to give back what went in, through a narrow code, is right as it is"
)
CAUSAL = (
    "hide later places: is_causal=True, or a mask with -inf above the diagonal "
    "(nn.Transformer.generate_square_subsequent_mask); a recurrent layer must not be bidirectional"
)
ONE_ITERATOR = (
    "go through the loader: for batch in loader; next(iter(loader)) begins anew at each call, and "
    "gives the first batch"
)
TURN = (
    "turn one of the two before they are flattened: output.transpose(0, 1), or y.T; reshape and "
    "view keep the order of the numbers"
)
ORDER = (
    "say batch_first=True where the first dimension is the samples', or give it x.transpose(0, 1)"
)


def one_class(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """All labels of a batch are one class, and all of the next."""
    labels = [step.labels for step in steps[:2]]
    if len(labels) < 2 or labels[0] is None or labels[1] is None:
        return
    first, second = labels[0], labels[1]
    is_one = first.only >= 0 and second.only >= 0 and first.width == second.width
    if not is_one or min(first.num, second.num) < FEWEST_LABELS or not is_of_layer(steps[0]):
        return
    num, numbers = first.num + second.num, {"labels": first.num + second.num, "classes": 1}
    if first.only != second.only:
        text = f"all {first.num} labels of the first batch are class {first.only}, all "
        text += f"{second.num} of the second class {second.only}: the samples are sorted"
        yield made("TW206", 1, 0.9, text, numbers=numbers)
    elif num >= (MANY_LABELS if first.width >= FEWEST_CLASSES else MOST_LABELS):
        text = f"all {num} labels of the first two batches are class {first.only}, of "
        text += f"{first.width} that the model tells apart: the samples are sorted, the labels are "
        text += f"not what they should be, or the other classes are rarer than 3 in {num}"
        yield made("TW206", 1, 0.7, text, numbers=numbers, severity="warn", remedy=SHUFFLE)


def many_classes(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Several classes of a sample at 1 under one softmax, and of another none or one."""
    step = steps[0] if steps else None
    if step is None or step.marks is None or not is_of_layer(step):
        return
    fewest, most = step.marks
    if most > max(1, fewest):
        text = f"targets of a sample have {fewest} to {most} classes at 1, and cross_entropy takes "
        text += "shares of one: the probabilities of a softmax cannot all be near 1"
        what = "use binary_cross_entropy_with_logits where several classes may be true at once"
        numbers = {"fewest": fewest, "most": most}
        yield made("TW305", 1, 0.88, text, numbers=numbers, pairing=what)


def unheld(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A scale that lowers the loss without end as it rises."""
    loss = steps[0].loss if steps else None
    if loss is not None and loss.is_unheld:
        text = (
            f"the loss ({short(loss.value)}) is an error divided by a scale that the model gives, "
        )
        text += "and nothing else: it falls without end as the scale rises, whatever the error"
        what = "add the scale's logarithm: (error / variance + variance.log()) / 2, or use "
        what += "torch.nn.functional.gaussian_nll_loss"
        yield made("TW305", 1, 0.85, text, numbers={"loss": loss.value}, pairing=what)


def pushed_away(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A divergence of latents with the wrong sign."""
    pulls = [step.pull for step in steps[:2]]
    if len(pulls) == 2 and max(pulls) < AWAY and sum(pulls) < BOTH_AWAY:
        text = "the loss pushes means and variances away from 0 and 1, where a divergence from the "
        text += f"standard normal draws them there ({short(-max(pulls))} standard errors and more)"
        what = "add the divergence: -0.5 * (1 + log_var - mean**2 - log_var.exp()), summed"
        yield made("TW305", 2, 0.85, text, numbers={"errors": -max(pulls)}, pairing=what)


def unheeded(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Labels 0 and 1 for a loss of cosines that takes -1 and 1."""
    num = [step.unheeded for step in steps[:2]]
    if len(num) == 2 and min(num) >= FEWEST_PAIRS:
        text = f"the cosine loss of the first two batches parts no pair, and {sum(num)} pairs that "
        text += "are alike get no gradient: it takes labels -1 and 1, and of 0 no notice"
        what = "give 2 * labels - 1"
        yield made("TW305", 2, 0.88, text, numbers={"pairs": sum(num)}, pairing=what)


def lowered_overlap(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """An overlap of masks for a loss, that is to grow."""
    step = steps[0] if steps else None
    if step is not None and step.is_overlap_lowered and step.loss is not None:
        text = f"the loss is the overlap of output and target itself ({short(step.loss.value)}): "
        text += "the steps make it smaller"
        what = "take 1 - overlap (dice, intersection over union) for the loss"
        yield made("TW305", 1, 0.9, text, numbers={"loss": step.loss.value}, pairing=what)


def crossed(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Labels in another order than the outputs."""
    labels = steps[0].labels if steps else None
    if labels is not None and labels.are_crossed:
        text = f"the {labels.num:,} labels are in another order than the outputs: the labels go "
        text += "line by line, the outputs through all lines at the first place, then at the second"
        yield made("TW203", 1, 0.93, text, numbers={"labels": labels.num}, remedy=TURN)


def told_by_a_column(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A column of the inputs that is the class, by other numbers."""
    columns = {step.telling for step in steps[:2]}
    labels = [step.labels.num for step in steps[:2] if step.labels is not None]
    if len(steps) > 1 and len(labels) > 1 and len(columns) == 1 and min(columns) >= 0:
        text = f"column {min(columns)} of the inputs (from 0) gives the target away: in all "
        text += f"{sum(labels)} samples of the first two batches each class has a value of its own"
        remedy = "leave out what is known only once the target is"
        numbers = {"column": min(columns), "samples": sum(labels)}
        yield made("TW205", 2, 0.85, text, numbers=numbers, remedy=remedy)


def same_batch(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """The batch of the step before, though there are other samples."""
    step = steps[1] if len(steps) > 1 else None
    came = [moved.arrived for moved in step.moved] if step is not None else []
    if step is None or not step.again or not any(came):
        return
    numbers = {"samples": step.again}
    if step.is_fetched:
        text = "the batches of the first two steps were fetched one by one and are the same, of "
        text += f"a loader that has {step.again:,} samples"
        yield made("TW207", 2, 0.85, text, numbers=numbers, remedy=ONE_ITERATOR)
    else:
        text = "the batches of the first two steps are the same, a part of "
        text += f"{step.again:,} rows; if that is meant, to overfit them on purpose, all is well"
        yield made("TW207", 2, 0.6, text, numbers=numbers, severity="warn", remedy=ONE_ITERATOR)


def far_targets(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Targets in units of their own, thousands, where a fresh model gives about 1."""
    step = steps[0] if steps else None
    if step is None or step.targets is None or step.loss is None:
        return
    is_squared = any(link.loss == "squared" for link in step.loss.links)
    reach = max(abs(step.targets.lowest), abs(step.targets.highest))
    if is_squared and FAR < reach < math.inf:
        text = (
            f"targets of the first batch lie between {short(step.targets.lowest)} and "
            f"{short(step.targets.highest)}: a fresh model gives about 1, and has far to go"
        )
        numbers = {"lowest": step.targets.lowest, "highest": step.targets.highest}
        yield made("TW208", 1, 0.75, text, numbers=numbers, severity="warn", remedy=SCALED)


def is_of_layer(step: StepFacts) -> bool:
    """Does a cross-entropy take what the last layer gave, as it is? Else the classes may be places,
    as where a pair is told from the other pairs of its batch.
    """
    links = step.loss.links if step.loss is not None else ()
    return any((link.loss, link.before) == ("log_softmax", "layer") for link in links)


def given_away(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """The symbol to be found is the one that went in, or stands in sight."""
    step = steps[0] if steps else None
    labels = step.labels if step is not None else None
    if step is None or labels is None or step.loss is None:
        return
    numbers = {"labels": labels.num}
    tables = {weight.module for weight in setup.weights if weight.kind == "Embedding"}
    is_once = all(ran.times == 1 for ran in step.ran if ran.module in tables)
    if labels.are_given and is_once and not step.loss.is_repeated:
        text = f"each of the {labels.num:,} labels that count is the symbol that the model was "
        text += "given at that very place: there is nothing to be foretold"
        yield made("TW205", 1, 0.75, text, numbers=numbers, severity="warn", remedy=SHIFT)
    elif labels.are_next and step.sees_ahead:
        text = "the model is to foretell the next symbol at each place, and sees it: its places "
        text += "use those that follow them"
        yield made("TW205", 1, 0.88, text, numbers=numbers, remedy=CAUSAL)


def mixed_samples(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """Samples taken for steps of a sequence, so that each one's answer hangs on the others."""
    step = steps[0] if steps else None
    if step is not None and step.mixed:
        text = f"'{step.mixed}' takes the samples of a batch for the steps of a sequence: it has "
        text += "batch_first=False and was given the samples first, so that the answer for a "
        text += "sample depends on those that stand beside it"
        yield made("TW206", 1, 0.85, text, numbers={"module": step.mixed}, remedy=ORDER)


def dropped_scores(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A dropout behind the last layer."""
    step = steps[0] if steps else None
    if step is not None and step.dropped:
        text = f"a dropout stands behind the last layer: {short(100 * step.dropped)}% of the "
        text += "outputs that the loss takes were 0 by chance, and the others larger"
        what = "put dropout between the layers, not behind the last one"
        numbers = {"share": step.dropped}
        yield made("TW305", 1, 0.88, text, numbers=numbers, pairing=what)
