"""A media-cache host beside the stack: `livedub media up`, whose speech stays from one run to the next."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.processes import ChildProcess, Supervisor
from local.python_child import python_spec

_EXPORT = "export "
_BUNDLE = "TTS_MEDIA_CACHE_CA_BUNDLE"
"""The last line that the host prints."""
_READY_TIMEOUT_S = 120.0
_STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class MediaCache:
    """A running host, and what its consumers must know; the token is in no log."""

    process: ChildProcess
    consumer_environment: Mapping[str, str] = field(repr=False)

    @property
    def url(self) -> str:
        """Where it serves."""
        return self.consumer_environment["TTS_MEDIA_CACHE_BASE_URL"]


async def start_media_cache(supervisor: Supervisor, folder: Path) -> MediaCache:
    """Start a host on a free port of the loopback and wait until it serves.

    Args:
        supervisor: ends it.
        folder: speech, catalogue and certificate; used again when it is there already.

    Raises:
        ProcessError: it did not come up.
        MissingPrerequisiteError: a program is not installed.
    """
    exports: dict[str, str] = {}
    complete = asyncio.Event()

    def hear(line: str) -> None:
        if line.startswith(_EXPORT):
            name, _, value = line.removeprefix(_EXPORT).partition("=")
            exports[name] = "".join(shlex.split(value))
            if name == _BUNDLE:
                complete.set()

    async def announced(_child: ChildProcess) -> None:
        await complete.wait()

    spec = python_spec(
        "media-cache",
        "livedub.cli.main",
        *("media", "up", "--bind=127.0.0.1", "--port=0"),
        f"--data-dir={folder / 'data'}",
        f"--tls-path={folder}",
        f"--catalogue-dir={folder / 'catalogue'}",
        stop_timeout_s=_STOP_S,
        secret_stdout=True,
    )
    child = await supervisor.start(spec, ready=announced, ready_timeout_s=_READY_TIMEOUT_S, on_stdout=hear)
    return MediaCache(child, exports)
