"""How `python -m gpu_handler` ends. Supervisors and scripts decide on these, never on messages."""

from __future__ import annotations

from enum import IntEnum

from livedub.errors import ConfigurationError, InvalidInputError, LivedubError, MissingPrerequisiteError


class ExitCode(IntEnum):
    """Exit codes; 2 to 4 will not heal by themselves."""

    DONE = 0
    """The command did what it was asked; `serve` was asked to stop, and drained."""
    CRASHED = 1
    """An unexpected error; the log holds the traceback."""
    USAGE = 2
    """An option, a setting or an input file is wrong."""
    MISSING_PREREQUISITE = 3
    """A model or a program is not installed, or a model is damaged; the message names the remedy."""
    ADDRESS_IN_USE = 4
    """`serve` cannot listen on its address."""


class AddressError(LivedubError):
    """The address to listen on is taken, not ours or malformed."""


def exit_code_for(error: LivedubError) -> ExitCode:
    """The code that tells this error's kind."""
    if isinstance(error, AddressError):
        return ExitCode.ADDRESS_IN_USE
    if isinstance(error, MissingPrerequisiteError):
        return ExitCode.MISSING_PREREQUISITE
    if isinstance(error, ConfigurationError | InvalidInputError):
        return ExitCode.USAGE
    return ExitCode.CRASHED


EPILOG = (
    "exit codes: 0 done or stopped as asked; 1 unexpected error; 2 wrong option, setting or input; "
    "3 a model or program is missing or damaged; 4 cannot listen on the address"
)
