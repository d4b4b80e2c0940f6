"""Do the loss and the last layer belong together? And does any label count?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from thalweg.facts import Link, LossGraph, Setup, StepFacts, Targets
from thalweg.health.made import made, short
from thalweg.types import Finding

RAW = "give the loss the last layer's output as it is, and apply the {} only to predict"
LOGS = "give it log-probabilities: torch.nn.functional.log_softmax, or use cross_entropy instead"


@dataclass(frozen=True, slots=True)
class Pair:
    """A loss behind a layer that it does not go with. text: what happens; pairing: what to do"""

    text: str
    pairing: str
    confidence: float = 0.95
    is_sure: bool = True


_SQUASHED = "cross_entropy applies softmax itself: behind a {0} its probabilities stay nearly even"
_TWICE = "binary_cross_entropy_with_logits applies the sigmoid itself: behind a {0} it is confined"
_AGAIN = "the outputs are squashed twice: behind a {0} what comes out stays nearly even"
_EXP_TWICE = "poisson_nll_loss takes the exponential itself: behind a {0} no rate below 1 is left"
_UNEVEN = (
    "nll_loss takes the logarithms of probabilities, and these outputs do not sum to 1: making all "
    "of them larger lowers the loss without end"
)
_RATE = "leave the {} out, or say log_input=False"

PAIRS = {
    ("log_softmax", "softmax"): Pair(_SQUASHED, RAW, 0.97),
    ("log_softmax", "sigmoid"): Pair(_SQUASHED, RAW, 0.92),
    ("log_softmax", "log_sigmoid"): Pair(_SQUASHED, RAW, 0.8),
    ("log_softmax", "tanh"): Pair(_SQUASHED, RAW, 0.6, is_sure=False),
    ("log_softmax", "relu"): Pair(
        "a relu stands before cross_entropy: classes below 0 are all alike and get no gradient",
        RAW,
        0.6,
        is_sure=False,
    ),
    ("nll", "softmax"): Pair("nll_loss takes log-probabilities and gets probabilities", LOGS, 0.97),
    ("nll", "sigmoid"): Pair("nll_loss takes log-probabilities and gets a sigmoid", LOGS, 0.95),
    ("nll", "layer"): Pair("nll_loss takes log-probabilities and gets raw outputs", LOGS, 0.95),
    ("nll", "relu"): Pair("nll_loss takes log-probabilities and gets a relu", LOGS, 0.95),
    ("nll", "tanh"): Pair("nll_loss takes log-probabilities and gets a tanh", LOGS, 0.9),
    ("nll", "log_relu"): Pair(_UNEVEN, LOGS, 0.9),
    ("nll", "log_softplus"): Pair(_UNEVEN, LOGS, 0.85),
    ("bce_with_logits", "sigmoid"): Pair(_TWICE, RAW, 0.97),
    ("bce_with_logits", "softmax"): Pair(_TWICE, RAW, 0.95),
    ("bce_with_logits", "log_softmax"): Pair(_TWICE, RAW, 0.85),
    ("bce_with_logits", "log_sigmoid"): Pair(_TWICE, RAW, 0.9),
    ("bce_with_logits", "relu"): Pair(_TWICE, RAW, 0.8),
    ("bce_with_logits", "tanh"): Pair(_TWICE, RAW, 0.6, is_sure=False),
    ("bce", "clamp"): Pair(
        "binary_cross_entropy takes probabilities and gets values that are cut off at 0 and 1",
        "use binary_cross_entropy_with_logits on the raw output",
        0.75,
    ),
    ("bce", "relu"): Pair(
        "binary_cross_entropy takes probabilities and gets a relu",
        "use binary_cross_entropy_with_logits on the raw output",
        0.85,
    ),
    ("bce", "layer"): Pair(
        "binary_cross_entropy takes probabilities and gets raw outputs",
        "use binary_cross_entropy_with_logits",
        0.9,
    ),
    ("bce", "softmax"): Pair(
        "the probabilities of a softmax sum to 1, so that binary_cross_entropy can never have two "
        "labels of a sample near 1",
        "use a sigmoid where several labels may be true, cross_entropy where one is",
        0.6,
        is_sure=False,
    ),
    ("softmax", "softmax"): Pair(_AGAIN, RAW, 0.95),
    ("sigmoid", "softmax"): Pair(_AGAIN, RAW, 0.85),
    ("sigmoid", "sigmoid"): Pair(_AGAIN, RAW, 0.9),
    ("poisson", "softplus"): Pair(_EXP_TWICE, _RATE, 0.85),
    ("poisson", "exp"): Pair(_EXP_TWICE, _RATE, 0.9),
    ("poisson", "relu"): Pair(_EXP_TWICE, _RATE, 0.6, is_sure=False),
    ("kl_div", "softmax"): Pair("kl_div takes log-probabilities and gets a softmax", LOGS, 0.85),
    ("ctc", "softmax"): Pair("ctc_loss takes log-probabilities and gets a softmax", LOGS, 0.95),
    ("ctc", "layer"): Pair("ctc_loss takes log-probabilities and gets raw outputs", LOGS, 0.9),
}
"""By the loss and what stands right before it; what is not here is taken to be meant."""

BOUNDS = {
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "log_softmax": (-math.inf, 0.0),
    "log_sigmoid": (-math.inf, 0.0),
}
"""What a last layer can give."""

REACH = 0.05
BESIDE = 0.5
"""How far beyond 0 and 1 labels may lie that were made noisy on purpose."""

MARGINS = {"soft_margin": "soft-margin loss", "hinge": "hinge loss"}
"""Losses of labels -1 and 1."""

FEWEST_OF_LABEL, FEWEST_COSINES = 3, 5

FAR_FROM_NORM = 3.0
"""Standardised targets lie 1.4 from outputs of mean 0 and deviation 1."""

FEWEST_TARGETS, MOST_CLASSES = 16, 100
NONE_RARE, RARE = 0.4, 0.15
"""The count of the rarest class by an even share; below the first, counts must be as by chance."""


def pairing(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """One finding, the surest of the first step's, else of the second's."""
    seen: Targets | None = None
    for step in steps[:2]:
        links = step.loss.links if step.loss is not None else ()
        seen = joined(seen, step.targets)
        is_nan = step.loss is not None and math.isnan(step.loss.value)
        found = [each for link in links for each in _of(link, seen, is_nan=is_nan)]
        if step.loss is not None and any(map(is_of_norm, links)):
            found += _out_of_norm(step.loss)
        if not found:
            continue
        yield max(found, key=lambda finding: finding.confidence)
        return


def _of(link: Link, targets: Targets | None, *, is_nan: bool) -> Iterator[Finding]:
    numbers = {"loss": link.loss, "last_layer": link.before, "width": link.width}
    pair = PAIRS.get((link.loss, link.before))
    if pair is not None and not is_two_of_one(link):
        text, what = pair.text.format(link.before), pair.pairing.format(link.before)
        severity = "act" if pair.is_sure else "warn"
        yield made(
            "TW305", 1, pair.confidence, text, numbers=numbers, severity=severity, pairing=what
        )
    if (link.loss, link.before) == ("log", "layer") and is_nan:
        text = "a logarithm is taken of raw outputs, which may be below 0, and the loss is NaN"
        yield made("TW305", 1, 0.9, text, numbers=numbers, pairing=LOGS)
    if link.spread:
        text = f"the model's output is spread from {link.spread}: each is compared with all others'"
        what = "give output and target one shape, such as output.squeeze(1) or target.unsqueeze(1)"
        yield made("TW305", 1, 0.93, text, numbers=numbers, pairing=what)
    if (link.loss, link.before) == ("log_softmax", "cosine") and link.width >= FEWEST_COSINES:
        yield _flat_cosines(link)
    if link.width == 1 and (link.loss, link.before) != ("log_softmax", "log_softmax"):
        yield from _one_class(link, numbers)
    if link.dim is not None:
        over = "the samples" if link.dim == 0 else f"dimension {link.dim}"
        text = f"the softmax before {link.loss} runs over {over}, not over the classes"
        what = "use dim=1 (or -1)" if link.dim == 0 else "use the dimension of the classes"
        yield made("TW305", 1, 0.9, text, numbers=numbers, pairing=what)
    if link.loss == "squared" and targets is not None:
        yield from _squared(link, targets)
    if link.loss in MARGINS and targets is not None:
        yield from _not_signs(link, targets)
    if link.loss == "bce_with_logits" and targets is not None:
        yield from _not_shares(targets)


def _out_of_norm(loss: LossGraph) -> Iterator[Finding]:
    """Targets that a norm behind the last layer does not reach. A distance's mean square, or mean
    size, is the loss; its root is at most the distance.
    """
    away = math.sqrt(max(0.0, loss.value))
    if loss.is_mean and FAR_FROM_NORM < away < math.inf:
        text = "a norm without a scale of its own stands behind the last layer, so that outputs "
        text += f"have mean 0 and deviation 1, and targets lie {short(away)} away and more"
        what = "leave the norm out, or train on (target - mean) / standard deviation"
        yield made("TW305", 1, 0.88, text, numbers={"away": away}, pairing=what)


def _flat_cosines(link: Link) -> Finding:
    most = math.exp(2) / (math.exp(2) + link.width - 1)
    text = (
        f"the scores are cosines, which lie between -1 and 1: among {link.width} classes no "
        f"probability can rise above {most:.0%}"
    )
    what = "multiply cosines by a scale of 10 to 30, fixed or learnt, before cross_entropy"
    numbers = {"classes": link.width, "most": most}
    return made("TW305", 1, 0.85, text, numbers=numbers, pairing=what)


def is_of_norm(link: Link) -> bool:
    """Is a distance taken of what a norm gives?"""
    return (link.loss, link.before) == ("squared", "norm")


def is_two_of_one(link: Link) -> bool:
    """Are these two probabilities p and 1 - p, whose two entropies are one cross-entropy?"""
    return (link.loss, link.before) == ("bce", "softmax") and link.width <= 2


def _one_class(link: Link, numbers: dict) -> Iterator[Finding]:
    is_softmax = link.before == "softmax" and link.loss in ("bce", "squared")
    if link.loss == "log_softmax" or is_softmax:
        text = "a softmax over one class is always 1, whatever the model gives"
        what = "give the model one output a class, or use binary_cross_entropy_with_logits with one"
        yield made("TW305", 1, 0.95, text, numbers=numbers, pairing=what)


def _not_shares(targets: Targets) -> Iterator[Finding]:
    """Targets that are no probabilities: -1 and 1, or class numbers. 1.2 is a smoothed label."""
    low, high = targets.lowest, targets.highest
    if low < -BESIDE or high > 1 + BESIDE:
        text = f"{span(targets)}: binary_cross_entropy_with_logits takes 0 to 1, and beyond them "
        text += "it has no lowest value"
        what = "give 0 for no and 1 for yes, or use cross_entropy for several classes"
        numbers = {"lowest": low, "highest": high}
        yield made("TW305", 1, 0.93, text, numbers=numbers, pairing=what)


def _not_signs(link: Link, targets: Targets) -> Iterator[Finding]:
    """Labels 0 and 1 where -1 and 1 are asked for."""
    counts = dict(targets.counts)
    if targets.are_whole and sorted(counts) == [0, 1] and min(counts.values()) >= FEWEST_OF_LABEL:
        text = (
            f"{counts[0]} of {targets.num} labels are 0, and a {MARGINS[link.loss]} takes -1 and "
            "1: those samples get no gradient"
        )
        what = "give 2 * labels - 1, or use binary_cross_entropy_with_logits with 0 and 1"
        yield made("TW305", 1, 0.92, text, numbers={"zeros": counts[0]}, pairing=what)


def span(targets: Targets) -> str:
    """From where to where they go, in words."""
    ends = targets.lowest, targets.highest
    low, high = (round(end) if targets.are_whole else end for end in ends)
    return f"the targets go from {short(low)} to {short(high)}"


def _squared(link: Link, targets: Targets) -> Iterator[Finding]:
    """Class numbers taken for amounts, or targets out of the last layer's reach."""
    low, high = BOUNDS.get(link.before, (-math.inf, math.inf))
    is_open = math.isinf(high - low)
    room = REACH * (targets.highest - targets.lowest if is_open else high - low)
    numbers = {"lowest": targets.lowest, "highest": targets.highest, "last_layer": link.before}
    if targets.lowest < low - room or targets.highest > high + room:
        text = f"{span(targets)}, and a {link.before} gives {short(low)} to {short(high)} only"
        what = "leave the last layer without it, or scale the targets to its range"
        yield made("TW305", 1, 0.93, text, numbers=numbers, pairing=what)
    elif are_ids_for_all(targets):
        text = (
            f"each of a sample's {targets.outputs} outputs is held against one whole number, "
            f"{targets.lowest:.0f} to {targets.highest:.0f}: class numbers, taken for amounts"
        )
        what = "use cross_entropy with the class numbers, or one-hot targets"
        is_full = targets.outputs > 2 and round(targets.highest) == targets.outputs - 1
        sure = 0.93 if is_full else 0.8
        yield made("TW305", 1, sure, text, numbers=numbers, pairing=what)
    elif is_class_ids(targets):
        text = (
            f"the loss is a distance to the whole numbers 0 to {targets.highest:.0f}, about as "
            "many of each: they look like class numbers"
        )
        what = (
            f"for classes, give the model {len(targets.counts)} outputs and use cross_entropy; "
            "amounts are right as they are"
        )
        yield made("TW305", 1, 0.7, text, numbers=numbers, pairing=what)


def joined(one: Targets | None, other: Targets | None) -> Targets | None:
    """The targets of two batches as if of one."""
    if one is None or other is None:
        return one or other
    counts = Counter(dict(one.counts)) + Counter(dict(other.counts))
    return replace(
        one,
        are_whole=one.are_whole and other.are_whole,
        lowest=min(one.lowest, other.lowest),
        highest=max(one.highest, other.highest),
        num=one.num + other.num,
        is_spread=one.is_spread and other.is_spread,
        counts=tuple(sorted(counts.items())) if one.counts and other.counts else (),
    )


def is_class_ids(targets: Targets) -> bool:
    """Whole numbers 0 to K - 1, all there, none rare: amounts are hardly ever so."""
    counts = dict(targets.counts)
    enough = targets.num >= max(FEWEST_TARGETS, 4 * len(counts))
    is_few = 3 <= len(counts) <= MOST_CLASSES
    is_full = sorted(counts) == list(range(len(counts)))
    if not (targets.are_whole and enough and is_few and is_full):
        return False
    rarest = min(counts.values()) * len(counts) / targets.num
    is_known = targets.num >= 8 * len(counts)
    return rarest > NONE_RARE or (is_known and rarest > RARE and are_even(list(counts.values())))


def are_even(counts: Sequence[int]) -> bool:
    """Do counts differ no more than chance allows? By chi squared, two standard deviations."""
    expected = sum(counts) / len(counts)
    excess = sum((count - expected) ** 2 for count in counts) / expected - (len(counts) - 1)
    return excess < 2 * math.sqrt(2 * (len(counts) - 1))


def are_ids_for_all(targets: Targets) -> bool:
    """One of the numbers 0 to K - 1 for all K outputs of a sample."""
    is_in_range = targets.lowest > -0.5 and targets.highest < targets.outputs - 0.5
    return targets.are_whole and targets.is_spread and is_in_range and len(targets.counts) > 1


def maximised(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """A cross-entropy with the wrong sign. Not where the last layer is another's: then it is an
    adversary that is to be led astray.
    """
    loss = steps[0].loss if steps else None
    if loss is None or not (loss.is_maximised or (steps[0].is_raised and is_of_logs(steps[0]))):
        return
    nearest = min((depth for _, depth in loss.depth_of), default=0)
    head = {name for name, depth in loss.depth_of if depth == nearest}
    if all(weight.is_held for weight in setup.weights if weight.name in head):
        text = (
            f"the loss is a cross-entropy with the sign turned round ({short(loss.value)}): the "
            "steps make the right classes less likely"
        )
        what = "take the negative logarithm: cross_entropy as it is, or -log_p[range(n), y].mean()"
        yield made("TW305", 1, 0.85, text, numbers={"loss": loss.value}, pairing=what)


def is_of_logs(step: StepFacts) -> bool:
    """Is there a log-softmax of the model's outputs?"""
    links = step.loss.links if step.loss is not None else ()
    return any(link.loss == "log_softmax" and link.before == "layer" for link in links)


def masked(setup: Setup, steps: Sequence[StepFacts]) -> Iterator[Finding]:
    """No label counts: the mean over none is NaN, the sum over none 0."""
    facts = [step for step in steps[:2] if step.loss is not None]
    broken = next((s for s in facts if math.isnan(value_of(s)) and is_of_classes(s)), None)
    if broken is not None:
        if broken.outputs_finite and not is_of_raw_logs(broken):
            text = "the loss is NaN while every output of the model is finite"
            yield made("TW310", broken.number, 0.9, text, numbers={"loss": "nan"})
        return
    zero = [step for step in facts if value_of(step) == 0 and has_no_gradient(step)]
    if len(zero) == 2 and is_of_classes(zero[0]):
        text = "the loss and every gradient were exactly 0 in the first two steps"
        yield made("TW310", zero[0].number, 0.88, text, numbers={"loss": 0.0})
    elif zero and (
        is_a_mask(zero[0]) or (len(zero) < len(facts) and any(map(is_of_labels, facts)))
    ):
        text = f"at step {zero[0].number} the loss and every gradient were exactly 0"
        yield made("TW310", zero[0].number, 0.88, text, numbers={"loss": 0.0})


def is_of_raw_logs(step: StepFacts) -> bool:
    """Is a logarithm taken of what may be below 0?"""
    links = step.loss.links if step.loss is not None else ()
    return any((link.loss, link.before) == ("log", "layer") for link in links)


def is_a_mask(step: StepFacts) -> bool:
    """Was the loss multiplied by 0?"""
    return step.loss is not None and step.loss.is_times_zero


def value_of(step: StepFacts) -> float:
    """Of the loss."""
    assert step.loss is not None
    return step.loss.value


def is_of_labels(step: StepFacts) -> bool:
    """Is there a loss of class labels, of which some may be masked?"""
    return step.loss is not None and any(link.loss == "nll" for link in step.loss.links)


def is_of_classes(step: StepFacts) -> bool:
    """Is there a cross-entropy over two classes or more?"""
    links = step.loss.links if step.loss is not None else ()
    return any(link.loss in ("nll", "log_softmax") and link.width != 1 for link in links)


def has_no_gradient(step: StepFacts) -> bool:
    """Were all gradients that came exactly 0?"""
    arrived = [moved.arrived for moved in step.moved if moved.arrived is not None]
    return bool(arrived) and max(arrived) == 0
