"""Watch: the first steps of a model and its optimizers, told as plain facts.

start -> forward, backward -> before_step -> the update -> after_step -> ... -> stop

It only looks: no gradient, weight, buffer or generator is touched.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.facts import LossGraph, Moved, Outsider, Setup, StepFacts
from thalweg.probes.again import Again
from thalweg.probes.flow import Flow
from thalweg.probes.gradients import Gradients
from thalweg.probes.inputs import is_plain, rows_of, symbols_of, tensors_of
from thalweg.probes.loss_graph import read_loss
from thalweg.probes.outsiders import find_outsiders
from thalweg.probes.pairs import Pairs
from thalweg.probes.probe import Probe
from thalweg.probes.setup import held_by, other_optimizers, owners, rates_of, resting, setup
from thalweg.probes.targets import Output

MASTERS = ("master", "compensation", "kahan", "shift", "exp_avg_comp")
"""Words in an optimizer's state that say it keeps what rounding loses."""


class Watch:
    """Looks at the steps between `start` and `stop`.

    >>> import torch
    >>> net = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> watch = Watch(net, [optimizer])
    >>> watch.start()
    >>> loss = net(torch.randn(4, 2)).square().mean()
    >>> loss.backward()
    >>> watch.before_step()
    >>> optimizer.step()
    >>> step = watch.after_step()
    >>> watch.stop()
    >>> [weight.changed for weight in step.moved]
    [1.0, 1.0]
    """

    def __init__(self, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]):
        self._model = model
        self._optimizers = list(optimizers)
        self.setup = setup(model, self._optimizers)
        self._own = owners(model)
        self._names = {i: name for i, (name, _, _) in self._own.items()}
        self._beside = find_outsiders(model)
        modules = {name: module for _, name, module in self._own.values()}
        beside = [found.module for found in self._beside if found.module is not None]
        compiled = compiled_modules()
        is_compiled = any(is_part(each, model) for each in compiled)
        self._one_by_one = bool(compiled)
        self._flow = None if is_compiled else Flow(modules, beside, one_by_one=self._one_by_one)
        named = {self._names[id(p)]: p for p in model.parameters() if id(p) in self._names}
        held = {weight.name for weight in self.setup.weights if weight.is_held}
        self._gradients = Gradients(named, held)
        self._output: Output | None = None
        self._given: Tensor | None = None
        self._asking: list[Tensor] = []
        self._again = Again()
        self._pairs = Pairs()
        self._loss: LossGraph | None = None
        self._is_number = False
        self._number = 0

    def as_probe(self) -> Probe:
        """What looks at later steps. A compiled model's flow is not looked at: it would compile
        anew.
        """
        return Probe(
            self._model,
            self._optimizers,
            with_flow=self._flow is not None,
            one_by_one=self._one_by_one,
        )

    @property
    def is_compiled(self) -> bool:
        """Would a hook make the model compile anew?"""
        return self._flow is None

    def start(self) -> None:
        """Put the hooks on."""
        self._gradients.start()
        if self._flow is not None:
            self._flow.start()

    def stop(self) -> None:
        """Take all hooks away."""
        self._gradients.stop()
        self._forget()
        if self._flow is not None:
            self._flow.stop()

    # ------------------------------------------------------------ what is seen

    def saw_input(self, args: Any) -> None:
        """The model is about to run on this."""
        self._given = symbols_of(args) if (rows := rows_of(args)) is None else rows
        asking = (x for x in tensors_of(args) if x.requires_grad and x.is_leaf)
        self._asking += [x for x in asking if not isinstance(x, nn.Parameter)]
        self._again.see(args)
        if self._flow is not None:
            self._flow.saw_input(args)

    def saw_output(self, output: Any) -> None:
        """The model gave this, in a pass that trains."""
        self._pairs.add([t for t in tensors_of(output) if t.requires_grad and is_plain(t)])
        found = next(tensors_of(output), None)
        if found is not None and found.requires_grad and is_plain(found):
            if self._output is not None:
                self._output.close()
            self._output = Output(found, self._given)

    def saw_loss(self, loss: Tensor) -> None:
        """A loss, before or after its backward pass; without a graph it reaches nothing."""
        if loss.grad_fn is None:
            self._is_number = True
            return
        if self._loss is None or not self._loss.links:
            self._loss = read_loss(loss, self._names, self._asking)
        if self._output is not None:
            self._output.saw_loss(loss)
        self._pairs.saw_loss(loss)

    @property
    def has_arrived(self) -> bool:
        return self._gradients.has_arrived

    @property
    def were_zeroed(self) -> bool:
        """Were gradients zeroed before the first step, so that no step was to use them?"""
        return self._gradients.were_zeroed

    def before_step(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """An optimizer is about to use the gradients; by default the first."""
        self._gradients.before_step(held_by([optimizer or self._optimizers[0]]))

    @property
    def seconds(self) -> float:
        """What the hooks have taken."""
        return self._gradients.seconds + (0.0 if self._flow is None else self._flow.seconds)

    def after_step(self) -> StepFacts:
        """The optimizer has; what the step was."""
        self._number += 1
        rate, peak = rates_of(self._optimizers)
        moved = self._gradients.moved(self.setup.optimizer, peak)
        step = self._facts(moved, rate, peak)
        self._gradients.after_step()
        self._again.step()
        self._pairs.step()
        self._loss, self._is_number = None, False
        if self._flow is not None:
            self._flow.clear()
        return step

    def late_loss(self, step: StepFacts, loss: Tensor) -> StepFacts:
        """The facts of a step whose loss was shown only after it."""
        if step.loss is not None:
            return step
        if loss.grad_fn is None:
            return replace(step, is_number=True)
        output = self._output
        if output is not None:
            output.saw_loss(loss)
        self._pairs.saw_loss(loss)
        return replace(
            step,
            loss=read_loss(loss, self._names, self._asking),
            targets=None if output is None else output.targets(),
            dropped=0.0 if output is None else output.dropped,
            is_overlap_lowered=output is not None and output.is_overlap_lowered(),
            pull=self._pairs.pull(),
            unheeded=self._pairs.unheeded(),
        )

    def _facts(self, moved: tuple[Moved, ...], rate: float, peak: float) -> StepFacts:
        flow, output = self._flow, self._output
        labels, is_raised = (None, False) if output is None else output.asked()
        return StepFacts(
            number=self._number,
            moved=moved,
            ran=() if flow is None else flow.ran,
            columns=None if flow is None else flow.columns,
            lr=rate,
            peak=peak,
            stale=self._gradients.stale(),
            is_training=self._model.training,
            outputs_finite=None if output is None else output.is_finite,
            outputs_differ=None if output is None else output.differ,
            loss=self._loss,
            targets=None if output is None else output.targets(),
            keeps_master=any(keeps_master(optimizer) for optimizer in self._optimizers),
            are_alike="" if flow is None else flow.given.are_alike,
            resting=frozenset(self._names.get(i, "") for i in resting(self._optimizers)),
            is_number=self._is_number,
            labels=labels,
            is_raised=is_raised,
            sees_ahead=output is not None and output.sees_ahead,
            dropped=0.0 if output is None else output.dropped,
            mixed="" if flow is None or output is None else flow.mixed(output.shape),
            were_zeroed=self._gradients.were_zeroed,
            marks=None if output is None or labels is not None else output.marks(),
            is_overlap_lowered=output is not None and output.is_overlap_lowered(),
            pull=self._pairs.pull(),
            unheeded=self._pairs.unheeded(),
            again=self._again.of,
            is_fetched=self._again.is_fetched,
            telling=-1 if output is None else output.telling,
        )

    def _forget(self) -> None:
        self._loss = None
        if self._output is not None:
            self._output.close()
            self._output = None
        self._given = None
        self._pairs.close()
        self._asking.clear()
        if self._flow is not None:
            self._flow.clear()

    # ------------------------------------------------------------ after the first step

    def with_others(self) -> Setup:
        """The setup, with who else holds what: looks at every object where something is missing."""
        missing = {w.name for w in self.setup.weights if w.is_trainable and not w.is_held}
        if not missing and not self.setup.outsiders:
            return self.setup
        reached = any(
            p.grad is not None for i, p in held_by(self._optimizers).items() if i not in self._own
        )
        others = held_by(other_optimizers(self._optimizers))
        elsewhere = {self._names[i] for i in others if i in self._names}
        weights = (replace(w, is_held_elsewhere=w.name in elsewhere) for w in self.setup.weights)
        mine = held_by(self._optimizers)
        beside = tuple(
            self._outsider(found, each, {*others, *mine})
            for found, each in zip(self._beside, self.setup.outsiders, strict=True)
        )
        return replace(
            self.setup, weights=tuple(weights), outsiders=beside, foreign_reached=reached
        )

    def _outsider(self, found: Any, each: Outsider, held: set[int]) -> Outsider:
        return replace(
            each,
            is_held=any(id(p) in held for p in found.parameters),
            has_gradient=any(p.grad is not None for p in found.parameters if p.is_leaf),
            ran=self._flow is not None and self._flow.outsider_ran(found.module),
        )


def compiled_modules() -> list[nn.Module]:
    """Every compiled module of the process; looks at every object once a compiler was loaded."""
    if "torch._dynamo" not in sys.modules:
        return []
    wrapper = sys.modules["torch._dynamo"].OptimizedModule
    found = [o for o in gc.get_objects() if issubclass(type(o), nn.Module)]
    return [m for m in found if isinstance(m, wrapper) or m._compiled_call_impl is not None]


def is_part(compiled: Any, model: nn.Module) -> bool:
    """Is a compiled module the model's, or the model one of its own?"""
    own = {id(module) for module in model.modules()}
    return id(compiled) in own or any(id(module) in own for module in compiled.modules())


def keeps_master(optimizer: torch.optim.Optimizer) -> bool:
    """Does the optimizer keep what rounding would lose, by the names in its state and its class?"""
    state = next(iter(optimizer.state.values()), {})
    words = [str(key).lower() for key in state] if isinstance(state, dict) else []
    return any(master in word for word in words for master in MASTERS)
