"""How large a model is where its name does not say."""

from __future__ import annotations

from thalweg.tasks.models.inputs import Inputs
from thalweg.tasks.models.spelling import Spelling

SIZES = {"mlp": "256,256", "resmlp": "256x2", "conv": "32,64,128", "transformer": "128x4"}


def sized(spelling: Spelling, inputs: Inputs) -> Spelling:
    """The model with its sizes: those of its name, else by the table."""
    return spelling if spelling.is_sized else spelling.sized(SIZES[spelling.kind])
