"""Other tools' logs as columns: what a run wrote down, whoever wrote it."""

from thalweg.record.foreign.log import Log, Series

__all__ = ["Log", "Series"]
