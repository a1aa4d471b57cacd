"""What the stack needs from a media server, whichever it is.

Streams lie at `live/<stream_id>/<name>`; `name` is `in`, `out` or `out-<language>`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from livedub.errors import InvalidInputError
from local.processes import Supervisor

APPLICATION = "live"
STREAM_ID = r"[A-Za-z0-9_-]{1,64}"
OUT_NAME = r"out(?:-[a-z]{2,3})?"
_PLAYPATH = re.compile(rf"(?P<stream_id>{STREAM_ID})/(?P<name>in|{OUT_NAME})")


@dataclass(frozen=True, slots=True, order=True)
class StreamPath:
    """One published or publishable path of the application `live`."""

    stream_id: str
    name: str

    @property
    def playpath(self) -> str:
        """`<stream_id>/<name>`: the RTMP playpath (in OBS: the stream key)."""
        return f"{self.stream_id}/{self.name}"

    @property
    def path(self) -> str:
        """`live/<stream_id>/<name>`, as MediaMTX names it."""
        return f"{APPLICATION}/{self.playpath}"

    @classmethod
    def parse(cls, playpath: str) -> StreamPath:
        """Read `<stream_id>/<name>`.

        Raises:
            InvalidInputError: anything else; such a path is neither published nor written to disk.
        """
        match = _PLAYPATH.fullmatch(playpath)
        if match is None:
            raise InvalidInputError(
                f"{playpath!r} is no stream path.",
                remedy="Use <stream_id>/in, <stream_id>/out or <stream_id>/out-<language>; a stream id has 1 "
                "to 64 letters, digits, '_' or '-'.",
            )
        return cls(match["stream_id"], match["name"])


@dataclass(frozen=True, slots=True)
class MediaServerOptions:
    """Where a media server listens and keeps its files.

    `bind` is the address publishers and viewers reach; control and statistics stay on the loopback.
    `idle_publisher_s` must be longer than the worker's grace period, else the server drops an `out` that waits
    for its publisher to return.
    `hook_url` gets a form POST when `in` gets and loses its publisher: event (ready, not_ready), path
    (`live/<stream_id>/in`), query, source_type, source_id.
    `relay_url` is the relay (media_edge.mediamtx.relay) that decides about every publisher and reader instead, and
    hears of hooks; `hook_url` is left out then. Server and relay need each other's address: choose the relay's port,
    start the server, then the relay with `control_url` as RELAY_SERVER_API_URL; until the relay answers, nobody is
    admitted and MediaMTX's own API refuses. Stop the server first: the hooks of its last publishers are still to be
    told. Without `relay_url` everybody on this machine is admitted.
    """

    run_dir: Path
    rtmp_port: int
    http_port: int
    bind: str = "127.0.0.1"
    idle_publisher_s: int = 120
    hook_url: str | None = None
    relay_url: str | None = None


class MediaServer(ABC):
    """One media server; `start` and `stop` bracket its life, everything else needs it running."""

    kind: str

    def __init__(self, options: MediaServerOptions, supervisor: Supervisor) -> None:
        self.options = options
        self._supervisor = supervisor

    @abstractmethod
    async def start(self) -> None:
        """Start it and wait until it serves; what failed is stopped again."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop it; harmless when it does not run."""

    @abstractmethod
    async def paths(self) -> list[StreamPath]:
        """The paths somebody publishes to at the moment, sorted."""

    @abstractmethod
    async def kick(self, path: StreamPath) -> bool:
        """Disconnect the publisher of `path`; False when there is none."""

    @abstractmethod
    def hls_url(self, stream_id: str, name: str = "out") -> str:
        """The HLS playlist of a path."""

    @abstractmethod
    def watch_url(self, stream_id: str, name: str = "out") -> str:
        """A page that plays a path in a browser."""

    @property
    @abstractmethod
    def control_url(self) -> str:
        """The server's own API on the loopback (RELAY_SERVER_API_URL); known once it has started."""

    @property
    def rtmp_base_url(self) -> str:
        """`rtmp://host:port` (RELAY_PLAY_BASE_URL and RELAY_PUBLISH_BASE_URL)."""
        return f"rtmp://{self.host}:{self.options.rtmp_port}"

    @property
    def host(self) -> str:
        """Where this machine reaches the server."""
        return "127.0.0.1" if self.options.bind in ("0.0.0.0", "::") else self.options.bind  # noqa: S104

    def publish_url(self, stream_id: str, name: str = "in") -> str:
        """The RTMP URL to publish a path to."""
        path = StreamPath.parse(f"{stream_id}/{name}")
        return f"{self.rtmp_base_url}/{path.path}"

    def play_url(self, stream_id: str, name: str = "out") -> str:
        """The RTMP URL to play a path from."""
        return self.publish_url(stream_id, name)

    def obs_settings(self, stream_id: str) -> tuple[str, str]:
        """What OBS calls Server and Stream Key."""
        path = StreamPath.parse(f"{stream_id}/in")
        return f"{self.rtmp_base_url}/{APPLICATION}", path.playpath
