"""trial: cheap experiments from where a model stands, which leave it as it was, to the bit.

Each is a number of descents of equal length from one snapshot; the budget counts their steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice, repeat
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.facts import Trial
from thalweg.health.tried import FITTED, Tried, in_need
from thalweg.optim.rates import check_optimizer
from thalweg.trials.parts import are_told_apart, permuted, samples, zeroed
from thalweg.trials.snapshot import LossOf, Snapshot
from thalweg.types import Finding

NUM_SAMPLES = 16
"""That every sound model fits."""

SEARCHES, FIRST_UP, UP, DOWN = 6, 3.0, 10.0, 0.1
"""Rates at which it is tried to fit them, and how these follow each other."""

RISEN, THROWN = 1.2, 3.0
"""A loss that ends at so many times its beginning, or on its way is at so many times what the
samples cost before: the rate was too high.
"""

LONGEST, SHORTEST = 100, 10
"""Steps of one descent."""

SHARE, LEAST = 0.02, 500
"""The budget by default: a share of the run's steps, and at least so many."""

DESCENTS = {"overfit": 1 + SEARCHES, "permuted": 2, "zeroed": 2, "rates": 4}
"""Of each trial, at most; one that is the same for two is made once."""


def budget_of(num_steps: int) -> int:
    """Steps that trials may take beside a run of so many.

    >>> budget_of(1000), budget_of(100_000)
    (500, 2000)
    """
    return max(LEAST, round(SHARE * num_steps))


def trial(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    loss_of: LossOf,
    batches: Sequence[Any],
    held: Sequence[Any] | None = None,
    last: Any = None,
    findings: Sequence[Finding] = (),
    budget: int = LEAST,
    number: int = 0,
) -> Tried:
    """Try from here what tells a bug from bad labels and from a bad rate; then all is as it was.

    Call it between two steps. Weights, buffers, gradients, the optimizer's state, modes and random
    generators are put back to the bit, after an exception too.
    loss_of: loss_of(batch) -> the mean loss of a batch by `model`, with its graph
    batches: some batches as loss_of takes them, (inputs, labels) or a mapping with "labels"; held:
    some that the run did not learn from, such as of the validation set; by default every third
    last: the batch whose gradient stands in `.grad`, between backward() and step(): is it zeroed?
    findings: of a monitor or a verdict; what they ask for is tried first
    budget: steps to take, at most; number: steps that the run has taken
    Raises UsageError where there is nothing to try with, or the run is broken already.

    >>> import torch, thalweg
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(256, 8)
    >>> batches = list(zip(x.split(32), (x[:, 0] > 0).long().split(32)))
    >>> net = torch.nn.Linear(8, 2)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.003)
    >>> def loss_of(batch):
    ...     return torch.nn.functional.cross_entropy(net(batch[0]), batch[1])
    >>> tried = trial(net, optimizer, loss_of=loss_of, batches=batches, number=500)
    >>> tried.said["rates"].confirms
    ('TW102',)
    """
    check_optimizer(optimizer)
    if type(budget) is not int or budget < SHORTEST:
        raise UsageError(f"budget is {budget!r}: it must be {SHORTEST} steps or more")
    learnt, apart = _parted(batches, held)
    codes = [each.code for each in findings]
    may_replay = last is not None or "TW308" in codes
    names = in_need([*DESCENTS, "replay"] if may_replay else [*DESCENTS], codes)
    length, chosen = _within(names, budget)
    bench = _Bench(Snapshot(model, optimizer, loss_of), learnt, apart, number, length)
    with bench.snapshot:
        bench.check()
        results = [
            bench.made(name, last) if name in chosen else Trial(name, why_not=_too_small(budget))
            for name in names
        ]
    return Tried(tuple(results), budget)


def _within(names: Sequence[str], budget: int) -> tuple[int, Sequence[str]]:
    """The length of each descent, and the trials for which the budget is enough, first come."""
    for count in range(len(names), 0, -1):
        num = 2 + sum(DESCENTS.get(name, 0) for name in names[:count])  # 2: the steps of replay
        length = min(LONGEST, (budget - 2) // num)
        if length >= SHORTEST:
            return length, names[:count]
    return SHORTEST, ()


def _too_small(budget: int) -> str:
    return f"not tried: the budget of {budget} steps is too small"


def _parted(
    batches: Sequence[Any], held: Sequence[Any] | None
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Batches to learn from and to look at. Raises UsageError for what is no list of them."""
    for name, given in {"batches": batches, "held": [] if held is None else held}.items():
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise UsageError(
                f"{name} is a {type(given).__name__}: give a list of some batches, so that none is "
                "taken away from the run, such as list(itertools.islice(loader, 16))"
            )
    if held is None:
        batches, held = [b for i, b in enumerate(batches) if i % 3 != 2], batches[2::3]
    if not batches or not held:
        count = "no batch" if not batches else "no batch to look at (every third, or held=)"
        raise UsageError(f"there is {count}: give batches=, a list of 3 or more")
    return batches, held


class _Bench:
    """Trials that share a snapshot, the batches, and the descent that changes nothing.

    number: steps of the run; length: of each descent
    """

    def __init__(
        self,
        snapshot: Snapshot,
        batches: Sequence[Any],
        held: Sequence[Any],
        number: int,
        length: int,
    ):
        self.snapshot = snapshot
        self.length = length
        self._batches = batches
        self._held = held
        self._number = number
        self._sixteen = samples(batches, NUM_SAMPLES)
        self._factor = 1.0
        self._after: dict[float, Tensor] = {}

    def check(self) -> None:
        """Raises UsageError where the run is broken already, so that no step tells anything."""
        begin = float(self.snapshot.loss(self._held).mean())
        if not math.isfinite(begin):
            raise UsageError(
                f"the loss is {begin} before any step is tried: go back to a state from before it "
                "broke, or look for such values in the data"
            )

    def made(self, name: str, last: Any) -> Trial:
        """A trial by its name; one that cannot be made says why."""
        if name == "replay":
            return self._counted(name, lambda: self._replay(last), self._why_no_replay(last))
        is_known = are_told_apart(self._batches[0])
        why = "" if is_known or name in ("overfit", "rates") else _NOT_TOLD_APART
        return self._counted(name, _TRIALS[name].__get__(self), why)

    def _counted(self, name: str, act: Callable[[], dict[str, float]], why_not: str) -> Trial:
        before = self.snapshot.steps
        numbers = {} if why_not else act()
        return Trial(name, self.snapshot.steps - before, numbers, why_not)

    # ------------------------------------------------------------ the trials

    def _overfit(self) -> dict[str, float]:
        """16 samples again and again, at one rate after the other, until they are fitted.

        A model that knows them already begins low: it is held against what they cost without
        their inputs.
        """
        self.snapshot.go_back()
        begin = float(self.snapshot.loss([self._sixteen]))
        blank = self._blank()
        search = _Search()
        for factor in search:
            losses = self._fitting(self._sixteen, factor, least=0.5 * FITTED * max(begin, blank))
            is_thrown = not max(losses) <= THROWN * max(begin, blank)
            is_risen = is_thrown or not losses[-1] <= RISEN * losses[0]
            search.saw(_lowest([*losses, float(self.snapshot.loss([self._sixteen]))]), is_risen)
            if search.best < FITTED * max(begin, blank):
                self._factor = search.best_at
                break
        numbers = {"begin": begin, "blank": blank, "best": search.best, "factor": search.best_at}
        return {**numbers, "rates": len(search.tried), "length": self.length}

    def _blank(self) -> float:
        """What the samples cost at best without their inputs; 0 where these are not known."""
        if not are_told_apart(self._sixteen):
            return 0.0
        return _lowest(self._fitting(zeroed(self._sixteen), 1.0), otherwise=0.0)

    def _fitting(self, batch: Any, factor: float, least: float = 0.0) -> list[float]:
        again = repeat(batch, self.length)
        return self.snapshot.descend(again, factor=factor, afresh=True, least=least)

    def _permuted(self) -> dict[str, float]:
        """Right labels against those of other samples, each learned and looked at on the held."""
        return self._against(permuted)

    def _zeroed(self) -> dict[str, float]:
        """Inputs against none."""
        return self._against(lambda batch, number: zeroed(batch))

    def _against(self, change: Callable[[Any, int], Any]) -> dict[str, float]:
        right = self._losses(self._factor)
        learnt = (change(batch, number) for number, batch in enumerate(self._stretch()))
        self.snapshot.descend(learnt, factor=self._factor)
        held = [change(batch, number) for number, batch in enumerate(self._held)]
        other = self.snapshot.loss(held)
        return {
            "right": _mean(right),
            "other": _mean(other),
            "error": _error(other - right),
            "number": self._number,
            "steps": self.length,
        }

    def _rates(self) -> dict[str, float]:
        """The same batches at other rates."""
        self.snapshot.go_back()
        begin = _mean(self.snapshot.loss(self._held))
        one, third, three, ten = (self._losses(factor) for factor in (1.0, 1 / 3, 3.0, 10.0))
        return {
            "begin": begin,
            "third": _mean(third),
            "one": _mean(one),
            "three": _mean(three),
            "ten": _mean(ten),
            "error_lower": _error(one - third),
            "error_higher": max(_error(one - three), _error(one - ten)),
            "number": self._number,
            "steps": self.length,
        }

    def _replay(self, last: Any) -> dict[str, float]:
        """The gradient that stands against that of its batch alone, drawn twice (dropout)."""
        found = self.snapshot.found
        one, two = (self.snapshot.gradient(last, number) for number in (0, 1))
        size = max(_norm(one), 1e-30)
        return {
            "run": _norm(found),
            "replay": _norm(one),
            "difference": _norm(_minus(found, one)) / size,
            "chance": _norm(_minus(two, one)) / size,
        }

    def _why_no_replay(self, last: Any) -> str:
        if last is None:
            return "not tried: give last=, the batch whose gradient stands in .grad before step()"
        if all(grad is None for grad in self.snapshot.found):
            return "not tried: no gradient stands in .grad: call it after backward()"
        return ""

    # ------------------------------------------------------------ what they share

    def _losses(self, factor: float) -> Tensor:
        """Of the held batches, after a descent at so many times the rate; made once."""
        if factor not in self._after:
            self.snapshot.descend(self._stretch(), factor=factor)
            self._after[factor] = self.snapshot.loss(self._held)
        return self._after[factor]

    def _stretch(self) -> Iterator[Any]:
        return islice(cycle(self._batches), self.length)


class _Search:
    """Factors of a rate, one after the other: up while the loss falls too little, down where it
    rises, between the two once both are known.

    best, best_at: the lowest loss so far, and its factor

    >>> search, found = _Search(), []
    >>> for factor in search:
    ...     found.append(round(factor, 1))
    ...     search.saw(1.0, is_risen=factor > 20)
    >>> found
    [1.0, 3.0, 30.0, 9.5, 16.9, 22.5]
    """

    def __init__(self) -> None:
        self.best, self.best_at = math.inf, 1.0
        self.tried: list[float] = []
        self._risen: list[float] = []

    def __iter__(self) -> Iterator[float]:
        while len(self.tried) < SEARCHES:
            self.tried.append(self._next())
            yield self.tried[-1]

    def saw(self, lowest: float, is_risen: bool) -> None:
        """What the last factor came to."""
        if lowest < self.best:
            self.best, self.best_at = lowest, self.tried[-1]
        if is_risen:
            self._risen.append(self.tried[-1])

    def _next(self) -> float:
        lower = [factor for factor in self.tried if factor not in self._risen]
        if not self.tried:
            return 1.0
        if not lower:
            return min(self._risen) * DOWN
        if self._risen:
            return math.sqrt(max(lower) * min(self._risen))
        return max(lower) * (FIRST_UP if len(lower) == 1 else UP)


_NOT_TOLD_APART = (
    "not tried: the labels of a batch cannot be told from its inputs: give (inputs, labels), or a "
    "mapping with 'labels'"
)

_TRIALS = {
    "overfit": _Bench._overfit,
    "permuted": _Bench._permuted,
    "zeroed": _Bench._zeroed,
    "rates": _Bench._rates,
}


def _lowest(losses: Sequence[float], otherwise: float = math.inf) -> float:
    return min((loss for loss in losses if math.isfinite(loss)), default=otherwise)


def _mean(losses: Tensor) -> float:
    """Infinite where any is not a number."""
    mean = float(losses.mean())
    return mean if math.isfinite(mean) else math.inf


def _error(differences: Tensor) -> float:
    """Of their mean; 0 where there is one alone, or where they are not numbers."""
    finite = differences[differences.isfinite()]
    return float(finite.std()) / math.sqrt(len(finite)) if len(finite) > 1 else 0.0


def _norm(gradient: Sequence[Tensor | None]) -> float:
    squares = [float(g.double().square().sum()) for g in gradient if g is not None]
    return math.sqrt(sum(squares))


def _minus(left: Sequence[Tensor | None], right: Sequence[Tensor | None]) -> list[Tensor | None]:
    pairs = zip(left, right, strict=True)
    return [b if a is None else a if b is None else a - b for a, b in pairs]
