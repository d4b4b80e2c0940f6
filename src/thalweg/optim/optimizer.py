"""The one torch Optimizer: groups and state are torch's, a backend runs the update's formula."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import wraps
from typing import Any, NamedTuple, cast

import torch
import torch.optim.optimizer as torchs
from torch import Tensor

from thalweg.backends.base import Backend, Request, Totals
from thalweg.backends.pick import Wishes, pick
from thalweg.errors import UsageError
from thalweg.optim.bound import Bound, bind
from thalweg.optim.bounds import UNBOUNDED, Bounds, is_beyond
from thalweg.optim.family import Family, Single, completed
from thalweg.optim.plain import decoded, encoded
from thalweg.optim.settings import check, check_choices, check_group, check_params, options_of
from thalweg.optim.watched import State, unshared
from thalweg.rules import RULES, MatrixRule, Rule
from thalweg.rules.matrix import AnyRule
from thalweg.rules.options import EMA


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """torch's hooks and profiler range around a step; nothing where nobody listens."""
    full = torch.optim.Optimizer.profile_hook_step(step)
    before, after = torchs._global_optimizer_pre_hooks, torchs._global_optimizer_post_hooks

    @wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        is_watched = (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or before
            or after
            or torch.autograd.profiler._is_profiler_enabled
        )
        return full(self, *args, **kwargs) if is_watched else step(self, *args, **kwargs)

    setattr(hooked, "hooked", True)  # noqa: B010  (so that torch does not wrap it once more)
    return hooked


class Asked(NamedTuple):
    """What `apply` asks of a step besides the update."""

    loss: Tensor
    bounds: Bounds | None
    loss_scale: Tensor | None

    @property
    def is_bounded(self) -> bool:
        """Is a step that is not finite no step?"""
        return self.bounds is not None


class Optimizer(torch.optim.Optimizer):
    """A torch optimizer over one update rule.

    params: parameters, named parameters or dicts of a group, as torch takes them
    rule: a Rule, a MatrixRule without switches, a name of `thalweg.rules.RULES`, or a Family
    hyper: the rule's hyperparameters in torch's spelling (`betas` for beta1 and beta2)
    clip: largest norm of all gradients together, or ByNorm, PerTensor, ByValue, Adaptive; or None
    options: Cautious(), EMA(0.999), ...: see `thalweg.rules.options`
    skip_nonfinite: a gradient that is not finite makes the whole step a no-op, not counted
    seed: of stochastic rounding
    maximize: go uphill
    fused, foreach, differentiable, capturable: torch's flags, as wishes for a backend
    Every one of them may differ from group to group. Raises UsageError (a ValueError) for a value
    out of range, TypeError for an unknown setting.

    >>> import torch, thalweg
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = thalweg.Optimizer([x], "momentum", lr=0.1, clip=1.0)
    >>> (x**2).sum().backward()
    >>> optimizer.step(); round(x.item(), 3)
    0.9
    """

    _step_supports_amp_scaling = True

    def __init__(
        self,
        params: Iterable[Any],
        rule: AnyRule | str | Family,
        *,
        clip: Any = None,
        options: Sequence[Any] = (),
        skip_nonfinite: bool = False,
        seed: int = 0,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **hyper: Any,
    ):
        check_params(params)
        self._family = _family_of(rule)
        self._bound: Bound | None = None
        self._asked: Asked | None = None
        defaults = {
            **completed(self._family, hyper),
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "clip": clip,
            "options": options_of(options),
            "skip_nonfinite": skip_nonfinite,
            "seed": seed,
        }
        check(self._family, defaults)
        super().__init__(params, defaults)

    @property
    def state(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Per parameter a dict of its states, as torch's; changing it from outside is honoured."""
        return self._state

    @state.setter
    def state(self, given: Any) -> None:
        self._state = State(given, self._forget)
        self._forget()

    def _forget(self) -> None:
        """Build the tables anew before the next step."""
        self._bound = None

    def rule_of(self, settings: Mapping[str, Any]) -> AnyRule:
        """The rule of a parameter group."""
        return self._family(settings)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if isinstance(param_group, dict):
            check_group(param_group, self.defaults, type(self).__name__)
            check(self._family, {**self.defaults, **param_group})
        _add_param_group(self, param_group)
        self._complete(self.param_groups[-1])
        self._bound = None

    def _complete(self, group: dict[str, Any]) -> None:
        """Settings that a group lacks keep their defaults."""
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        if self.rule_of(group).averages_weights:
            group.setdefault("train_mode", True)

    # ------------------------------------------------------------ the step

    @_with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update from the gradients in `.grad`; returns what the closure returned, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if torch.compiler.is_compiling():  # own kernels run beside the graph, not in it
            torch.compiler.disable(self._update)()  # pyright: ignore[reportCallIssue]
        else:
            self._update()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's: forget the gradients, or fill them with zeros."""
        if not set_to_none or torch.autograd.profiler._is_profiler_enabled:
            _zero_grad(self, set_to_none)
            return
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def apply(
        self, loss: Tensor, bounds: Bounds | None = UNBOUNDED, loss_scale: Tensor | None = None
    ) -> dict[str, Any]:
        """One update, skipped where `loss` or a gradient is not finite; what was measured of it.

        bounds: skipped as well where the loss is above, clipped where the gradient's norm is; None:
        applied whatever it is, unless the optimizer's own settings say otherwise
        loss_scale: 0-d; the gradients count 1 / loss_scale times
        Hooks are honoured, as in `step`. Values are floats on the CPU, else 0-d tensors.
        """
        self._asked = Asked(loss, bounds, loss_scale)
        try:
            self.step()
        finally:
            self._asked = None
        bound = self._bound
        if bound is None or not bound.groups:
            totals = Totals(gradient_norm=0.0)
        else:
            totals = bound.runner.totals()
        return {name: getattr(totals, name) for name in totals.__slots__}

    def _update(self) -> None:
        grads = [[p.grad for p in group["params"]] for group in self.param_groups]
        bound = self._bound
        if bound is None or not bound.fits(self, grads):
            for group in self.param_groups:
                check_choices(self._family, group)
            bound = self._bound = bind(self, grads)
        if bound.groups:
            bound.refresh(self)
            bound.runner.step(bound.picked(grads), self._request(bound))

    def _request(self, bound: Bound) -> Request:
        """What this step is asked for: clipping, unscaling, skipping."""
        asked = self._asked
        scale = getattr(self, "grad_scale", None)  # GradScaler sets both around a step
        skip = getattr(self, "found_inf", None)
        if asked is not None and asked.loss_scale is not None:
            scale = asked.loss_scale
        request = Request(
            limits=bound.limits,
            per_tensor=bound.per_tensor,
            inverse_scale=1.0 if scale is None else 1.0 / _on_host(scale),
            skip_nonfinite=bound.skips_nonfinite or (asked is not None and asked.is_bounded),
            skip=False if skip is None else skip,
            measure=asked is not None,
        )
        if asked is not None and asked.bounds is not None:
            is_bad = is_beyond(asked.loss, asked.bounds)
            request.skip = is_bad if skip is None else (skip > 0) | is_bad
            request.outlier, request.clip_to = asked.bounds.norm, asked.bounds.clip_to
        return request

    @property
    def backend(self) -> Backend:
        """What runs the rule for these parameters."""
        return self.backend_and_reason[0]

    @property
    def backend_and_reason(self) -> tuple[Backend, str]:
        """The backend, and in a few words why it is this one."""
        groups = self.param_groups
        fused, foreach = (groups[0][name] for name in ("fused", "foreach"))
        wishes = Wishes(
            fused=None if fused is None else bool(fused),
            foreach=None if foreach is None else bool(foreach),
            is_differentiable=any(group["differentiable"] for group in groups),
        )
        return pick(self._params(), wishes, [self.rule_of(group) for group in groups])

    def statistics(self) -> list[dict[str, float]]:
        """What the last step measured of each parameter that had a gradient once, in order.

        gradient_norm (as it came), update_norm, parameter_norm, num_nonfinite; waits for a device.
        """
        if self._bound is None or not self._bound.groups:
            return []
        return self._bound.statistics()

    # ------------------------------------------------------------ averages

    @property
    def has_average(self) -> bool:
        """Is there a running mean of the parameters (option EMA, and a step was taken)?"""
        return any("ema" in self.state.get(p, ()) for p in self._params())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the parameters are their running means (option EMA); afterwards as before."""
        kept = [(p, p.detach().clone()) for p in self._params()]
        self.take_average()
        try:
            yield
        finally:
            with torch.no_grad():
                for p, before in kept:
                    p.copy_(before)

    @torch.no_grad()
    def take_average(self) -> None:
        """The parameters become their running means (option EMA).

        Raises UsageError where there is none.
        """
        if not self.has_average:
            raise UsageError(f"there is no average: give options=[{EMA()}] and take a step first")
        for p in self._params():
            if "ema" in self.state.get(p, ()):
                p.copy_(self.state[p]["ema"])

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    # ------------------------------------------------------------ saving and loading

    def state_dict(self) -> dict[str, Any]:
        """As torch's; nothing in it but plain values and tensors of their own memory."""
        state_dict = cast(dict[str, Any], _state_dict(self))
        state_dict["state"] = {key: unshared(value) for key, value in state_dict["state"].items()}
        state_dict["param_groups"] = [encoded(group) for group in state_dict["param_groups"]]
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but every state keeps the type in which it was saved, and nothing is shared.

        Settings that an older or torch's own state dict lacks keep their defaults. Raises
        UsageError for settings that are out of range, and has then changed nothing.
        """
        given: list[dict[str, Any]] = []

        def accept(_: Any, loaded: dict[str, Any]) -> None:
            for group in loaded["param_groups"]:
                check(self._family, {**self.defaults, **group, **decoded(group)})
            given.append(loaded)

        hook = self.register_load_state_dict_pre_hook(accept)
        try:
            _load_state_dict(self, deepcopy(state_dict))
        finally:
            hook.remove()
        self._restore(given[-1])
        self._bound = None

    def _restore(self, given: dict[str, Any]) -> None:
        """Give every parameter its state as it was saved, without torch's cast."""
        ids = (i for group in given["param_groups"] for i in group["params"])
        params = (p for group in self.param_groups for p in group["params"])
        for i, p in zip(ids, params, strict=True):
            for name, value in given["state"].get(i, {}).items():
                is_tensor = isinstance(value, Tensor)
                self.state[p][name] = value.to(p.device) if is_tensor else value

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        whole = {key: unshared(value) for key, value in self.state.items()}
        return {**state, "state": defaultdict(dict, whole), "_family": self._family}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.state = self.__dict__.pop("state")  # pyright: ignore[reportIncompatibleVariableOverride]
        self._bound = None
        self._asked = None
        for group in self.param_groups:
            group.update(decoded(group))
            self._complete(group)


def without_compiler(method: Callable[..., Any]) -> Callable[..., Any]:
    """torch's method without the guard that imports its compiler, which takes a second."""
    return getattr(method, "__wrapped__", method)


_add_param_group = without_compiler(torch.optim.Optimizer.add_param_group)
_zero_grad = without_compiler(torch.optim.Optimizer.zero_grad)
_state_dict = without_compiler(torch.optim.Optimizer.state_dict)
_load_state_dict = without_compiler(torch.optim.Optimizer.load_state_dict)


def _family_of(rule: Any) -> Family | Single:
    """What an optimizer was given as its rule. Raises UsageError for what is none."""
    if isinstance(rule, str):
        if rule not in RULES:
            raise UsageError(f"rule {rule!r} is unknown: there are {', '.join(RULES)}")
        rule = RULES[rule]
    if isinstance(rule, MatrixRule) and rule.switches:
        raise UsageError(
            f"rule {rule.name} has switches ({', '.join(rule.switches)}): use the class that sets "
            "them, such as thalweg.Muon"
        )
    if isinstance(rule, Rule | MatrixRule):
        return Single(rule)
    if not isinstance(rule, Family):
        raise UsageError(
            f"rule is {rule!r}: it must be a name such as 'adamw', a thalweg.Rule or a MatrixRule"
        )
    return rule


def _on_host(number: Tensor) -> Tensor | float:
    """A number that is on the CPU, as a float; one on a device is not waited for."""
    return number.item() if number.device.type == "cpu" else number
