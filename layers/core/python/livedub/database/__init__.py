"""Postgres: a pool of connections, errors that say what to do, and numbered migrations."""
