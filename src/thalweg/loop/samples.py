"""Samples: what a monitored model is given, looked at as often as it is cheap.

The first batches are all looked at; later ones at random, as few as their cost asks for.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.health.data import in_samples
from thalweg.loop.cost import MANY, Cost
from thalweg.loop.seen import Seen
from thalweg.probes.answers import IGNORED, Answer
from thalweg.probes.quiet import Ear, remove
from thalweg.probes.rows import inputs_of, labels_of, targets_of
from thalweg.types import Finding

ALWAYS = 30
"""Batches at the start that are all looked at."""

EVALUATIONS_ALWAYS = 3
LEAST_AWAY, MOST_AWAY = 30, 2000
"""Steps between two times that what was seen is judged."""

MOST_WAITING = 100_000
"""Rows that are kept unread."""


class Samples:
    """Looks at what goes into a model between `start` and `stop`. share: of the steps' time that
    it may take; fail: is told of a fault in here

    wait: passes in training that are still to be left out; num_passes: since the last loss;
    num_skipped: since the last one that was looked at. Who is in a hurry counts a pass by itself.
    next: the step after which it is judged again; is_open: a look waits for its loss
    """

    def __init__(self, cost: Cost, *, share: float, fail: Callable[[Exception], None]):
        self.is_on = False
        self._cost = cost
        self._share = share / 2  # one half for taking in, one for judging
        self._fail = fail
        self._seen = Seen()
        self._handles: list[Any] = []
        self._random = random.Random(0)
        self._num_looks = 0
        self._num_answers = 0
        self.num_passes = 0
        self.num_skipped = 0
        self.wait = 0
        self._is_drawn = False
        self._taken = 0.0
        self._lasting: deque[float] = deque(maxlen=3)
        self.is_open = False
        self._answer: Answer | None = None
        self._trains = False
        self._evaluated_at = -1
        self._num_evaluations = 0
        self._is_enough = False
        self._evaluating = 0.0
        self.next = ALWAYS

    def start(self) -> None:
        """Look from now on."""
        self.is_on = True

    def stop(self) -> None:
        """Look no more, and let go of every tensor."""
        self.is_on = False
        self.wait = MANY
        remove(self._handles)
        self._close()
        self._seen = Seen()

    # ------------------------------------------------------------ passes

    @property
    def is_idle(self) -> bool:
        """Can the next passes be left out?"""
        return self._is_drawn or not self.is_on

    def before(self, number: int, model: nn.Module, args: Any, kwargs: Any) -> None:
        """The model is about to run, after so many steps."""
        is_training = torch.is_grad_enabled() and (model.training or not self._trains)
        if is_training and self.wait:
            self.wait -= 1
            self.num_passes += 1
            self.num_skipped += 1
            return
        if not is_training and self._is_enough and self._evaluated_at == number:
            return
        if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
            return
        began = time.perf_counter()
        self._seen.skipped(self.num_skipped)
        self.num_skipped = 0
        try:
            if is_training:
                self._train(number, model, (args, kwargs))
            else:
                self._evaluate(number, (args, kwargs))
        except Exception as error:  # nothing here may end a training
            self._fail(error)
        taken = time.perf_counter() - began
        self._cost.hooks(taken)
        if is_training:
            self._taken += taken
            self._cost.start += taken if self._num_looks <= ALWAYS else 0.0
        else:
            self._evaluating += taken

    def _train(self, number: int, model: nn.Module, given: Any) -> None:
        self._trains = self._trains or model.training
        self.num_passes += 1
        self._close()
        inputs = inputs_of(given)
        if not inputs:
            self._seen.skipped(1)
            return
        self._seen.trained(number + 1, inputs, labels_of(given))
        self._num_looks += 1
        self._is_drawn = False
        self._taken = 0.0
        self.is_open = True
        self._handles.append(model.register_forward_hook(Ear(self._after)))

    def _after(self, model: nn.Module, args: Any, output: Any) -> None:
        """The model gave this."""
        remove(self._handles)
        is_usual = type(output) is Tensor and output.requires_grad
        if is_usual and torch.is_grad_enabled():
            self._answer = Answer(output)

    def _evaluate(self, number: int, given: Any) -> None:
        if self._evaluated_at != number:
            self._evaluated_at = number
            self._num_evaluations += 1
            is_cheap = self._evaluating <= self._share * self._cost.total
            self._is_enough = not (is_cheap or self._num_evaluations <= EVALUATIONS_ALWAYS)
        inputs = inputs_of(given)
        if inputs and not self._is_enough:
            self._is_enough = self._seen.evaluated(number, inputs)

    # ------------------------------------------------------------ what the monitor passes on

    def saw_loss(self, loss: Tensor | float) -> None:
        """Of the last pass, with its targets where they can be had."""
        is_one = self.num_passes == 1
        self.num_passes = 0
        if not self.is_open or not is_one or not isinstance(loss, Tensor) or loss.grad_fn is None:
            return
        began = time.perf_counter()
        found = targets_of(loss)
        if found is None and self._answer is not None:
            found = self._answer.targets(loss), IGNORED
        if found is not None and found[0] is not None:
            self._num_answers += 1
            self._seen.answered(found[0], found[1])
        self._close()
        self._taken += time.perf_counter() - began

    def told(self, number: int) -> None:
        """The passes since this step were an evaluation."""
        self._seen.told(number)

    def after_step(self, number: int) -> list[Finding]:
        """A step was made; what is found, when it is time to look."""
        if not self.is_on:
            return []
        if self._share == 0 and self._num_looks:
            self.stop()
            return []
        if self._num_looks >= ALWAYS and not self._is_drawn:
            self._lasting.append(self._taken)
            away = self._cost.steps_for(min(self._lasting), self._share)
            self.wait = self._random.randrange(2 * away)
            self._is_drawn = True
        if number < self.next and self._seen.num_waiting < MOST_WAITING:
            return []
        began = time.perf_counter()
        found = self.judge()
        taken = time.perf_counter() - began
        self._cost.start += taken if self.next == ALWAYS else 0.0
        away = self._cost.steps_for(taken, self._share)
        self.next = number + max(LEAST_AWAY, min(number // 2, MOST_AWAY), away)
        return found

    def judge(self) -> list[Finding]:
        """What is wrong with what was seen so far."""
        return list(in_samples(self._seen.facts())) if self._num_looks else []

    def not_seen(self) -> Iterator[str]:
        """What could not be looked at, and why."""
        if self._num_looks >= ALWAYS and not self._num_answers:
            yield "order and shares of the targets: show the loss before its backward pass"

    def _close(self) -> None:
        self.is_open = False
        if self._answer is not None:
            self._answer.close()
            self._answer = None
