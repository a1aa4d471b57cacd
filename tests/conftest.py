"""What holds for every test.

Property tests draw the same examples every time, so that a change is judged by itself; `make explore` draws new
ones. A test that is paced by the wall clock, or runs real servers and processes, gets a second try, which the summary
names as RERUN: a shared machine can stand still for longer than a live stream or a time-out forgives, twice in a row it
is the code. Unit tests get none.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

_WITH_SERVERS = frozenset({"contract", "e2e", "integration", "statemachine"})
_PACED = frozenset({"e2e", "integration", "prove"})
"""Where tests may be `realtime`: `make test` and `make test-slow` look for them nowhere else."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folders = item.path.relative_to(item.config.rootpath).parts
        if item.get_closest_marker("realtime") and not _PACED.intersection(folders):
            raise pytest.UsageError(f"{item.nodeid} is realtime: move it to tests/integration or tests/e2e.")
        marked = any(item.get_closest_marker(name) for name in ("realtime", "slow"))
        if marked or _WITH_SERVERS.intersection(folders):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """An entry point run inside a test configures logging: onto streams that end with the test, and libraries quiet."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    known = [root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    levels = [(logger, logger.level) for logger in known]
    yield
    root.handlers[:] = handlers
    for logger, level in levels:
        logger.setLevel(level)
