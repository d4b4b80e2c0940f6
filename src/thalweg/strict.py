"""Values as strict JSON and TOML can hold them."""

from __future__ import annotations

import math
from typing import Any


def strict(value: Any) -> Any:
    """The value with every number that is not finite spelled out: "NaN", "Infinity"."""
    if isinstance(value, dict):
        return {str(name): strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
