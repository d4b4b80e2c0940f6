"""The verdict on a run while it goes: said each time that it changes; causes tried if asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from thalweg.errors import ThalwegError
from thalweg.health.diagnosis import so_far
from thalweg.health.tried import NEEDS, Tried, confirmed, kept
from thalweg.loop.alerts import Alert
from thalweg.record import Memory, Record
from thalweg.record.as_log import as_log
from thalweg.types import TRIALS, Event, Finding, Step, Verdict

SHARE, WITH_TRIALS = 0.02, 0.1
"""Of the time that has passed, at most this much goes into looking; more where trials, which hang
on what is seen, were asked for."""


class Live:
    """Looks at evaluations, where looking was cheap so far; `tell` hears of what is new.

    It reports and does nothing else. `seconds` is what it took, that of trials apart.
    trials: makes them, for findings that need an act, once in the run; None: they were not asked
    for. The run is the same to the bit with and without; the record keeps what they showed.
    alert: gets findings that need an act, after trials where there are any
    """

    def __init__(
        self,
        record: Record | Memory,
        tell: Callable[[str], None],
        trials: Callable[[Sequence[Finding], int], Tried] | None = None,
        alert: Alert | None = None,
    ):
        self._record, self._tell, self._trials, self._alert = record, tell, trials, alert
        self._share = SHARE if trials is None else WITH_TRIALS
        self._begun = time.perf_counter()
        self._said: set[str] = set()
        self.seconds = 0.0

    def see(self, step: Step) -> None:
        """Look, where the step brought an evaluation and the time is there."""
        if step.evaluation is None:
            return
        now = time.perf_counter()
        if self.seconds > self._share * (now - self._begun):
            return
        log = as_log(self._record.history(), "this run")
        self._trials = None if log.trials else self._trials
        verdict = so_far(log)
        self._report(verdict, step.number)
        self.seconds += time.perf_counter() - now
        self._send(self._tried(verdict.findings, step.number))

    def _send(self, findings: Sequence[Finding]) -> None:
        """To the alert, which sends each finding that needs an act once; what failed is told."""
        if self._alert is not None:
            self._alert.send_all(findings)
            if problem := self._alert.news():
                self._tell(f"alert: {problem}")

    def _tried(self, findings: Sequence[Finding], number: int) -> Sequence[Finding]:
        """The first time that a finding asks for trials: make them, and say what they show. The
        findings, as sure as they are by then.
        """
        asking = [each for each in findings if each.severity == "act" and each.code in NEEDS]
        if self._trials is None or not asking:
            return findings
        trials, self._trials, begun = self._trials, None, time.perf_counter()
        try:
            tried = trials(asking, number)
        except ThalwegError as error:
            self._tell(f"step {number:,}: no trials: {error}")
            self._record.event(Event(number, TRIALS, f"none could be made: {error}"))
            return findings
        seconds = time.perf_counter() - begun
        self._tell(
            f"step {number:,}: trials, {tried.steps:,} steps of {tried.budget:,} in {seconds:.1f} s"
        )
        for line in str(tried).splitlines():
            self._tell(line)
        lines = "; ".join(str(tried).splitlines())
        text = f"{tried.steps:,} steps of {tried.budget:,}: {lines}"
        self._record.event(Event(number, TRIALS, text, kept(tried, asking)))
        surer = confirmed(findings, tried)
        for each in [each for each in surer if each.code in {row.code for row in asking}]:
            self._tell(f"{each.code} {each.name}: {100 * each.confidence:.0f}% sure after trials")
        return surer

    def _report(self, verdict: Verdict, number: int) -> None:
        """One line for each finding that was not there at the last look; and for one that went."""
        new = {each.code: each for each in verdict.findings}
        for code in sorted(new.keys() - self._said):
            each = new[code]
            self._tell(
                f"step {number:,}: {each.name} ({code}, {100 * each.confidence:.0f}% sure): "
                f"{each.evidence['says']}; {each.advice}"
            )
        for code in sorted(self._said - new.keys()):
            self._tell(f"step {number:,}: {code} is no longer seen")
        self._said = set(new)
