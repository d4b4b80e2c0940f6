"""Monitor: health beside anyone's own loop, in two lines. It looks and never decides.

with thalweg.monitor(model, optimizer) as monitor:
    for x, y in batches:
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        monitor(loss)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.facts import Setup, StepFacts
from thalweg.health.diagnosis import diagnose, so_far
from thalweg.health.structure import structural
from thalweg.loop.alerts import Alert
from thalweg.loop.closures import late
from thalweg.loop.columns import Columns, settings_of
from thalweg.loop.cost import Cost
from thalweg.loop.handed import measures, watched
from thalweg.loop.later import Later
from thalweg.loop.modes import Modes
from thalweg.loop.rivals import Rivals
from thalweg.loop.safely import safely
from thalweg.loop.samples import Samples
from thalweg.loop.told import Told, say
from thalweg.loop.unmoved import never_moved, stepped_by_another
from thalweg.probes.gradients import sample
from thalweg.probes.quiet import Ear, may_look, remove
from thalweg.probes.structure import Watch
from thalweg.record.foreign.log import Log
from thalweg.types import Finding, Verdict

WATCHED = 2
"""Steps whose structure is looked at."""

MOST_COMPARED = 64
"""Parameters by which it is told whether anything moved."""


class Monitor:
    """See `monitor`. number: steps seen so far; fault: what went wrong in here, so that it
    stopped looking, or ""; settings, tool: of the run, and whose words they are, if known
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        tell: Callable[[str], None] | None,
        alert: Alert | None,
        share: float,
        settings: Mapping[str, Any] | None = None,
        tool: str = "",
    ):
        self.number = 0
        self._model = model
        self._optimizers = list(optimizers)
        self._told = Told(tell, alert)
        self._share = share
        self.fault = ""
        self._handles: list[Any] = []
        self._pass_hooks: list[Any] = []
        self._first_hooks: list[Any] = []
        self._is_cuda = any(not p.is_cpu for p in model.parameters())
        self._cost = Cost()
        self._samples = Samples(self._cost, share=share, fail=self._give_up)
        known = {**settings_of(self._optimizers[0]), **(settings or {})}
        self._columns = Columns(known, self._cost.stamps, tool)
        self._watch: Watch | None = None
        self._setup = Setup((), 0, 0, 0, False, (), (), "")
        self._steps: list[StepFacts] = []
        self._later = Later(
            self._optimizers, self._cost, self._columns, share=share, fail=self._give_up
        )
        self._modes = Modes(model)
        self._num_losses = 0
        self._is_quiet = self._is_over = False
        self._next_look = 0
        self._looked_for_another_at = -1
        self._begun: list[tuple[Tensor, Tensor]] = []

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, oldest first."""
        return self._told.findings

    # ------------------------------------------------------------ what the user calls

    def __enter__(self) -> Monitor:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        self._is_over = kind is None
        self._end()
        self._stop()
        self._close()

    def __call__(self, loss: Tensor | float) -> None:
        """The loss of a batch; before or after its backward pass and the step, with its graph
        where it has one.
        """
        is_usual = self._is_quiet and not self._samples.is_open and not self._is_cuda
        if not is_usual or torch.compiler.is_compiling():
            self._saw_loss(loss)
            return
        began = time.perf_counter()
        try:
            columns = self._columns
            columns.losses.append(loss.item() if isinstance(loss, Tensor) else loss)
            columns.steps_before.append(self.number)
            self._samples.num_passes = 0
        except Exception as error:
            self._give_up(error)
        self._cost.own += time.perf_counter() - began

    @safely
    def _saw_loss(self, loss: Tensor | float) -> None:
        self._num_losses += 1
        self._columns.saw_loss(loss)
        self._samples.saw_loss(loss)
        if self._watch is not None and isinstance(loss, Tensor) and loss.requires_grad:
            self._look_at(loss)

    @safely
    def evaluation(self, loss: Any = None, /, **more: Any) -> None:
        """Tell of an evaluation: `monitor.evaluation(0.3)`, which is its loss, or
        `monitor.evaluation(loss=0.3, accuracy=0.9)`. What is no number is told and left out.
        """
        values, wrong = measures(loss, more)
        for text in wrong:
            self._told.say(f"of an evaluation after step {self.number:,} {text}")
        self._columns.evaluation(self.number, values)
        self._samples.told(self.number)
        self._told.add(self._modes.evaluated(self.number))
        self._look_for_another()

    @property
    def log(self) -> Log:
        """What was seen so far, as a log that detectors and `thalweg diagnose` read."""
        return self._columns.log()

    def verdict(self) -> Verdict:
        """What can be said so far: of the structure, and of the curves where they can be read."""
        read = diagnose(self.log) if self._is_over else so_far(self.log)
        found = [*self.findings, *self._told.new(read.findings)]
        words = [str(f.evidence["what"]) for f in found if "what" in f.evidence]
        sentence = "; ".join(filter(None, (*words, read.sentence)))
        sentence = sentence or f"nothing was found in {self.number:,} steps"
        missing = (*self.not_seen(), *read.not_checkable)
        return Verdict(read.state, sentence, tuple(found), missing)

    def not_seen(self) -> Iterator[str]:
        """What could not be looked at, and why."""
        if self.fault:
            yield f"all that came after the monitor's own fault: {self.fault}"
        if self.number and not any(step.loss for step in self._steps):
            yield "whether loss and last layer belong together: no loss with a graph was shown"
        if self.number and not any(step.ran for step in self._steps):
            yield "what flows through the model: it is compiled, or its modules were not called"
        yield from self._samples.not_seen()

    @property
    def overhead(self) -> Cost:
        """What looking has cost: `share` of the steps' time, `microseconds` a step, `start`."""
        return self._cost

    # ------------------------------------------------------------ hooks

    @safely
    def _begin(self) -> None:
        self._watch = Watch(self._model, self._optimizers)
        self._setup = self._modes.setup = self._watch.setup
        self._modes.has_heard = self._watch.is_compiled  # to listen would compile it anew
        self._begun = [(p, sample(p)) for p in list(self._model.parameters())[:MOST_COMPARED]]
        self._judge()
        self._watch.start()
        self._columns.rivals = Rivals(self._optimizers, self._first_hooks)
        for optimizer in self._optimizers:
            self._first_hooks.append(optimizer.register_step_pre_hook(late(self._before_step)))
        last = self._optimizers[-1]
        self._handles.append(last.register_step_post_hook(self._after_step))
        if not isinstance(self._model, nn.TransformerEncoderLayer):  # a hook costs it its fast path
            before, after = Ear(self._before_forward, asks=False), Ear(self._after_forward)
            self._first_hooks.append(self._model.register_forward_hook(after))
            handle = self._model.register_forward_pre_hook(before, with_kwargs=True)
            self._pass_hooks.append(handle)
            if not self._watch.is_compiled:
                self._samples.start()
        self._cost.stamps.append(time.perf_counter())

    def _before_forward(self, model: nn.Module, args: Any, kwargs: Any = None) -> None:
        """torch leaves `kwargs` out where the hook is gone by then."""
        if torch.compiler.is_compiling():
            return
        samples = self._samples
        if self._is_quiet and samples.wait and torch.is_grad_enabled() and model.training:
            samples.wait -= 1
            samples.num_passes += 1
            samples.num_skipped += 1
        elif may_look():
            self._is_quiet = False
            self._saw_input(model, args)
            if samples.is_on:
                samples.before(self.number, model, args, kwargs)

    @safely
    def _saw_input(self, model: nn.Module, args: Any) -> None:
        if torch.is_grad_enabled() and self._watch is not None:
            self._modes.trained(args)
            self._watch.saw_input(args)
        elif torch.is_grad_enabled():
            self._modes.num_in_row = 0
        elif model.training:
            self._told.add(self._modes.passed(self.number, args))
        else:
            self._told.add(self._modes.evaluates(self.number))

    @safely
    def _after_forward(self, model: nn.Module, args: Any, output: Any) -> None:
        if self._watch is not None and torch.is_grad_enabled():
            self._watch.saw_output(output)

    @safely
    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self._watch is not None:
            self._watch.before_step(optimizer)

    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Most steps only leave their numbers."""
        is_near = self.number + 1 >= self._next_look
        if is_near or not self._is_quiet or self._is_cuda or torch.compiler.is_compiling():
            self._look_after_step()
            return
        began = time.perf_counter()
        try:
            self.number += 1
            self._cost.stamps.append(began)
            self._columns.lrs.append(self._optimizers[0].param_groups[0]["lr"])
            if not self._model.training:
                self._told.add(self._modes.stepped_in_evaluation(self.number))
        except Exception as error:
            self._give_up(error)
        self._cost.own += time.perf_counter() - began

    @safely
    def _look_after_step(self) -> None:
        self.number = number = self.number + 1
        self._cost.stamps.append(time.perf_counter())
        self._columns.lrs.append(float(self._optimizers[0].param_groups[0]["lr"]))
        if number <= WATCHED + 1:
            self._cost.started()
        self._told.add(self._samples.after_step(number))
        self._told.add(self._modes.stepped(number))
        if self._watch is not None:
            self._look_at_first_step(self._watch)
            return
        if not self._model.training:
            self._told.add(self._modes.stepped_in_evaluation(number))
        self._told.add(self._later.after_step(number))
        if self._modes.has_heard and not (self._samples.is_on or self._setup.sensitive):
            remove(self._pass_hooks)
        self._next_look = min(self._later.next - 1, self._samples.next)
        self._is_quiet = self._later.is_idle and self._samples.is_idle and self._modes.is_idle

    # ------------------------------------------------------------ the first steps

    def _look_at(self, loss: Tensor) -> None:
        """The graph of a loss: of the step to come, or of the one that was just made."""
        watch = self._watch
        assert watch is not None
        last = self._steps[-1] if self._steps else None
        if last is not None and last.loss is None and not watch.has_arrived:
            self._steps[-1] = watch.late_loss(last, loss)
            self._judge()
            if self.number >= WATCHED:
                self._end_watch()
        else:
            watch.saw_loss(loss)

    def _look_at_first_step(self, watch: Watch) -> None:
        step = watch.after_step()
        self._steps.append(step)
        if step.number == 1:
            self._setup = watch.with_others()
        self._judge()
        is_complete = step.loss is not None or self._num_losses == 0
        if step.number > WATCHED or (step.number == WATCHED and is_complete):
            self._end_watch()

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._cost.hooks(self._watch.seconds)
            self._watch.stop()
            self._later.probe = self._watch.as_probe()
            self._watch = None
            remove(self._first_hooks)

    def _judge(self) -> None:
        self._columns.saw_graph(self._steps)
        self._told.add(structural(self._setup, self._steps))

    @safely
    def _close(self) -> None:
        self._told.close()

    @safely
    def _end(self) -> None:
        """The last look, and what looking has cost."""
        self._judge_end()
        self._told.add(self._modes.ended(self.number))
        if self.number:
            self._told.say(f"monitor: {self.number:,} steps, {self._cost}")

    def _judge_end(self) -> None:
        self._told.add(self._samples.judge())
        watch = self._watch
        if self.number == 0 and watch is not None and watch.has_arrived:
            self._told.add(never_moved(self._num_losses, watch.were_zeroed, self._begun))
        self._look_for_another()

    def _look_for_another(self) -> None:
        """Once, where losses come and the optimizers make no step any more; it costs some 50 ms."""
        num = self._columns.num_since
        if self._columns.has_stopped and self._looked_for_another_at != self.number:
            self._looked_for_another_at = self.number
            self._told.add(stepped_by_another(self._model, self._optimizers, self.number, num))

    # ------------------------------------------------------------ findings, faults

    def _give_up(self, error: Exception) -> None:
        self.fault = f"{type(error).__name__}: {error}"
        self._is_quiet = False
        try:
            self._stop()
            self._told.say(f"the monitor stopped looking: {self.fault}")
        except Exception:
            return

    def _stop(self) -> None:
        for hooks in (self._handles, self._pass_hooks, self._first_hooks):
            remove(hooks)
        self._begun.clear()
        self._samples.stop()
        self._later.stop()
        if self._watch is not None:
            self._watch.stop()
        self._watch = None


def monitor(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    *,
    tell: Callable[[str], None] | None = say,
    alert: Alert | str | None = None,
    share: float = 0.01,
) -> Monitor:
    """Look at a loop of one's own, beside any torch optimizer, and say what is wrong with it.

    optimizer: or several, in the order in which they step
    tell: where sentences go, by default stderr; alert: an address or a command, see `Alert`
    share: of the time of the steps that later looks may take, 0 to 1; those at the start come on
    top
    Nothing of the training is changed: the numbers are the same, to the bit, with and without. A
    fault inside is told once, and the monitor is silent from then on. Raises UsageError for
    settings out of range.

    >>> import torch, thalweg
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with thalweg.monitor(net, optimizer, tell=None) as monitor:
    ...     for _ in range(3):
    ...         x, y = torch.randn(8, 4), torch.randint(3, (8,))
    ...         loss = torch.nn.functional.cross_entropy(net(x), y)
    ...         loss.backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    ...         monitor(loss)
    >>> [finding.code for finding in monitor.findings], monitor.verdict().healthy
    (['TW305'], False)
    """
    optimizers = watched(model, optimizer, share)
    sent = Alert(alert) if isinstance(alert, str) else alert
    return Monitor(model, optimizers, tell=tell, alert=sent, share=share)
