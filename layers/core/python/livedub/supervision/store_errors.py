"""How the places where supervision keeps things fail."""

from __future__ import annotations

from livedub.errors import LivedubError


class StoreBusyError(LivedubError):
    """Others kept changing the same row for longer than we were willing to try."""


class StoreUnavailableError(LivedubError):
    """An AWS service did not answer, or refused for a reason that is not part of the protocol. Trying again may help."""


class CorruptRecordError(LivedubError):
    """A row cannot be read: written by hand, or by a livedub that is newer than this one."""
