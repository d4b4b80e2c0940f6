"""demo: the whole of thalweg on the digits that ship with scikit-learn."""

from __future__ import annotations

from thalweg.jobs.fit import fit_one
from thalweg.jobs.run import Run
from thalweg.jobs.settings import Settings
from thalweg.tasks.samples import digits


def demo(*, out: str, seed: int, quiet: bool) -> Run:
    """Train on 1,797 images of 8 x 8 pixels, ten classes; no network."""
    settings = Settings(target="digit", seed=seed, out=out)
    return fit_one(digits(), settings, quiet=quiet, stem="digits", owns_process=True)
