"""`python -m media_edge.cache up`: Caddy and the upload service as one, until SIGTERM or Ctrl-C.

What production runs as systemd units runs here as children: the catalogue where it is our own, the upload service,
then Caddy; the other way round at the end, so that an upload under way is answered.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from livedub.errors import ConfigurationError
from livedub.media_cache.tls_material import TlsMaterial, check_pair, read_material
from media_edge.cache.host_paths import host_paths
from media_edge.cache.host_settings import HostSettings
from media_edge.cache.host_start import HostPart, HostStart
from media_edge.cache.upload_settings import UploadSettings


async def run_host(host: HostSettings, upload: UploadSettings, announce: Callable[[str], None]) -> None:
    """Run all parts until SIGTERM or SIGINT; `announce` gets the consumer's variables as `export` lines once they serve.

    Raises:
        ConfigurationError: a setting or a file is wrong, or the port is taken.
        MissingPrerequisiteError: there is no Caddy or too old a one, or no Postgres for a catalogue of our own.
        DatabaseServerError: that Postgres does not start.
        ChildError: a part ended by itself; the others are stopped.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    async with AsyncExitStack() as stack:
        paths = await stack.enter_async_context(host_paths(host, upload))
        start = HostStart(host, upload, paths, _material(paths.tls_dir), stack)
        starting = asyncio.create_task(start.run())
        stopped = asyncio.create_task(asked.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if asked.is_set():
                return
            starting.result()
            announce(
                "".join(f"export {name}={shlex.quote(value)}\n" for name, value in start.exports().items())
            )
            await _until_the_end(start.parts, stopped)
        finally:
            for task in (starting, stopped):
                task.cancel()
            await asyncio.gather(starting, stopped, return_exceptions=True)


async def _until_the_end(parts: Sequence[HostPart], stopped: asyncio.Task[bool]) -> None:
    ends = {asyncio.create_task(part.ended()): part for part in parts}
    try:
        await asyncio.wait({stopped, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            return
        for end, part in ends.items():
            if end.done():
                raise part.end()
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


def _material(tls_dir: Path) -> TlsMaterial:
    """What will be served, looked at before Caddy opens it: its own words for a bad file are not for people.

    Raises:
        ConfigurationError: a file is missing or cannot be read, or the two do not belong together.
    """
    material = read_material(tls_dir)
    if material is None:
        raise ConfigurationError(
            f"{tls_dir} holds no fullchain.pem with a privkey.pem.",
            remedy="Run `livedub media tls-init`, or give the folder above tls/ with --tls-path.",
        )
    return check_pair(material.fullchain_pem, material.privkey_pem, ca_pem=material.ca_pem)
