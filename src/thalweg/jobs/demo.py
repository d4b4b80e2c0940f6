"""demo: the whole of thalweg on the digits that ship with scikit-learn."""

from __future__ import annotations

from sklearn.datasets import load_digits

from thalweg.draw.progress import Progress, Silent
from thalweg.jobs.fit import run_fit
from thalweg.jobs.run import Run
from thalweg.jobs.settings import Settings
from thalweg.tasks.read import frame_of_arrays


def demo(*, out: str, seed: int, progress: Progress | Silent) -> Run:
    """Train on 1,797 images of 8 x 8 pixels, ten classes; no network."""
    inputs, targets = load_digits(return_X_y=True)
    frame = frame_of_arrays(inputs, targets).rename({"y": "digit"})
    settings = Settings(target="digit", seed=seed, out=out)
    return run_fit(frame, settings, progress, stem="digits")
