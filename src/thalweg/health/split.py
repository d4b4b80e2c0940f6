"""What `fit` found as it shared out its data: rows in two parts, telling columns, rare classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg.health.data import is_rare
from thalweg.health.view import Suspicion, View
from thalweg.health.words import SPLIT_APART


def leakage(view: View) -> Suspicion | None:
    """Rows that are trained on and scored as well; columns that give the target away."""
    said: list[str] = []
    evidence: dict[str, Any] = {}
    for say in (_rows, _columns):
        text, numbers = say(view.log.split)
        said += [text] if text else []
        evidence |= numbers
    if not said:
        return None
    gaps = {"no_leak": _advice(evidence)}
    return Suspicion("leakage", 0.0, 0.9, "; ".join(said), evidence, gaps, severity="warn")


def _advice(evidence: Mapping[str, Any]) -> str:
    """What to do about rows, about columns, or about both."""
    said = [SPLIT_APART] if "copies" in evidence else []
    if names := evidence.get("columns"):
        which = f"{names[0]!r}" if len(names) == 1 else "these columns"
        said.append(
            f"leave {which} out (--drop {','.join(names)}), unless it is known before the target is"
        )
    return "; ".join(said)


def _rows(split: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Rows, or pictures, in two parts, chance left out; of a part and training where there are."""
    found = [row for row in split.get("rows_in_two_parts", ()) if row.get("said", True)]
    scored = [row for row in found if row["also_in"] == "train"] or found
    if not scored:
        return "", {}
    what = "pictures" if "pictures" in scored[0] else "rows"
    worst = max(scored, key=lambda row: row["copies"] / max(1, row[what]))
    text = f"{worst['copies']:,} of {worst[what]:,} {worst['part']} {what} stand in "
    text += f"{worst['also_in']} as well, so that scores on them flatter"
    return text, {"copies": worst["copies"], "rows": worst[what], "part": worst["part"]}


def _columns(split: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Columns that predict the target almost perfectly by themselves."""
    found = split.get("gives_away", ())
    if not found:
        return "", {}
    first = found[0]
    more = f" ({len(found) - 1} more do so too)" if len(found) > 1 else ""
    text = f"column {first['column']!r} gives {first['what']} away: alone it predicts it with a "
    text += f"score of {first['score']:.4f} of 1{more}"
    return text, {"columns": [str(row["column"]) for row in found], "score": first["score"]}


def rare_class(view: View) -> Suspicion | None:
    """A class of which there are next to no rows to learn from."""
    counts = sorted(view.log.split.get("train_rows_of_classes", ()), reverse=True)
    if len(counts) < 2 or not is_rare(counts[0], counts[-1], rows=counts[-1]):
        return None
    return Suspicion(
        "class_imbalance",
        0.0,
        0.6,
        f"the most frequent class has {counts[0]:,} training rows, the rarest {counts[-1]:,}; "
        "accuracy will not show whether it is learnt",
        {"most": counts[0], "least": counts[-1], "classes": len(counts)},
        severity="warn",
    )
