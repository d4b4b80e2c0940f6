"""What probes and trials tell of a model: plain numbers and names; health never sees a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SIGNED = ("Adam", "Lion", "RMSprop", "RAdam", "Rprop", "Adafactor", "LAMB")
"""Optimizers whose first update is about the rate itself, whatever the gradient is."""

Initial = Literal["", "zero", "constant", "drawn"]
"""How a weight began: all zero, all alike, drawn at random and never trained, or otherwise."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter as it stands before the first step; one that is tied counts once.

    module, kind: the module that holds it and that one's class; inputs, units: of its matrix, 0
    where it is none, and of a table no inputs
    gain: its variance x inputs, about 0.3 to 2 for a usual initialisation, 1 where it has none
    is_held: by the optimizers that are watched; is_held_elsewhere: by another one
    is_fresh: its values look as just drawn, from sharp bounds or a normal curve, and no other
    weight of the model is a copy of it
    centre: its mean by its root mean square, 0 where it is drawn around 0; pace: the rate of its
    group by the largest one of its optimizer
    """

    name: str
    module: str
    kind: str
    size: int
    dtype: str
    is_trainable: bool
    is_held: bool
    is_held_elsewhere: bool = False
    inputs: int = 0
    units: int = 0
    initial: Initial = ""
    gain: float = 1.0
    is_fresh: bool = False
    centre: float = 0.0
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class Outsider:
    """Weights that work beside the model: a module or tensor that sits in a plain attribute.

    where: the attribute; size: of its trainable weights; is_held: by some optimizer
    is_in_function: the attribute is a function that uses it
    has_gradient: a backward pass reached it; ran: its forward was called in the first step
    """

    where: str
    size: int
    is_held: bool
    has_gradient: bool = False
    ran: bool = False
    is_in_function: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """The model and its optimizers before the first step.

    foreign: weights that the optimizers hold and the model does not, in this many tensors;
    foreign_reached: a backward pass reached some; num_masters: those with a twin of a narrower type
    in the model
    sensitive: modules that act otherwise in training, such as dropout and batch norm
    dropouts: those that drop, with the share that they drop
    unmeasured: batch norms whose running statistics are as they were made, 0 and 1
    momentum: the largest of the groups that learn, Adam's first beta where that is its name
    """

    weights: tuple[Weight, ...]
    foreign: int
    foreign_tensors: int
    num_masters: int
    foreign_reached: bool
    outsiders: tuple[Outsider, ...]
    sensitive: tuple[str, ...]
    optimizer: str
    dropouts: tuple[tuple[str, float], ...] = ()
    unmeasured: tuple[str, ...] = ()
    momentum: float = 0.0


@dataclass(frozen=True, slots=True)
class Ran:
    """A module that holds weights, as it first ran in a step.

    order: 1 for the first; mode: is it in training mode; with_grad: was a graph recorded
    rows: samples (and places) that went in; width: of what went in
    unit: "relu", "tanh" or "sigmoid" where that made its input; dead: the share of its inputs that
    were 0 for all rows; saturated: the share of values within 1% of a bound
    rms: of its output; spread: how far rows differ in it, as a share of rms
    cut_from: the module whose output came in without its graph; "?": not known which
    times: how often it ran in the step; drawn_from: modules whose outputs have the very shape of
    what came in without a graph, or one of twice its width
    """

    module: str
    kind: str
    order: int
    mode: bool
    with_grad: bool
    rows: int
    width: int
    unit: str = ""
    dead: float = 0.0
    saturated: float = 0.0
    rms: float = 1.0
    spread: float = 1.0
    cut_from: str = ""
    times: int = 1
    drawn_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """What goes into the first layer, by column (or channel).

    largest, smallest: root mean squares of the columns, constant ones left out, and their places;
    off_centre: the largest |mean| / standard deviation, and its place; least_off_centre: the least;
    row_norm: the median over
    samples; num_nonfinite: values
    num_apart: columns that vary, those of next to no size left out; directions: 1 or 2 where all
    of these are multiples of so many, up to a shift, 0 where they are not
    is_given: the model was given these very values
    """

    module: str
    count: int
    largest: float
    largest_at: int
    smallest: float
    smallest_at: int
    off_centre: float
    off_centre_at: int
    row_norm: float
    num_nonfinite: int
    num_apart: int = 0
    directions: int = 0
    least_off_centre: float = 0.0
    is_given: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """A loss, and what stands before it: "cross_entropy" before "softmax".

    width: how many classes or values the loss takes of a sample; dim: of the softmax, where it is
    not over the classes, else None (0: over the samples); spread: a broadcast between model and
    loss, "(8, 1) to (8, 8)"
    """

    loss: str
    before: str
    width: int = 0
    dim: int | None = None
    spread: str = ""


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of a distance or of a `bce_with_logits`, found again from its gradient.

    are_whole: they are whole numbers; lowest, highest; outputs: how many the model gives for a
    sample; num: found; is_spread: one number stands for all outputs of a sample
    counts: how often each whole number is there, by number; empty where there are too many
    """

    are_whole: bool
    lowest: float
    highest: float
    outputs: int
    num: int
    is_spread: bool = False
    counts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes that a cross-entropy asked for in a step, found again from its gradient.

    num: those that count; distinct: different ones; only: the one, where it is one, else -1; width:
    classes that the model tells apart; is_one_each: one label a sample
    are_given: they are the symbols that went in, place by place; are_next: those after these;
    are_crossed: they are, line by line, where the outputs go through all lines at each place
    """

    num: int
    distinct: int
    only: int
    width: int
    is_one_each: bool
    are_given: bool = False
    are_next: bool = False
    are_crossed: bool = False


@dataclass(frozen=True, slots=True)
class LossGraph:
    """What the graph of a loss says.

    value: of the loss; reached: names of the weights that it depends on; depth: layers on the
    shortest way from the loss to its farthest weight; depth_of: the same of each
    is_times_zero: all of it is multiplied by 0, as far as that can still be seen
    flat: a function on the way whose slope is 0 everywhere, such as "round"; "" where there is none
    orphans: layers' weights that nothing but this graph holds; past: of weights with few units, the
    weights that the loss reaches without them
    is_maximised: it is a cross-entropy times a number below 0; is_repeated: one code was repeated
    over places on the way; is_mean: it is the mean of one of
    torch's own losses, times nothing
    is_slope_cut: a term of it has no weight in its graph, though the model was given inputs that
    ask for a gradient, and the loss depends on none of them through the model
    is_unheld: it is an error divided by a scale of the model's, and nothing else
    """

    value: float
    links: tuple[Link, ...]
    reached: frozenset[str]
    depth: int
    is_normalised: bool
    depth_of: tuple[tuple[str, int], ...] = ()
    is_times_zero: bool = False
    flat: str = ""
    orphans: int = 0
    past: tuple[tuple[str, frozenset[str]], ...] = ()
    is_maximised: bool = False
    is_repeated: bool = False
    is_mean: bool = False
    is_slope_cut: bool = False
    is_unheld: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """A weight over one step of the optimizer.

    norm: of the weight; gradient: its norm, None where there is none; arrived: the largest norm
    that a backward pass brought since the step before; changed: the share of the elements with a
    gradient that the step changed; lost_at_peak: the share that would be lost to rounding at the
    schedule's highest rate; gone: the share of the last step's change that was undone before this
    step; strayed: 1 less the cosine of it as it is found and as the last step had left it
    """

    name: str
    norm: float
    gradient: float | None
    arrived: float | None
    changed: float | None = None
    lost_at_peak: float = 0.0
    gone: float = 0.0
    strayed: float = 0.0


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One watched step. number: from 1; lr: the largest of the groups; peak: the schedule's base
    rate; stale: the share of the judged weights whose gradient still held that of the step before;
    is_training: the model's mode; are_alike: the model was given the same for every sample; "zero",
    "alike" or "": not so, or not known; resting: weights in groups of the optimizer whose rate is 0
    from the start on; is_number: the loss that was shown is a tensor without a history
    labels: that were asked for; is_raised: the step makes these less likely; sees_ahead: places of
    a sequence use later ones; dropped: the share of the scores that go into the loss that a dropout
    set to 0; mixed: a layer that takes samples for steps of a sequence
    were_zeroed: gradients that had arrived were zeroed before a further backward pass of the step
    marks: the fewest and the most classes that a sample's target had at 1, in a cross-entropy
    is_overlap_lowered: the loss is an overlap of masks, and the step makes it smaller
    pull: how sure it is that the loss pulls latents to the standard normal, in standard errors, and
    below 0 that it pushes them away; 0 where there are none
    unheeded: pairs that a loss of cosines leaves alone, alike as they are, where it parts none
    again: the batch is that of the step before, of so many samples that there are; is_fetched: and
    it was fetched anew
    telling: a column of the inputs that has a value of its own for each class; -1 for none
    """

    number: int
    moved: tuple[Moved, ...]
    ran: tuple[Ran, ...]
    columns: Columns | None
    lr: float
    peak: float
    stale: float | None
    is_training: bool
    outputs_finite: bool | None = None
    outputs_differ: float | None = None
    loss: LossGraph | None = None
    targets: Targets | None = None
    keeps_master: bool = False
    are_alike: Literal["", "zero", "alike"] = ""
    resting: frozenset[str] = frozenset()
    is_number: bool = False
    labels: Labels | None = None
    is_raised: bool = False
    sees_ahead: bool = False
    dropped: float = 0.0
    mixed: str = ""
    were_zeroed: bool = False
    marks: tuple[int, int] | None = None
    is_overlap_lowered: bool = False
    pull: float = 0.0
    unheeded: int = 0
    again: int = 0
    is_fetched: bool = False
    telling: int = -1


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial on a snapshot has measured; what that says of causes: `thalweg.health.tried`.

    name: "overfit", "permuted", "zeroed", "rates" or "replay"; steps: that it took; numbers: by
    name, none where it was not made; why_not: then the reason, in words
    """

    name: str
    steps: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    why_not: str = ""
