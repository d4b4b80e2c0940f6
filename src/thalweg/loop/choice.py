"""What takes the steps of a minimisation: a line search, or an optimizer at a fixed rate."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from thalweg.errors import UsageError
from thalweg.loop.function import Function, Point, brief
from thalweg.loop.linesearch import Armijo, BarzilaiBorwein, Steps
from thalweg.optim import OPTIMIZERS
from thalweg.optim.averages import Averaging, shown

Search = Armijo | BarzilaiBorwein
Begin = Callable[[Function, Tensor], Steps]
"""Begin the steps of one run of a function from a place."""

SEARCHES: dict[str, type[Armijo] | type[BarzilaiBorwein]] = {
    "armijo": Armijo,
    "barzilai-borwein": BarzilaiBorwein,
}
"""What chooses its own step sizes, by name."""

DEFAULT = "barzilai-borwein"
"""Where neither optimizer nor lr is given: docs/minimize.md has the figures."""


def chosen(optimizer: Any, lr: float | None, hyper: Mapping[str, Any]) -> Begin:
    """What begins each run's steps. Raises UsageError for what is no choice."""
    if optimizer is None:
        optimizer = DEFAULT if lr is None else "sgd"
    name = optimizer.lower() if isinstance(optimizer, str) else ""
    if name in SEARCHES or isinstance(optimizer, Search):
        search = _search(SEARCHES.get(name, optimizer), lr, hyper)
        return lambda function, x: search.steps(function)
    if isinstance(optimizer, str):
        make = partial(_optimizer, name, lr=lr, hyper={**_without_decay(name), **hyper})
    elif callable(optimizer):
        make = partial(_foreign, optimizer, lr=lr, hyper=hyper)
    else:
        raise UsageError(
            f"optimizer is {brief(optimizer)}: it must be a name, Armijo(), BarzilaiBorwein(), "
            "or a function of params that returns a torch optimizer"
        )
    given = "".join(f", {key} {value}" for key, value in hyper.items())
    return lambda function, x: OptimizerSteps(function, x, make, name, given)


def _without_decay(name: str) -> dict[str, float]:
    """No weight decay where the rule has one and the user asks for none: it moves the minimum."""
    has_decay = name in OPTIMIZERS and "weight_decay" in OPTIMIZERS[name].settings()
    return {"weight_decay": 0.0} if has_decay else {}


class OptimizerSteps:
    """The steps of a torch optimizer over one parameter.

    The optimizer may evaluate f as often as it likes: its closure's first answer at the place where
    it stands costs nothing, since it is known. One that averages takes its gradients elsewhere than
    at its answer, the average: the points are the answers, and a step costs f and gradient at both.
    """

    def __init__(
        self,
        function: Function,
        x: Tensor,
        make: Callable[[list[Tensor]], torch.optim.Optimizer],
        name: str,
        given: str,
    ):
        self._function = function
        self._param = x.clone().requires_grad_()
        self._optimizer = make([self._param])
        if isinstance(self._optimizer, Averaging):
            self._optimizer.train()
        self._beside: Point | None = None  # where it stands, if that is not its answer
        group = self._optimizer.param_groups[0]
        self.lr = float(group["lr"]) if "lr" in group else None
        self.is_plain = name == "sgd" and not group.get("momentum")
        rate = "" if self.lr is None else f", lr {self.lr:g}"
        self.label = f"{name or type(self._optimizer).__name__}{rate}{given}"

    def advance(self, point: Point) -> tuple[Point, float]:
        known: Point | None = self._beside or point
        param = self._param

        def closure() -> Tensor:
            nonlocal known
            here, known = known, None
            if here is None:
                here = self._function.at(param.detach().clone())
                param.grad = here.gradient.clone()
            return torch.tensor(here.value, dtype=param.dtype, device=param.device)

        param.grad = known.gradient.clone()
        self._optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]
        lr = self._optimizer.param_groups[0].get("lr", float("nan"))
        return self._answer(), float(lr)

    def _answer(self) -> Point:
        """The point that the optimizer has come to: its average, where it keeps one."""
        stands = self._param.detach().clone()
        with shown(self._optimizer):
            answer = self._param.detach().clone()
        is_beside = not torch.equal(stands, answer)
        self._beside = self._function.at(stands) if is_beside else None
        return self._function.at(answer)


def _optimizer(
    name: str, params: list[Tensor], lr: float | None, hyper: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """The optimizer of this name; lr None: its own default."""
    if name not in OPTIMIZERS:
        names = [*SEARCHES, *OPTIMIZERS]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"optimizer {name!r} is unknown{hint}: choose {', '.join(names)}")
    named = OPTIMIZERS[name]
    return _called(name, named.build, params, lr, {**named.preset, **hyper})


def _foreign(
    make: Callable[..., Any], params: list[Tensor], lr: float | None, hyper: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """What the user's own function makes of the parameters."""
    optimizer = _called("the given function", make, params, lr, hyper)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(
            f"the given function returned {brief(optimizer)}: it must return a torch optimizer"
        )
    return optimizer


def _search(kind: Any, lr: float | None, hyper: Mapping[str, Any]) -> Search:
    """The line search, from its class or as it is given."""
    if lr is not None:
        raise UsageError(
            f"lr is {lr:g}, but a line search chooses its own step sizes: leave lr out, or choose "
            "an optimizer with a fixed rate, such as sgd"
        )
    if isinstance(kind, Search):
        if hyper:
            name = next(iter(hyper))
            raise UsageError(f"{name}= has no effect beside {kind!r}: give it inside")
        return kind
    return _called(kind.__name__, kind, None, None, hyper)


def _called(
    name: str, make: Callable[..., Any], params: Any, lr: float | None, hyper: Mapping[str, Any]
) -> Any:
    """make(params, lr=lr, **hyper), of what was given; UsageError for what it cannot take."""
    given = dict(hyper) if lr is None else {"lr": lr, **hyper}
    try:
        return make(**given) if params is None else make(params, **given)
    except TypeError as error:
        if not given or "unexpected keyword" not in str(error):
            raise
        wrong = str(error).rpartition("argument ")[2].partition(":")[0].strip("'")
        raise UsageError(
            f"{name} takes no {wrong}=: it is no hyperparameter of this optimizer"
        ) from None
