"""What can go wrong with the database."""

from __future__ import annotations

from livedub.errors import ConfigurationError, LivedubError


class DatabaseError(LivedubError):
    """Base of what the database does wrong; alone, it refused a statement."""


class DatabaseUnavailableError(DatabaseError):
    """No connection could be had in time, or one broke: the same work may succeed later."""


class DatabaseBusyError(DatabaseError):
    """Somebody held what was asked for, for longer than we wait."""


class DatabaseServerError(DatabaseError):
    """A server of our own could not be set up, did not start, or does not end."""


class MigrationError(ConfigurationError):
    """The migrations at hand and those applied to the database do not fit together."""
