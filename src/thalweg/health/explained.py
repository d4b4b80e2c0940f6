"""What a cause that was seen in the program explains need not be told of its curves as well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from thalweg.types import Finding

EFFECTS = frozenset(
    {"TW005", "TW102", "TW103", "TW104", "TW202", "TW203", "TW204", "TW301", "TW302", "TW303"}
)
"""What a curve shows whatever keeps a model from learning: slow, at chance, unsure, lifeless."""

MORE_EFFECTS = {
    "TW206": {"TW003", "TW207"},
    "TW207": {"TW206"},
    "TW208": {"TW101"},
    "TW308": {"TW003"},
    "TW310": {"TW003", "TW207"},
}
"""By cause, what else it does to a curve."""

CERTAIN = 0.75
"""A cause that is surer explains."""


def unexplained(seen: Iterable[Finding], read: Sequence[Finding]) -> list[Finding]:
    """Of what was read from curves, what no cause explains that was seen in the program itself.

    seen: of the model, its first steps and its samples; read: of a log

    >>> cause = Finding("TW305", "", "act", 1, 0.95, {"what": "softmax twice"}, "")
    >>> effect = Finding("TW104", "", "act", 1, 0.7, {"says": "the loss stands still"}, "")
    >>> unexplained([cause], [effect]), len(unexplained([], [effect]))
    ([], 1)
    """
    causes = {each.code for each in seen if _is_cause(each)}
    if not causes:
        return list(read)
    hidden = EFFECTS.union(*(MORE_EFFECTS.get(code, ()) for code in causes))
    return [each for each in read if "says" not in each.evidence or each.code not in hidden]


def _is_cause(finding: Finding) -> bool:
    is_seen = "what" in finding.evidence
    return is_seen and finding.severity == "act" and finding.confidence >= CERTAIN
