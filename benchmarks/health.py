"""FaultBench: what `thalweg.health` says of some 2,300 runs of which it is known what is wrong.

    make faultbench-data                     the runs, once
    python -m benchmarks.health              tables of the tuning tasks
    python -m benchmarks.health --held-out   of the others: what was reported first
    python -m benchmarks.health --unseen     of tasks that nothing was looked at on
    python -m benchmarks.health --fresh      of eight more, of other networks and losses
    python -m benchmarks.health --as hf      each run as Hugging Face's Trainer would have logged it

Baselines of the field look at the same columns (`benchmarks/healthbench/baselines.py`).
"""

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.facts import RESULTS, machine, table, write_json
from benchmarks.healthbench.asked import add_part
from benchmarks.healthbench.baselines import BASELINES
from benchmarks.healthbench.exact import interval
from benchmarks.healthbench.monitored import first_findings
from benchmarks.healthbench.store import load
from benchmarks.healthbench.written import FORMATS, as_written, is_visible
from thalweg.health.diagnosis import OWN_FAULT, diagnose, so_far
from thalweg.health.effects import unexplained
from thalweg.record.foreign.log import Log, Series
from thalweg.types import Verdict

BINS = ((0.0, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01))
"""Of confidence: a bin with fewer than 60 findings is merged with its neighbour."""
LEAST = 60

SPIKES, SPIKED = "TW003", ("spikes", "other-unit")

CUTS = (0.08, 0.16, 0.25, 0.4, 0.55, 0.7, 0.85)
"""Shares of a run at which it is looked at while it goes."""


@dataclass
class Row:
    """One run and what was said of it. findings: (code, severity, confidence), the first first.

    is_visible: a fault that one can know of from this log (`written.is_visible`)
    """

    meta: dict[str, Any]
    findings: list[tuple[str, str, float]]
    state: str
    others: dict[str, bool] = field(default_factory=dict)
    on_the_way: bool | None = None
    is_visible: bool = True

    @property
    def is_healthy(self) -> bool:
        return self.meta["status"] == "healthy"

    @property
    def codes(self) -> list[str]:
        return [code for code, _, _ in self.findings]


def main(arguments: Sequence[str] | None = None) -> int:
    """Diagnose the stored runs, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.health", description=__doc__)
    add_part(parser)
    parser.add_argument("--live", action="store_true", help="with the monitor's first steps")
    parser.add_argument("--tasks", nargs="+", default=None)
    parser.add_argument("--show", default="", help="name each run of this fault, or 'healthy'")
    parser.add_argument("--as", dest="format", choices=FORMATS, help="written and read again")
    parser.add_argument("--every", type=int, default=None, help="steps between rows, with --as")
    parser.add_argument("--going", action="store_true", help="healthy runs, while they go, too")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--to", type=Path, default=None)
    asked = parser.parse_args(arguments)
    how = Look(asked.live, asked.going, asked.format, asked.every)
    rows = diagnosed(asked.tasks or (), asked.part, how, jobs=asked.jobs)
    if not rows:
        print("there are no runs yet: make faultbench-data", file=sys.stderr)
        return 1
    report = summary(rows)
    print(text_of(report))
    if asked.show:
        print("\n".join(shown(rows, asked.show)))
    if asked.to is not None or (asked.part != "tuning" and not asked.format):
        name = f"health-{asked.part}.json"
        facts = {"schema": 1, "machine": machine(threads=1), **report}
        write_json(facts, asked.to or RESULTS / name)
    return 0


@dataclass(frozen=True, slots=True)
class Look:
    """How runs are looked at.

    live: with what the monitor says of their first steps and of their samples; else the log alone
    going: healthy runs are also diagnosed as they stood at `CUTS`
    format, every: of the file that each is written to first, and the steps between its rows
    """

    live: bool = False
    going: bool = False
    format: str | None = None
    every: int | None = None


def diagnosed(tasks: Sequence[str], part: str, how: Look, *, jobs: int = 1) -> list[Row]:
    """Every run that counts: healthy ones, and faults that did harm."""
    look = partial(row_of, how=how)
    runs = load(tasks, part=part, only=("healthy", "fault"))
    if jobs == 1:
        return [look(each) for each in runs]
    with multiprocessing.Pool(jobs) as pool:
        return list(pool.imap(look, runs, chunksize=8))


def row_of(each: tuple[dict[str, Any], Log], how: Look) -> Row:
    """What is said of one run: of its structure first, then what the whole log says, each once."""
    meta, log = each
    whole = log
    if how.format is not None:
        log = as_written(meta, whole, how.format, how.every)
    verdict = diagnose(log)
    if verdict.not_checkable and verdict.not_checkable[0].startswith(OWN_FAULT):
        raise RuntimeError(f"{meta['name']}: {verdict.not_checkable[0]}")
    first = first_findings(meta) if how.live else []
    found = [*first, *unexplained(first, verdict.findings)]
    once = {finding.code: finding for finding in reversed(found)}
    kept = [finding for finding in found if once[finding.code] is finding]
    said = [(finding.code, finding.severity, finding.confidence) for finding in kept]
    others = {} if how.format else {name: rule(log) for name, rule in BASELINES.items()}
    row = Row(meta, said, verdict.state, others)
    if how.going and row.is_healthy:
        row.on_the_way = any(_acts(so_far(cut(log, share))) for share in CUTS)
    if how.format is not None and not row.is_healthy:
        row.is_visible = is_visible(meta, whole, log, how.format, how.every)
    return row


def _acts(verdict: Verdict) -> bool:
    return any(finding.severity == "act" for finding in verdict.findings)


def cut(log: Log, share: float) -> Log:
    """The log as it stood at this share of its steps."""
    end = share * log.series["loss"].steps[-1]
    series = {
        name: Series(row.name, row.steps[row.steps <= end], row.values[row.steps <= end])
        for name, row in log.series.items()
    }
    return replace(log, series=series, rows=int(end))


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of the issue, each with its exact interval."""
    healthy = [row for row in rows if row.is_healthy]
    faulty = [row for row in rows if not row.is_healthy and row.is_visible]
    acts = [row for row in healthy if any(severity == "act" for _, severity, _ in row.findings)]
    alarms = [row for row in healthy if row.findings]
    hard = [row for row in healthy if row.meta["hard"]]
    found = [row for row in faulty if row.findings]
    first = [row for row in faulty if row.codes and row.codes[0] in row.meta["codes"]]
    named = [row for row in faulty if set(row.codes) & set(row.meta["codes"])]
    return {
        "healthy_alarm": rate(len(alarms), len(healthy)),
        "healthy_act": rate(len(acts), len(healthy)),
        "healthy_act_on_the_way": rate(
            sum(bool(row.on_the_way) for row in healthy),
            sum(row.on_the_way is not None for row in healthy),
        ),
        "hard_healthy_alarm": rate(sum(bool(row.findings) for row in hard), len(hard)),
        "recall": rate(len(found), len(faulty)),
        "cause_first": rate(len(first), len(faulty)),
        "cause_named": rate(len(named), len(faulty)),
        **spikes(healthy, faulty),
        "unknown": rate(sum(row.state == "unknown" for row in rows), len(rows)),
        "faults_not_visible": len(rows) - len(healthy) - len(faulty),
        "calibration": calibration(rows),
        "false_codes": dict(Counter(code for row in healthy for code in row.codes).most_common()),
        "faults": by_fault(faulty),
        "baselines": {
            name: {
                "healthy_alarm": rate(sum(row.others[name] for row in healthy), len(healthy)),
                "recall": rate(sum(row.others[name] for row in faulty), len(faulty)),
            }
            for name in (rows[0].others if rows else ())
        },
    }


def spikes(healthy: Sequence[Row], faulty: Sequence[Row]) -> dict[str, Any]:
    """Runs with planted spikes that are told so, and healthy ones that are."""
    planted = [row for row in faulty if row.meta["fault"] in SPIKED]
    return {
        "spikes_recall": rate(sum(SPIKES in row.codes for row in planted), len(planted)),
        "spikes_false": rate(sum(SPIKES in row.codes for row in healthy), len(healthy)),
    }


def rate(count: int, of: int) -> dict[str, Any]:
    """count / of, with its exact 95% interval (Clopper and Pearson)."""
    low, high = interval(count, of)
    return {
        "count": int(count),
        "of": of,
        "share": round(count / of, 4) if of else None,
        "low": round(low, 4),
        "high": round(high, 4),
    }


def calibration(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of findings said with so much confidence, how many were right: a true code of that run."""
    said = [
        (confidence, code in row.meta["codes"])
        for row in rows
        for code, _, confidence in row.findings
    ]
    bins: list[list[tuple[float, bool]]] = []
    for low, high in BINS:
        part = [each for each in said if low <= each[0] < high]
        if bins and (len(part) < LEAST or len(bins[-1]) < LEAST):
            bins[-1] += part
        else:
            bins.append(part)
    return [
        {
            "said": round(sum(c for c, _ in part) / len(part), 3),
            **rate(sum(is_right for _, is_right in part), len(part)),
        }
        for part in bins
        if part
    ]


def by_fault(faulty: Sequence[Row]) -> list[dict[str, Any]]:
    """Recall and cause of each fault, mild and strong."""
    names = sorted({(row.meta["fault"], row.meta["run"]["strength"]) for row in faulty})
    rows = []
    for fault, strength in names:
        part = [
            r for r in faulty if (r.meta["fault"], r.meta["run"]["strength"]) == (fault, strength)
        ]
        rows.append(
            {
                "fault": fault,
                "strength": strength,
                "runs": len(part),
                "any": sum(bool(row.findings) for row in part),
                "first": sum(bool(r.codes) and r.codes[0] in r.meta["codes"] for r in part),
                "named": sum(bool(set(row.codes) & set(row.meta["codes"])) for row in part),
                "said": dict(Counter(row.codes[0] for row in part if row.codes).most_common(4)),
            }
        )
    return rows


def text_of(report: dict[str, Any]) -> str:
    """Tables."""
    figures = [
        [
            *(name, f"{row['count']}/{row['of']}", f"{100 * (row['share'] or 0):.1f}%"),
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f}%",
        ]
        for name, row in report.items()
        if isinstance(row, dict) and "share" in row
    ]
    faults = [
        [
            *(str(row[k]) for k in ("fault", "strength", "runs", "any", "first", "named")),
            " ".join(f"{code}:{count}" for code, count in row["said"].items()),
        ]
        for row in report["faults"]
    ]
    others = [
        [name, *(f"{100 * (row[k]['share'] or 0):.1f}%" for k in ("healthy_alarm", "recall"))]
        for name, row in report["baselines"].items()
    ]
    bins = [
        [f"{row['said']:.2f}", f"{row['share']:.2f}", str(row["of"])]
        for row in report["calibration"]
    ]
    return "\n\n".join(
        (
            table(["figure", "count", "share", "interval"], figures),
            table(["said with", "right", "findings"], bins),
            f"false on healthy runs: {report['false_codes']}; faults that such logs do not show, "
            f"left out: {report['faults_not_visible']}",
            table(["fault", "strength", "runs", "any", "first", "named", "said first"], faults),
            table(["baseline", "false alarms", "recall"], others),
        )
    )


def shown(rows: Sequence[Row], which: str) -> Iterable[str]:
    """Each run of a fault, or each false alarm, by name."""
    for row in rows:
        is_asked = row.meta["fault"] == which or (which == "healthy" and row.is_healthy)
        if is_asked and (which != "healthy" or row.findings):
            codes = " ".join(f"{c}({p:.2f})" for c, _, p in row.findings) or "-"
            yield f"{row.meta['name']}  {row.meta['hard'] or ''}  {codes}"


if __name__ == "__main__":
    sys.exit(main())
