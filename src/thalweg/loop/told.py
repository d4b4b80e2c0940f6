"""Findings as they are told: each once, in a line, and to an alert where they need an act."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from thalweg.health.explained import unexplained
from thalweg.loop.alerts import Alert
from thalweg.types import Finding


def say(text: str) -> None:
    """A line on stderr."""
    print(f"thalweg: {text}", file=sys.stderr)


class Told:
    """Keeps findings, oldest first. tell: where lines go; None: nowhere"""

    def __init__(self, tell: Callable[[str], None] | None, alert: Alert | None):
        self.findings: list[Finding] = []
        self._tell = tell
        self._alert = alert

    def add(self, found: Iterable[Finding]) -> None:
        """Keep what is new and not explained by what is known, and tell it; an act takes the place
        of the warning of its code.
        """
        for finding in unexplained(self.findings, list(found)):
            known = {row.code: row.severity for row in self.findings}
            if known.get(finding.code) in ("act", finding.severity):
                continue
            self.findings = [row for row in self.findings if row.code != finding.code]
            self.findings.append(finding)
            self.say(in_words(finding))
            if self._alert is not None:
                self._alert.send(finding)

    def new(self, read: Sequence[Finding]) -> list[Finding]:
        """Of what was read from curves, what is neither told yet nor explained by what is."""
        known = {row.code for row in self.findings}
        return [each for each in unexplained(self.findings, read) if each.code not in known]

    def say(self, text: str) -> None:
        """Tell a line."""
        if self._tell is not None:
            self._tell(text)

    def close(self) -> None:
        """Let the alert finish, at most 5 seconds."""
        if self._alert is not None:
            self._alert.close()
            if problem := self._alert.news():
                self.say(f"alert: {problem}")


def in_words(finding: Finding) -> str:
    """ "step 2: TW308 gradients that are never zeroed (95% sure): ... Try: ..." """
    what = finding.evidence.get("what") or finding.evidence.get("says", finding.name)
    sure = f"{finding.code} {finding.name} ({finding.confidence:.0%} sure)"
    return f"step {finding.since_step}: {sure}: {what}. Try: {finding.advice}"
