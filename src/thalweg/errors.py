"""Every exception that users can meet, each with the exit code that the command line gives for it.

A message is one line: what was asked, the value seen, what is allowed, what to try.
"""


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
