"""What a cause that was seen explains is not told once more; what it does not explain is."""

from __future__ import annotations

import pytest

from thalweg.health.explained import unexplained
from thalweg.loop.told import Told
from thalweg.types import Finding


def seen(code: str, sure: float = 0.95, severity: str = "act") -> Finding:
    return Finding(code, "a cause", severity, 1, sure, {"what": "seen"}, "mend it")


def read(code: str) -> Finding:
    return Finding(code, "an effect", "act", 9, 0.7, {"says": "read"}, "mend it")


@pytest.mark.parametrize(
    ("cause", "effect"), [("TW305", "TW104"), ("TW309", "TW202"), ("TW207", "TW206")]
)
def test_effects_of_a_cause_are_left_out(cause, effect):
    assert unexplained([seen(cause)], [read(effect)]) == []


@pytest.mark.parametrize(
    ("cause", "effect"),
    [
        (seen("TW305"), "TW001"),  # no softmax makes a NaN
        (seen("TW304", sure=0.6), "TW104"),
        (seen("TW307", severity="warn"), "TW104"),
        (read("TW305"), "TW104"),  # two curves' findings: their own rules say what hides what
    ],
)
def test_what_it_does_not_explain_is_told(cause, effect):
    other = read(effect)
    assert unexplained([cause], [other]) == [other]


def test_told_once_the_cause_is_known():
    lines: list[str] = []
    told = Told(lines.append, None)
    told.add([seen("TW305")])
    told.add([read("TW104"), read("TW001")])
    assert [each.code for each in told.findings] == ["TW305", "TW001"]
    assert told.new([read("TW104"), read("TW001"), read("TW403")]) == [read("TW403")]
    assert len(lines) == 2
