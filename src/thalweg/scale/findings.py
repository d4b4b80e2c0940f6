"""What start-up checks found on this machine, kept from run to run in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from thalweg.cache import folder

CHECKS = "checks"
"""The sub-folder of what start-up checks found, a small file each."""


def recall(key: Mapping[str, Any]) -> Any:
    """What was remembered under this key; None where there is nothing, or nothing readable."""
    place = folder(CHECKS)
    if place is None:
        return None
    try:
        found = json.loads((place / _name(key)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_whole = isinstance(found, dict) and found.get("key") == key
    return found.get("value") if is_whole else None


def remember(key: Mapping[str, Any], value: Any) -> None:
    """Keep a JSON value under this key, as a whole or not at all."""
    place = folder(CHECKS)
    if place is None:
        return
    with suppress(OSError):
        number, draft = tempfile.mkstemp(dir=place, suffix=".draft")
        try:
            with open(number, "w", encoding="utf-8") as file:
                json.dump({"key": key, "value": value}, file)
            os.replace(draft, place / _name(key))
        except OSError:
            os.unlink(draft)
            raise


def processor() -> str:
    """The processor's model and how many cores this process may use."""
    listing = Path("/proc/cpuinfo")
    try:
        lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = named[0] if named else platform.processor() or platform.machine()
    return f"{name}, {_num_cores()} cores"


def _num_cores() -> int:
    is_told = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    return len(os.sched_getaffinity(0)) if is_told else os.cpu_count() or 1


def _name(key: Mapping[str, Any]) -> str:
    text = json.dumps(key, sort_keys=True).encode()
    return f"{hashlib.sha256(text).hexdigest()[:20]}.json"
