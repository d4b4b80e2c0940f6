"""Trials: cheap experiments on a snapshot that confirm or refute what is suspected of a run."""
