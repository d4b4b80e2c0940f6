"""Defaults that hang on the kind of data: what a study prefers, where the user did not choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from thalweg.jobs.settings import Settings

BUDGETS = ("steps", "epochs", "time")
"""One of them asked for is enough."""


def preferred(settings: Settings, prefers: Mapping[str, Any]) -> Settings:
    """The settings with what suits the data in the place of defaults.

    A learning rate and an average of the weights are the default optimizer's.
    """
    plain = Settings()
    is_open = {name: getattr(settings, name) == getattr(plain, name) for name in prefers}
    if any(getattr(settings, name) is not None for name in BUDGETS):
        is_open["steps"] = False
    if settings.optimizer != plain.optimizer:
        is_open |= {"lr": False, "ema": False}
    return replace(settings, **{name: prefers[name] for name in prefers if is_open[name]})
