"""Every exception that users can meet, each with its exit code on the command line.

A message is one line: what was asked, the value seen, what is allowed, what to try.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class ThalwegError(Exception):
    """Base of all errors that a user can cause or mend."""

    exit_code = 1


class UsageError(ThalwegError, ValueError):
    """A setting is wrong, or the output place cannot be used (exit code 2)."""

    exit_code = 2


class DataError(ThalwegError, ValueError):
    """A data file, or its content, cannot be used (exit code 4)."""

    exit_code = 4


class RunError(ThalwegError, ValueError):
    """A run, or what is stored in it, cannot be used (exit code 5)."""

    exit_code = 5


class Preempted(ThalwegError):
    """A run was asked to stop (SIGTERM) and has saved its state: run again (exit code 75)."""

    exit_code = 75


@contextmanager
def about(source: str) -> Iterator[None]:
    """Inside, a DataError says which data it is about."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def first_line(error: BaseException) -> str:
    """The first 200 letters of what another package's error says; its name where that is nothing.

    >>> first_line(ValueError("no number"))
    'no number'
    """
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
