"""A row of the report: what was measured, its goal, whether it is met."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.facts import table
from benchmarks.steps.clock import Plan, Timing

FLOAT32 = "float32 elements, float64 coefficients"


@dataclass(frozen=True, slots=True)
class Setting:
    """What the command asks for.

    threads: the counts of torch's threads to measure with
    is_quick: tiny sizes, to see that all works
    compiles: measure peers that compile for a minute, too
    """

    threads: Sequence[int]
    plan: Plan
    is_quick: bool = False
    compiles: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured number.

    value: in `unit` ("ratio": our time by theirs); goal: at most this, or at least this if
    is_floor; None for information
    peer: what it is compared with; times_us: microseconds a call of all that ran
    samples: undisturbed and all samples of each
    """

    number: int
    what: str
    threads: int
    value: float
    unit: str = "ratio"
    goal: float | None = None
    is_floor: bool = False
    peer: str = ""
    ours_us: float | None = None
    peer_us: float | None = None
    times_us: dict[str, float] = field(default_factory=dict)
    samples: dict[str, list[int]] = field(default_factory=dict)
    is_disturbed: bool = False
    arithmetic: str = FLOAT32
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.is_floor else self.value <= self.goal

    def as_json(self) -> dict[str, Any]:
        """All of it that says something."""
        fields = {**asdict(self), "is_met": self.is_met}
        return {key: value for key, value in fields.items() if value not in ("", None, {})}


def compared(
    timings: Mapping[str, Timing],
    *,
    ours: str,
    peers: Sequence[str],
    **fields: Any,
) -> Row:
    """Our median by that of the quickest of the peers."""
    times = {name: microseconds(timing) for name, timing in timings.items()}
    peer = min(peers, key=times.__getitem__)
    return Row(
        value=round(times[ours] / times[peer], 4),
        peer=peer,
        ours_us=times[ours],
        peer_us=times[peer],
        **about(timings, [ours, peer]),
        **fields,
    )


def about(timings: Mapping[str, Timing], needed: Sequence[str]) -> dict[str, Any]:
    """The fields of a row that say how well it was measured."""
    return {
        "times_us": {name: microseconds(timing) for name, timing in timings.items()},
        "samples": {name: [len(t.kept), len(t.taken)] for name, t in timings.items()},
        "is_disturbed": any(timings[name].is_disturbed for name in needed),
    }


def microseconds(timing: Timing) -> float:
    return round(1e6 * timing.median, 2)


def shown(rows: Sequence[Row]) -> str:
    """The rows as a plain table."""
    heads = ["row", "threads", "value", "goal", "met", "ours", "peer", "quickest peer"]
    return table(
        heads,
        [
            [
                f"{row.number} {row.what}",
                str(row.threads),
                f"{row.value:.3g} {row.unit}",
                _goal(row),
                {None: "-", True: "yes", False: "NO"}[row.is_met] + "?" * row.is_disturbed,
                _time(row.ours_us),
                _time(row.peer_us),
                row.peer,
            ]
            for row in rows
        ],
    )


def _goal(row: Row) -> str:
    if row.goal is None:
        return "-"
    return f"{'>=' if row.is_floor else '<='} {row.goal:.3g}"


def _time(us: float | None) -> str:
    if us is None:
        return "-"
    return f"{us / 1e3:.3g} ms" if us >= 1e3 else f"{us:.3g} us"
