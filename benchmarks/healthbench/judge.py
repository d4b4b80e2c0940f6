"""Which runs count as healthy, which as faulty, and which as neither.

A run without a fault is healthy where

- every loss is finite, and
- every class is found at least once (not asked of the ten tasks: their labels stay), and
- it is in reach of the task's best: at least 85% of what the best tenth of the usual runs gained
  over chance (70% where something hard is planted), among networks of the same body, and
- it ends at its best: the final validation loss is at most 1.10 x its own least, or at most 1.25 x
  with an accuracy (r2) within 1.5 points of its best.

Finals are medians of three evaluations; losses that may be negative are counted from their floor
(`objectives`). A fault counts where its run is harmed: its final
validation loss is more than 3 spreads above that of the twin, which is the run without the fault of
the same task, recipe and seed. A spread is the standard deviation over the seeds of the twin's
recipe, as far as they are healthy, but at least 2% of the loss. Faults of another kind have rules
of their own (`RULES`); bugs in a program's structure, leaks and what is wrong with the machine
count by definition, whatever their harm. All others are "neither"; faults that need a twin and have
none, or one that is not healthy, are "no twin".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.healthbench.planted import PLANTED
from benchmarks.healthbench.planted.row import Planted
from benchmarks.healthbench.portions import PORTIONS, TUNING

Meta = dict[str, Any]

REACH, REACH_HARD = 0.85, 0.70
NEAR_LEAST, FURTHER, POINTS = 1.10, 1.25, 0.015
SPREADS, LEAST_SPREAD, LEAST_ERROR_SPREAD = 3.0, 0.02, 0.005
STUCK, DIVERGED, INACTIVE = 0.05, 1.5, 0.8

RISE, DROP, PLATEAU = 1.2, 0.15, 1.3
"""Overfitting: the final validation loss in terms of the least; forgetting: accuracy lost; a
plateau: the final training loss in terms of the twin's
"""


def judged(metas: Iterable[Meta]) -> list[Meta]:
    """The same runs of one task, each with status, codes, is_effective, rule (by which it is or is
    not), harm in spreads of the loss and harm_error in spreads of the error (NaN without a twin).
    """
    rows = list(metas)
    usual = {_key(row): row for row in rows if _is_usual(row)}
    task = Standing(list(usual.values()))
    return [row | task.verdict(row, usual.get(_key(row))) for row in rows]


def _is_usual(row: Meta) -> bool:
    return row["fault"] is None and row["hard"] is None


def _key(row: Meta) -> tuple[str, int]:
    return row["run"]["recipe"], row["run"]["seed"]


def _body(row: Meta) -> str:
    """A transformer is held against transformers."""
    return row["recipe"]["shape"]["body"]


class Standing:
    """What the usual runs of a task say: how good it gets, and how far seeds lie apart."""

    def __init__(self, usual: list[Meta]):
        losses: dict[str, list[float]] = defaultdict(list)
        for row in usual:
            if np.isfinite(row["outcome"]["honest_loss"]):
                losses[_body(row)].append(row["outcome"]["honest_loss"])
        self._best = {body: float(np.quantile(found, 0.1)) for body, found in losses.items()}
        self._finals: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in usual:
            if self.is_healthy(row, row):
                pair = row["outcome"]["honest_loss"], error_of(row)
                self._finals[row["run"]["recipe"]].append(pair)

    def verdict(self, row: Meta, twin: Meta | None) -> dict[str, Any]:
        """Of a run."""
        if row["fault"] is None:
            is_healthy = self.is_healthy(row, twin)
            return {
                "status": "healthy" if is_healthy else "neither",
                **{"harm": 0.0, "harm_error": 0.0, "is_effective": False, "codes": []},
                "rule": "",
            }
        planted = PLANTED[row["fault"]]
        found = {"rule": planted.rule, "codes": codes(row), "is_effective": False}
        harm = harm_error = np.nan
        if twin is not None and self.is_healthy(twin, twin):
            harm, harm_error = self.harms(row, twin)
        elif planted.rule in AGAINST_TWIN:
            return found | {"status": "no twin", "harm": harm, "harm_error": harm}

        is_effective = RULES[planted.rule](row, twin or row, harm)
        found |= {"harm": harm, "harm_error": harm_error, "is_effective": is_effective}
        return found | {"status": "fault" if is_effective else "neither"}

    def is_healthy(self, row: Meta, twin: Meta | None) -> bool:
        """By the rules at the head of this file."""
        how = row["outcome"]
        planted = PLANTED.get(row["hard"] or "")
        if not how["is_finite"]:
            return False
        if PORTIONS[row.get("part", TUNING)].finds_all and how.get("num_missed"):
            return False
        if planted is not None and planted.rule == "missed":
            return how["num_missed"] == 0 and _ends_well(how) and _is_balanced(row, twin)

        chance = row["chance_loss"]
        best = self._best.get(_body(row), np.nan)
        gain = (chance - how["honest_loss"]) / (chance - best)
        is_in_reach = gain >= (REACH if planted is None else REACH_HARD)
        if planted is not None and planted.rule == "honest":
            return is_in_reach
        return is_in_reach and _ends_well(how)

    def harms(self, row: Meta, twin: Meta) -> tuple[float, float]:
        """By loss and by error; infinite where the run has no number at its end.

        Where what is logged is another loss there is no harm by loss: that by error stands for it.
        """
        finals = np.array(self._finals[row["run"]["recipe"]])
        loss, error = twin["outcome"]["honest_loss"], error_of(twin)
        spreads = np.nanstd(finals, axis=0, ddof=1) if len(finals) > 1 else np.zeros(2)
        spread = max(float(spreads[0]), LEAST_SPREAD * loss)
        spread_error = max(float(spreads[1]), LEAST_ERROR_SPREAD)
        by_error = _or_endless((error_of(row) - error) / spread_error)
        by_loss = _or_endless((row["outcome"]["honest_loss"] - loss) / spread)
        return (by_error if has_other_loss(row) else by_loss), by_error


def error_of(row: Meta) -> float:
    """1 - accuracy or 1 - r2 at the end, scored honestly."""
    how = row["outcome"]
    return 1 - how.get("honest_accuracy", how.get("honest_r2", np.nan))


def has_other_loss(row: Meta) -> bool:
    """The run logs a loss that cannot be set beside its twin's."""
    planted = PLANTED.get(row["fault"] or "")
    return planted is not None and (planted.codes[0] == "TW305" or planted.rule == "error")


def _or_endless(value: float) -> float:
    return float(value) if np.isfinite(value) else np.inf


def _ends_well(how: Meta) -> bool:
    ratio = how["final_loss"] / how["least_loss"]
    is_near = how["final_error"] - how["least_error"] <= POINTS
    return ratio <= NEAR_LEAST or (ratio <= FURTHER and is_near)


def _is_balanced(row: Meta, twin: Meta | None) -> bool:
    """Nearly as good a balanced accuracy as with all samples."""
    if twin is None:
        return False
    name = "honest_balanced_accuracy"
    return row["outcome"][name] >= 0.8 * twin["outcome"][name]


def _by_harm(row: Meta, twin: Meta, harm: float) -> bool:
    return harm > SPREADS


def _by_plateau(row: Meta, twin: Meta, harm: float) -> bool:
    """The training loss, too, stays higher than the twin's; else it is no plateau."""
    is_higher = not row["outcome"]["end_loss"] < PLATEAU * twin["outcome"]["end_loss"]
    return harm > SPREADS and is_higher


def _by_rise(row: Meta, twin: Meta, harm: float) -> bool:
    how = row["outcome"]
    return not how["final_loss"] < RISE * how["least_loss"]


def _by_spikes(row: Meta, twin: Meta, harm: float) -> bool:
    """At least half of those planted stand out of the losses before them."""
    return 2 * row["outcome"]["spikes_seen"] >= len(row["notes"]["spike_steps"])


def _by_honest(row: Meta, twin: Meta, harm: float) -> bool:
    """Duplicates: what is logged is better by a fifth than what is true."""
    how = row["outcome"]
    return not how["final_loss"] > 0.8 * how["honest_loss"]


def _is_misread(how: Meta) -> bool:
    """What is logged is worse by a quarter than what is true."""
    return not how["final_loss"] < FURTHER * how["honest_loss"]


AGAINST_TWIN = ("harm", "error", "plateau")

RULES: dict[str, Callable[[Meta, Meta, float], bool]] = {
    "harm": _by_harm,
    "error": _by_harm,
    "plateau": _by_plateau,
    "definition": lambda row, twin, harm: True,
    "nonfinite": lambda row, twin, harm: not row["outcome"]["is_finite"],
    "spikes": _by_spikes,
    "rise": _by_rise,
    "missed": lambda row, twin, harm: row["outcome"]["num_missed"] > 0,
    "honest": _by_honest,
    "misread": lambda row, twin, harm: _is_misread(row["outcome"]),
    "forgotten": lambda row, twin, harm: row["outcome"]["earlier_drop"] >= DROP,
}


def codes(row: Meta) -> list[str]:
    """True codes, the main cause first: what was planted, then what else can be seen of the run."""
    planted = PLANTED[row["fault"]]
    main = _of_high_rate(row, planted) if planted.high_rate else planted.codes
    return list(dict.fromkeys([*main, *_signs(row)]))


def seen_by(row: Meta) -> list[str]:
    """The main code, and what the outcome shows: by these one can know that the run is faulty."""
    return list(dict.fromkeys([codes(row)[0], *_signs(row)]))


def _of_high_rate(row: Meta, planted: Planted) -> tuple[str, ...]:
    """NaN: TW001; above 1.5 x chance at the end: TW002; dead units after one kick: TW301; else the
    loss swings high, or has got stuck: TW101
    """
    how = row["outcome"]
    if not how["is_finite"]:
        return "TW001", "TW002", "TW101"
    if how["end_loss"] > DIVERGED * row["chance_loss"]:
        return "TW002", "TW101", "TW001"
    if planted.name == "rate-kick":
        return ("TW301", *planted.codes) if how["dead"] > 0.5 else planted.codes
    return planted.codes


def _signs(row: Meta) -> list[str]:
    """What a reader of the run would be right to say, too."""
    how, chance = row["outcome"], row["chance_loss"]
    found = {
        "TW001": not how["is_finite"],
        "TW301": how["dead"] >= INACTIVE,
        "TW302": how["saturated"] >= INACTIVE,
        "TW201": how["is_finite"] and how["final_loss"] > FURTHER * how["least_loss"],
    }
    if not has_other_loss(row):
        is_stuck = abs(how["end_loss"] / chance - 1) < STUCK
        found["TW104"] = is_stuck and how["least_loss"] > (1 - 2 * STUCK) * chance
        found["TW002"] = how["end_loss"] > DIVERGED * chance
    return [code for code, is_so in found.items() if is_so]
