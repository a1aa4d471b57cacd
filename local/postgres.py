"""Where `livedub.database.embedded_postgres` was before."""

from livedub.database.embedded_postgres import postgres_server

__all__ = ["postgres_server"]
