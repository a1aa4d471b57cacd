"""What the entry point decides before any engine is loaded."""

import os

import pytest

from gpu_handler.__main__ import main


@pytest.mark.parametrize(("given", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_openmps_threads_sleep_while_they_wait_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, kept: str
):
    # Set first, so that whatever main sets is taken back after the test.
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main(["models", "list"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == kept
