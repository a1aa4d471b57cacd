from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.database.errors import MigrationError
from livedub.database.migrate import Migration, load_migrations, pending

FILES = tuple(Migration(number, f"step_{number}", f"SELECT {number}") for number in range(1, 6))


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("SELECT 1;")


def test_ours_are_numbered_and_each_does_something():
    ours = load_migrations()
    assert [migration.number for migration in ours] == list(range(1, len(ours) + 1))
    assert ours[0].name == "tts_media_cache"
    assert all(migration.sql.strip() for migration in ours)


def test_files_come_in_the_order_of_their_numbers(tmp_path: Path):
    write(tmp_path, "0002_b.sql", "0001_a.sql", "0010_j.sql", *(f"000{n}_x.sql" for n in range(3, 10)))
    (tmp_path / "README.md").write_text("no migration")
    assert [migration.number for migration in load_migrations(tmp_path)] == list(range(1, 11))


@pytest.mark.parametrize(
    "names",
    [
        ("1_a.sql",),
        ("0001-a.sql",),
        ("0001_A.sql",),
        ("0001_a.sql", "0003_c.sql"),
        ("0001_a.sql", "0001_b.sql"),
        ("0000_a.sql",),
        ("0002_b.sql",),
    ],
)
def test_other_names_and_gaps_are_refused(tmp_path: Path, names: tuple[str, ...]):
    write(tmp_path, *names)
    with pytest.raises(MigrationError):
        load_migrations(tmp_path)


@given(st.integers(0, len(FILES)), st.integers(0, len(FILES)))
def test_what_is_missing_is_what_the_database_does_not_have(applied: int, known: int):
    """Also where the database is ahead of the code."""
    done = {migration.number: migration.checksum for migration in FILES[:applied]}
    assert pending(FILES[:known], done) == FILES[applied:known]


@given(st.integers(1, len(FILES)), st.data())
def test_an_applied_file_must_not_change(applied: int, data: st.DataObject):
    changed = data.draw(st.integers(1, applied))
    done = {migration.number: migration.checksum for migration in FILES[:applied]}
    done[changed] = Migration(changed, "any", "SELECT 'something else'").checksum
    with pytest.raises(MigrationError, match=f"{changed:04d}"):
        pending(FILES, done)


def test_one_left_out_before_the_last_is_an_error():
    done = {migration.number: migration.checksum for migration in FILES if migration.number != 3}
    with pytest.raises(MigrationError, match="lacks migration 0003"):
        pending(FILES, done)
