"""The run's memory: written by one background thread, read by anyone, on disk or in memory."""

from thalweg.record.history import History
from thalweg.record.memory import Memory
from thalweg.record.store import Record, read

__all__ = ["History", "Memory", "Record", "read"]
