"""Databases of RDS: each a real Postgres on 127.0.0.1 that starts when somebody first connects."""

from __future__ import annotations

import hashlib
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from livedub.errors import LivedubError
from local.aws.spawner import Command, Spawner

_LOG = logging.getLogger(__name__)
_HOST = "127.0.0.1"
_BACKLOG = 64
_STOP_BOUND_S = 10.0
ROOT = Path(__file__).parents[2]


class UnknownDatabaseError(LivedubError):
    """Nobody made a database of that name."""


@dataclass(frozen=True, slots=True)
class DatabaseSpec:
    """What RDS is asked for."""

    identifier: str
    database: str
    username: str
    password: str = field(repr=False)


class _Database:
    """A port that is open from the beginning; its server starts with the first connection, which waits for it."""

    def __init__(self, spec: DatabaseSpec, spawner: Spawner, scratch: Path) -> None:
        self._spec = spec
        self._spawner = spawner
        self._folder = scratch / f"database-{hashlib.sha256(spec.identifier.encode()).hexdigest()[:16]}"
        self._listener = socket.create_server((_HOST, 0), backlog=_BACKLOG)
        self._wakeup, self._woken = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._serve_first, name="database", daemon=True)
        self._thread.start()

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        address = self._listener.getsockname()
        return _HOST, int(address[1])

    def close(self) -> None:
        self._wakeup.close()
        self._thread.join(_STOP_BOUND_S)
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(_STOP_BOUND_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_BOUND_S)
        self._listener.close()
        self._woken.close()

    def _serve_first(self) -> None:
        ready, _, _ = select.select([self._listener, self._woken], [], [])
        if self._woken in ready:
            return
        _LOG.info("database %s is asked for: its server starts", self._spec.identifier)
        try:
            self._process = self._start()
        except Exception:  # noqa: BLE001 - nobody waits for this thread
            _LOG.exception("database %s does not start", self._spec.identifier)
            self._listener.close()

    def _start(self) -> subprocess.Popen[bytes]:
        self._folder.mkdir(parents=True)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "DATABASE_NAME": self._spec.database,
            "DATABASE_USERNAME": self._spec.username,
            "DATABASE_PASSWORD": self._spec.password,
        }
        # The socket's number is the same there, and so is what waits at it.
        argv = (sys.executable, "-m", "local.aws.database_server", str(self._listener.fileno()))
        with (self._folder / "server.log").open("wb") as output:
            return self._spawner.spawn(
                Command((*argv, str(self._folder)), environment, ROOT, output, (self._listener.fileno(),))
            )


class Databases:
    """Those of one server, by identifier; every method may be called from any thread."""

    def __init__(self, spawner: Spawner, scratch: Path) -> None:
        self._spawner = spawner
        self._scratch = scratch
        self._lock = threading.Lock()
        self._databases: dict[str, _Database] = {}

    def make(self, spec: DatabaseSpec) -> tuple[str, int]:
        """Open its port; returns host and port."""
        with self._lock:
            self._databases[spec.identifier] = made = _Database(spec, self._spawner, self._scratch)
        return made.place

    def place_of(self, identifier: str) -> tuple[str, int]:
        """Host and port.

        Raises:
            UnknownDatabaseError: there is none of that name.
        """
        with self._lock:
            found = self._databases.get(identifier)
        if found is None:
            raise UnknownDatabaseError(f"there is no database {identifier}.")
        return found.place

    def remove(self, identifier: str) -> None:
        """End its server and forget it."""
        with self._lock:
            gone = self._databases.pop(identifier, None)
        if gone is not None:
            gone.close()

    def close(self) -> None:
        """End all servers."""
        with self._lock:
            databases = list(self._databases.values())
            self._databases.clear()
        for database in databases:
            database.close()
