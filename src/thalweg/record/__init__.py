"""The run's memory: written by one background thread, read by anyone, on disk or in memory."""

from thalweg.record.files import find, read
from thalweg.record.history import Attempt, History
from thalweg.record.memory import Memory
from thalweg.record.store import Record

__all__ = ["Attempt", "History", "Memory", "Record", "find", "read"]
