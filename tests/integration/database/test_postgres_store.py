import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from livedub.database.embedded_postgres import postgres_server
from livedub.database.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnavailableError,
    MigrationError,
)
from livedub.database.migrate import Migration, load_migrations, migrate
from livedub.database.postgres_store import Database, Patience
from livedub.errors import ConfigurationError

SHORT = Patience(connection_ms=200, lock_ms=100, statement_ms=300, idle_transaction_ms=500)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url, name="test", patience=SHORT)
    yield opened
    opened.close()


def one(database: Database, query: bytes) -> object:
    row = database.run(lambda connection: connection.execute(query).fetchone())
    assert row is not None
    return row[0]


def applied(url: str) -> list[tuple[int, str]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT number, name FROM livedub_migrations ORDER BY number").fetchall()


def test_the_first_work_finds_the_schema_up_to_date(database: Database, database_url: str):
    assert one(database, b"SELECT count(*) FROM tts_media_cache") == 0
    assert applied(database_url) == [(m.number, m.name) for m in load_migrations()]


def test_migrating_again_changes_nothing(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert migrate(connection, load_migrations()) == load_migrations()
        assert migrate(connection, load_migrations()) == ()


def test_of_many_that_start_at_once_one_migrates(database_url: str):
    barrier = threading.Barrier(6)

    def start(_: int) -> int:
        with psycopg.connect(database_url, autocommit=True) as connection:
            barrier.wait(30)
            return len(migrate(connection, load_migrations()))

    with ThreadPoolExecutor(6) as threads:
        counts = list(threads.map(start, range(6)))
    assert sorted(counts) == [0] * 5 + [len(load_migrations())]


def test_a_migration_that_fails_leaves_nothing_behind(database_url: str):
    bad = (Migration(1, "a", "CREATE TABLE half (n int)"), Migration(2, "b", "SELECT no_such_thing"))
    with psycopg.connect(database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.Error):
            migrate(connection, bad)
        row = connection.execute("SELECT to_regclass('half'), to_regclass('livedub_migrations')").fetchone()
        assert row == (None, None)
        assert migrate(connection, bad[:1]) == bad[:1]


def test_an_up_to_date_database_takes_no_more_than_reading_rights(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate(connection, load_migrations())
        connection.execute("CREATE ROLE reader_of_migrations")
        connection.execute("GRANT SELECT ON livedub_migrations TO reader_of_migrations")
        connection.execute("SET ROLE reader_of_migrations")
        try:
            assert migrate(connection, load_migrations()) == ()
        finally:
            connection.execute("RESET ROLE")
            connection.execute("DROP OWNED BY reader_of_migrations")
            connection.execute("DROP ROLE reader_of_migrations")


def test_a_changed_file_stops_every_use(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as connection:
        migrate(connection, (Migration(1, "tts_media_cache", "SELECT 'as it was'"),))
    database = Database(database_url, name="test", patience=SHORT)
    try:
        with pytest.raises(MigrationError, match="0001_tts_media_cache"):
            one(database, b"SELECT 1")
    finally:
        database.close()


def test_a_lock_held_elsewhere_is_waited_for_only_so_long(database: Database, database_url: str):
    database.migrate()
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE tts_media_cache")
        with pytest.raises(DatabaseBusyError):
            one(database, b"SELECT count(*) FROM tts_media_cache")
    assert one(database, b"SELECT count(*) FROM tts_media_cache") == 0


def test_a_statement_takes_only_so_long(database: Database):
    with pytest.raises(DatabaseBusyError):
        one(database, b"SELECT pg_sleep(30)")
    assert one(database, b"SELECT 1") == 1


def test_what_the_database_refuses_says_why(database: Database):
    with pytest.raises(DatabaseError, match="no_such_table"):
        one(database, b"SELECT * FROM no_such_table")


def test_a_transaction_is_undone_by_an_error(database: Database):
    def attempt() -> None:
        with database.transaction() as connection:
            connection.execute("CREATE TABLE kept (n int)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        attempt()
    assert one(database, b"SELECT to_regclass('kept')") is None
    with database.transaction() as connection:
        connection.execute("CREATE TABLE kept (n int)")
    assert one(database, b"SELECT to_regclass('kept')::text") == "kept"


def test_a_transaction_that_does_nothing_loses_its_locks(database: Database, database_url: str):
    """As that of a function that was frozen in the middle."""
    database.migrate()

    def fall_asleep() -> None:
        with database.transaction() as stuck:
            stuck.execute("LOCK TABLE tts_media_cache")
            with psycopg.connect(database_url) as other:
                other.execute("SET lock_timeout = '20s'")
                other.execute("LOCK TABLE tts_media_cache")
            stuck.execute("SELECT 1")

    with pytest.raises(DatabaseUnavailableError):
        fall_asleep()


def test_connections_that_the_server_cut_are_replaced(database: Database, postgres_url: str):
    one(database, b"SELECT 1")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'test'"
        )
    assert one(database, b"SELECT 1") == 1


def test_a_transaction_begins_on_a_connection_that_lives(database: Database, postgres_url: str):
    one(database, b"SELECT 1")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'test'"
        )
    with database.transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("url", ["mysql://root:hunter2@host/db", "postgresql://u:hunter2@[::1", "hunter2"])
def test_a_bad_url_is_refused_without_repeating_it(url: str):
    with pytest.raises(ConfigurationError) as refused:
        Database(url, name="test")
    assert "hunter2" not in str(refused.value)
    assert "DATABASE_URL" in str(refused.value)


def test_a_server_that_went_away_is_told_in_time_and_found_again(tmp_path: Path):
    folder = tmp_path / "server"
    with postgres_server(folder, durable=False) as url:
        first = Database(url, name="test")
        first.migrate()
        with first.transaction() as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    started_s = time.monotonic()
    with pytest.raises(DatabaseUnavailableError):
        one(first, b"SELECT 1")
    took_s = time.monotonic() - started_s
    first.close()
    # Far from what the bound is, so that a slow machine does not matter: minutes are what it must not be.
    assert took_s < 20
    with postgres_server(folder, durable=False) as url:
        second = Database(url, name="test")
        try:
            assert one(second, b"SELECT n FROM kept") == 7
        finally:
            second.close()


def test_a_database_that_comes_up_later_is_found(database_url: str, postgres_url: str):
    later = database_url.replace("/test_", "/later_test_")
    name = later.rpartition("/")[2].partition("?")[0]
    database = Database(later, name="test")
    try:
        with pytest.raises(DatabaseUnavailableError):
            one(database, b"SELECT 1")
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}".encode())
            end_s = time.monotonic() + 30
            found: object = None
            while found is None and time.monotonic() < end_s:
                with suppress(DatabaseUnavailableError):
                    found = one(database, b"SELECT count(*) FROM tts_media_cache")
            assert found == 0
            database.close()
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    finally:
        database.close()
