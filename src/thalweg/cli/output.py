"""How results look on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from thalweg.strict import strict


def print_json(value: Any) -> None:
    """Exactly one JSON object; a number that is not finite is spelled out, as in "NaN"."""
    print(json.dumps(strict(value), indent=1, allow_nan=False))


def print_scores(result: Mapping[str, Any]) -> None:
    """Scores on new rows, beside those on the run's own test rows."""
    print(f"{result['task']['rows']:,} rows scored with {result['run']}")
    for name, value in result["scores"].items():
        print(f"  {name:<10}{value:>12.4g}   (test: {result['test'][name]:.4g})")


def size_text(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def warn(message: str) -> None:
    """One line on standard error."""
    print(f"thalweg: {' '.join(message.splitlines())}", file=sys.stderr)
