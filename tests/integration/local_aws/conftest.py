from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.local_aws.rig import Aws, running_server

_SPEED = "600"
"""A minute of a schedule takes 100 ms, the retries of an asynchronous call 100 and 200 ms."""


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """One server for all tests of a process; every test makes resources of its own."""
    with running_server("--schedule-speed", _SPEED) as server:
        yield Aws(server.endpoint)
