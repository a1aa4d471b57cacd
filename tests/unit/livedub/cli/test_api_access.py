from pathlib import Path

import pytest

from livedub.cli.api_access import ApiAccess, access_file, find_access, forget_access, leave_access
from livedub.errors import ConfigurationError

ACCESS = ApiAccess("http://127.0.0.1:1", "s3cret")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def test_what_a_stack_left_is_found_for_this_user_alone(environment: dict[str, str]):
    path = leave_access(ACCESS, environment)
    assert path.stat().st_mode & 0o777 == 0o600
    assert find_access(environment) == ACCESS
    assert [file.name for file in path.parent.iterdir()] == ["api.json"]


def test_the_environment_wins_over_what_a_stack_left(environment: dict[str, str]):
    leave_access(ACCESS, environment)
    named = {**environment, "LIVEDUB_API_URL": "https://api.example", "LIVEDUB_API_TOKEN": "t"}
    assert find_access(named) == ApiAccess("https://api.example", "t")


def test_half_an_access_is_an_error_that_names_the_other_half(environment: dict[str, str]):
    with pytest.raises(ConfigurationError, match="LIVEDUB_API_TOKEN is not set"):
        find_access({**environment, "LIVEDUB_API_URL": "https://api.example"})


def test_a_stack_forgets_its_own_access_and_no_other(environment: dict[str, str]):
    other = ApiAccess("http://127.0.0.1:2", "another")
    leave_access(other, environment)
    forget_access(ACCESS, environment)
    assert find_access(environment) == other
    forget_access(other, environment)
    assert not access_file(environment).exists()
    forget_access(other, environment)


def test_a_broken_file_is_named(environment: dict[str, str]):
    path = leave_access(ACCESS, environment)
    path.write_text("[]")
    with pytest.raises(ConfigurationError, match=r"api\.json cannot be read"):
        find_access(environment)


def test_the_token_is_not_in_what_is_printed_by_accident():
    assert "s3cret" not in repr(ACCESS)
    assert "export LIVEDUB_API_TOKEN=s3cret" in ACCESS.export_lines()
