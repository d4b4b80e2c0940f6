"""A diagnosis as text: verdict, curve, findings, and what could not be checked."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from thalweg.draw.plot import plot
from thalweg.strict import strict

BRIEF_PARTS = 10
"""Parts of a curve of which the brief shows the first, lowest and highest point."""

LETTERS = "ABCDEFGHIJ"
"""What marks a finding on the curve."""

WIDTH = 96


def as_text(said: Mapping[str, Any]) -> str:
    """The whole of one log."""
    verdict, source = said["verdict"], said["source"]
    lines = [*_folded(f"{verdict['state']}: {verdict['sentence']}", "")]
    lines += ["", *_curve(said)]
    for letter, finding in zip(LETTERS, verdict["findings"], strict=False):
        lines += ["", *_finding(letter, finding, source)]
    if "last_good_checkpoint" in said:
        lines += ["", *_folded(_checkpoint(said), "")]
    if "against" in said:
        lines += ["", *_against(said["against"])]
    if "trials" in said:
        lines += ["", *_trials(said["trials"], {each["code"] for each in verdict["findings"]})]
    if "tries" in said:
        lines += ["", *_tries(said["tries"], source["path"])]
    notes = [f"note: {note}" for note in source["notes"]]
    lines += ["", *(line for note in notes for line in _folded(note, "  "))] if notes else []
    if verdict["not_checkable"]:
        lines += ["", "not checked:"]
        for each in verdict["not_checkable"]:
            lines += _folded(each, "  ")
    return "\n".join(lines)


def _curve(said: Mapping[str, Any]) -> list[str]:
    """The training loss, else that of validation, with the findings' letters below."""
    for role, points in said["curves"].items():
        marks = {
            each["since_step"]: letter
            for letter, each in zip(LETTERS, said["verdict"]["findings"], strict=False)
        }
        drawn = plot(points, marks)
        if drawn:
            columns = said["source"]["columns"]
            return [f"{columns.get(role, role)} ({said['source']['path']})", *drawn]
    return []


def _finding(letter: str, finding: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    """Name, since when, how sure; the evidence; what to change."""
    evidence = finding["evidence"]
    sure = f"{100 * finding['confidence']:.0f}% sure"
    if "confidence_before" in evidence:
        sure += f" after trials ({100 * evidence['confidence_before']:.0f}% before)"
    unit = source.get("unit", "step")
    head = (
        f"{letter}  {finding['code']} {finding['name']} ({finding['severity']}), since {unit} "
        f"{finding['since_step']:,}, {sure}"
    )
    advice = f"to change: {finding['advice']}"
    return [
        head,
        *_folded(str(evidence.get("says", "")), "   "),
        *_folded(advice, "   "),
        f"   more: thalweg explain {finding['code']}",
    ]


def _checkpoint(said: Mapping[str, Any]) -> str:
    found, unit = said["last_good_checkpoint"], said["source"].get("unit", "step")
    return f"last good checkpoint: {found['path']}, of {unit} {found['step']:,}"


def _against(said: Mapping[str, Any]) -> list[str]:
    """Where it parts from a good log."""
    lines = _folded(f"against {said['path']}: {said['sentence']}", "")
    for name, (mine, theirs) in said["settings"].items():
        lines.append(f"   {name}: {mine}, there {theirs}")
    return lines


def _trials(said: Mapping[str, Any], found: set[str]) -> list[str]:
    """What each trial has shown; what it confirms, and what of the findings it refutes."""
    lines = [
        f"trials of causes, from step {said['from_step']:,}, {said['steps']:,} steps of "
        f"{said['budget']:,}:"
    ]
    for row in said["results"]:
        lines += _folded(f"{row['name']}: {row['says']}", "   ")
        for verb, side, is_found in _SIDES:
            told = [each for each in row[side] if (each["code"] in found) == is_found]
            codes = ", ".join(f"{each['code']} {each['name']}" for each in told)
            lines += _folded(f"{verb} {codes}", "      ") if codes else []
    return lines


_SIDES = (
    ("confirms", "confirms", True),
    ("refutes", "refutes", True),
    ("points to", "confirms", False),
)


def _tries(said: Mapping[str, Any], run: str) -> list[str]:
    """What each change did, the best first."""
    where = f"{said['steps']:,} steps each from step {said['from_step']:,}"
    lines = _folded(said["begins_anew"], "") if said["begins_anew"] else []
    lines += [f"changes tried, {where}, in which the rate falls to 0:"]
    width = max(32, *(len(row["change"]) for row in said["tries"]))
    for row in said["tries"]:
        loss = row.get("validation_loss")
        if loss is None:
            lines += _folded(f"{row['change']}: {row['error']}", "   ")
            continue
        gain = row["better_by"]
        beside = "" if not row["settings"] or gain is None else f"  ({-100 * gain:+.1f}%)"
        lines.append(f"   {row['change']:<{width}} validation loss {loss:.4g}{beside}")
    return [*lines, *_go_on(said, run)]


def _go_on(said: Mapping[str, Any], run: str) -> list[str]:
    """How to go on with the best change."""
    begin, rows, run = said["from_step"], said["go_on"].items(), shlex.quote(run)
    if said["tries"][0]["change"] == "as it was":
        return ["   nothing that was tried is better than the run as it was"]
    if begin:
        settings = [f"--set {shlex.quote(f'{name}={value}')}" for name, value in rows]
        command = f"thalweg resume {run} --from-step {begin} {' '.join(settings)}"
    else:
        settings = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in rows]
        command = f"thalweg fit --config {run}/run.toml {' '.join(settings)}"
    return ["   to go on with the first:", f"      {command}"]


def _folded(text: str, indent: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def as_brief(said: Mapping[str, Any]) -> str:
    """To paste to a colleague or a chat assistant: settings, curves, verdict, open questions; some
    60 lines, however long the log is.
    """
    verdict, source = said["verdict"], said["source"]
    settings = json.dumps(strict(source["settings"]))
    parts = [
        f"# Training run {source['path']}",
        f"Format {source['format']}, {source['rows']:,} rows; tool {source['tool'] or 'unknown'}.",
        f"Settings: {settings if source['settings'] else 'not known'}",
    ]
    unit = source.get("unit", "step")
    for role, points in said["curves"].items():
        shown = " ".join(f"{step:g}:{value:.4g}" for step, value in thinned(points))
        parts.append(f"{role} ({unit}:value, extremes kept): {shown}")
    parts.append(f"Verdict of thalweg diagnose: {verdict['state']}: {verdict['sentence']}")
    for each in verdict["findings"]:
        after = " after trials" if "confidence_before" in each["evidence"] else ""
        parts.append(
            f"- {each['code']} {each['name']} ({each['severity']}) since {unit} "
            f"{each['since_step']:,}, {100 * each['confidence']:.0f}% sure{after}: "
            f"{each['evidence'].get('says', '')}. Suggested: {each['advice']}"
        )
    parts += [_checkpoint(said)] if "last_good_checkpoint" in said else []
    parts += [f"Note: {note}" for note in source["notes"]]
    open_ = verdict["not_checkable"]
    parts += ["Open, because the log does not say:"] if open_ else []
    parts += [f"- {each}" for each in open_]
    return "\n".join(line for part in parts for line in _folded(part, ""))


def thinned(points: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """The first, lowest and highest of each of a few parts, and the last; what is not finite counts
    as highest.
    """
    size = max(1, math.ceil(len(points) / BRIEF_PARTS))
    kept: dict[int, None] = {}
    for begin in range(0, len(points), size):
        part = range(begin, min(begin + size, len(points)))
        high = max(part, key=lambda i: _or(points[i][1], math.inf))
        low = min(part, key=lambda i: _or(points[i][1], math.inf))
        kept |= dict.fromkeys(sorted({begin, low, high}))
    if points:
        kept[len(points) - 1] = None
    return [points[i] for i in kept]


def _or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other


def as_post_mortem(said: Mapping[str, Any]) -> str:
    """The timeline, the verdict and what the run cost."""
    verdict, cost = said["verdict"], said["cost"]
    lines = [f"what happened in {said['run']}", ""]
    for row in said["timeline"]:
        head = f"  step {row['step']:>8,}  {row['kind']:<10} "
        lines += wrap(row["text"], WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    lines += ["", *_folded(f"{verdict['state']}: {verdict['sentence']}", "")]
    for letter, finding in zip(LETTERS, verdict["findings"], strict=False):
        lines += ["", *_finding(letter, finding, {})]
    lines += ["", *_folded(_spent(cost), "")]
    return "\n".join(lines)


def _spent(cost: Mapping[str, Any]) -> str:
    text = f"{cost['steps']:,} steps took {cost['seconds']:.4g} s"
    if cost["best_step"] is None:
        return f"{text}; nothing was evaluated, so no step is known to be the best"
    after = cost["after_best"]
    share = 100 * after["share_of_seconds"]
    return (
        f"{text}; the best evaluation was at step {cost['best_step']:,}, and {after['steps']:,} "
        f"steps and {after['seconds']:.4g} s ({share:.0f}%) came after it"
    )
