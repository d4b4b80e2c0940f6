"""Options that any element-wise rule takes: each is a small function that joins the rule's own.

p parameter · g gradient · step what the rule takes off p · size number of elements of the tensor ·
ema running mean of p

Sums over the whole tensor of what `measure` returns are known before the update, so that `scale`
can be computed from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from thalweg.errors import UsageError
from thalweg.rules._primitives import div, maximum, minimum, sqrt, where
from thalweg.rules.rule import number_of

Place = Literal["gradient", "step", "after"]
"""Where a piece joins: on the gradient before the rule, on the rule's step, or after p moved."""


def check_limit(option: Any) -> None:
    """Raise UsageError unless the option's `limit` is a number above 0."""
    if not 0 < number_of(option.limit) < math.inf:
        name = type(option).__name__
        raise UsageError(f"{name}({option.limit!r}): the limit must be a finite number > 0")


@dataclass(frozen=True, slots=True)
class Piece:
    """What an option adds to a rule; all functions in the rule language, arguments by name.

    apply: the new value of what stands at its place, from p, g, step, its state and coefficients
    coefficients: from lr, weight_decay and the option's own fields, once a step
    measure: numbers to be summed over the tensor; scale: a coefficient from these sums (called as
    measure's outputs: sum0, sum1), size (number of elements), lr and the option's fields
    """

    place: Place
    apply: Callable[..., Any]
    coefficients: Callable[..., Any] | None = None
    measure: Callable[..., Any] | None = None
    scale: Callable[..., Any] | None = None
    state: str | None = None
    starts_at_p: bool = False


@dataclass(frozen=True, slots=True)
class Coupled:
    """Weight decay as part of the gradient: g + weight_decay p (L2 regularisation)."""

    group: ClassVar[str] = "decay"


@dataclass(frozen=True, slots=True)
class Decoupled:
    """Weight decay beside the rule: p shrinks by lr * weight_decay a step.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """

    group: ClassVar[str] = "decay"


def coupled(p, g, weight_decay):
    return g + weight_decay * p


def coupled_coefficients(weight_decay):
    return weight_decay


def decoupled(p, step, shrink):
    return step + shrink * p


def decoupled_coefficients(lr, weight_decay):
    return lr * weight_decay


@dataclass(frozen=True, slots=True)
class ByValue:
    """Clipping of every element of the gradient to -limit .. limit (> 0); given as `clip=`."""

    limit: float
    group: ClassVar[str] = "clip"

    def __post_init__(self) -> None:
        check_limit(self)


def within(g, lowest, highest):
    return minimum(maximum(g, lowest), highest)


def limits_of(limit):
    return -limit, limit


@dataclass(frozen=True, slots=True)
class Adaptive:
    """The norm of each tensor's gradient is at most `limit` times the tensor's own; as `clip=`.

    limit: share of the parameter's norm, > 0
    eps: a tensor of a smaller norm counts as if it had this one, >= 0: biases that start at 0
    The paper limits each row of a matrix by itself and leaves the last layer unclipped; here the
    whole tensor is one unit, and every tensor that has this clip is clipped: give the last layer a
    group of its own with clip=None to have it as there.
    Source: Brock et al., High-performance large-scale image recognition without normalization,
    ICML 2021.
    """

    limit: float = 0.01
    eps: float = 1e-3
    group: ClassVar[str] = "clip"

    def __post_init__(self) -> None:
        check_limit(self)
        if not 0 <= number_of(self.eps) < math.inf:
            raise UsageError(f"Adaptive(eps={self.eps!r}): eps must be a finite number >= 0")


def sizes_squared(p, g):
    return p * p, g * g


def shortened(g, share):
    return share * g


def adaptive_share(sum0, sum1, limit, eps):
    allowed = limit * maximum(sqrt(sum0), eps)
    norm = sqrt(sum1)
    return where(norm > allowed, div(allowed, norm), 1)


@dataclass(frozen=True, slots=True)
class Cautious:
    """Elements whose step points against their gradient stay; the others move that much more.

    Source: Liang et al., Cautious optimizers, 2024.
    """

    group: ClassVar[str] = "cautious"


def agreeing(g, step, one, zero):
    return where(g * step > zero, one, zero)


def cautious(g, step, one, zero, boost):
    return where(g * step > zero, boost * step, zero)


def cautious_coefficients():
    return 1, 0


def cautious_boost(sum0, size):
    return div(1, maximum(div(sum0, size), 0.001))


@dataclass(frozen=True, slots=True)
class UpdateClip:
    """The root mean square of a tensor's step, in units of lr, is at most `limit` (> 0).

    Decoupled decay is not counted. Not for a rule that finds its own rate.

    Source: Shazeer and Stern, Adafactor, ICML 2018; Wortsman et al., 2023 (StableAdamW).
    """

    limit: float = 1.0
    group: ClassVar[str] = "update clip"

    def __post_init__(self) -> None:
        check_limit(self)


def step_squared(step):
    return step * step


def scaled(step, ratio):
    return ratio * step


def update_clip_ratio(sum0, size, lr, limit):
    size_of_step = sqrt(div(sum0, size))
    return where(size_of_step > limit * lr, div(limit * lr, size_of_step), 1)


@dataclass(frozen=True, slots=True)
class TrustRatio:
    """A tensor's step, decay included, is as long as lr times the tensor itself.

    Where the tensor or its step is all zero, it moves as without. Not for a rule that finds its
    own rate. Source: You et al., Large batch optimization for deep learning (LAMB), ICLR 2020.
    """

    group: ClassVar[str] = "trust ratio"


def both_squared(p, step):
    return p * p, step * step


def trust_ratio(sum0, sum1, lr):
    moves = where(sum0 > 0, sum1 > 0, sum0 > 0)
    return where(moves, div(lr * sqrt(sum0), sqrt(sum1)), 1)


@dataclass(frozen=True, slots=True)
class EMA:
    """A running mean of the parameters, kept as the state `ema`: `optimizer.averaged()` shows it.

    decay: share of the old mean that is kept each step, 0 <= decay < 1
    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.
    """

    decay: float = 0.999
    group: ClassVar[str] = "average"

    def __post_init__(self) -> None:
        if not 0 <= number_of(self.decay) < 1:
            raise UsageError(f"EMA({self.decay!r}): allowed is 0 <= decay < 1")


def averaged(p, ema, fresh):
    return ema + fresh * (p - ema)


def ema_coefficients(decay):
    return 1 - decay


@dataclass(frozen=True, slots=True)
class StochasticRounding:
    """Results are rounded up or down by chance, in proportion, so that the mean is exact.

    The chance is counted, not drawn: it depends on (seed, step, parameter, element) only. The
    default for bfloat16 parameters. Source: Gupta et al., Deep learning with limited numerical
    precision, ICML 2015.
    """

    group: ClassVar[str] = "rounding"


@dataclass(frozen=True, slots=True)
class NearestRounding:
    """Results are rounded to the nearest number, as torch does: bfloat16 loses small steps."""

    group: ClassVar[str] = "rounding"


@dataclass(frozen=True, slots=True)
class Kahan:
    """What rounding took off a parameter is kept as the state `kahan_comp` and added next time.

    Source: Kahan, Further remarks on reducing truncation errors, 1965.
    """

    group: ClassVar[str] = "rounding"


@dataclass(frozen=True, slots=True)
class MasterWeights:
    """Parameters of 16 bits have a float32 copy, the state `master`: steps are taken there.

    The parameter is the copy, rounded; an element that somebody else has changed is taken from the
    parameter. The rule's states are float32 as well. Parameters of 32 bits are their own copy.
    Source: Micikevicius et al., Mixed precision training, ICLR 2018.
    """

    group: ClassVar[str] = "rounding"


@dataclass(frozen=True, slots=True)
class DoubleArithmetic:
    """Elements are computed in float64, whatever they are stored as (1.5 to 3 times slower)."""

    group: ClassVar[str] = "arithmetic"


@dataclass(frozen=True, slots=True)
class LowPrecisionState:
    """The rule's state is stored as bfloat16, with stochastic rounding: half the memory.

    Not for a rule that takes differences of its states.
    """

    group: ClassVar[str] = "rounding"


Option = (
    ByValue
    | Adaptive
    | Coupled
    | Decoupled
    | Cautious
    | UpdateClip
    | TrustRatio
    | EMA
    | StochasticRounding
    | NearestRounding
    | Kahan
    | MasterWeights
    | LowPrecisionState
    | DoubleArithmetic
)

PIECES: dict[type, Piece] = {
    ByValue: Piece("gradient", within, limits_of),
    Adaptive: Piece("gradient", shortened, None, sizes_squared, adaptive_share),
    Coupled: Piece("gradient", coupled, coupled_coefficients),
    Cautious: Piece("step", cautious, cautious_coefficients, agreeing, cautious_boost),
    UpdateClip: Piece("step", scaled, None, step_squared, update_clip_ratio),
    Decoupled: Piece("step", decoupled, decoupled_coefficients),
    TrustRatio: Piece("step", scaled, None, both_squared, trust_ratio),
    EMA: Piece("after", averaged, ema_coefficients, state="ema", starts_at_p=True),
}
"""What each option adds to the formula, in the order in which they join, whatever order the user
gave them in. Options that only concern storage add nothing and are not here.
"""

OPTIONS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *PIECES,
        StochasticRounding,
        NearestRounding,
        Kahan,
        MasterWeights,
        LowPrecisionState,
        DoubleArithmetic,
    )
}
