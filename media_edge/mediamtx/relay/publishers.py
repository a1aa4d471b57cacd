"""What the relay asks of its media server: who publishes, and to disconnect one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from livedub.errors import InvalidInputError, LivedubError
from livedub.supervision.paths import parse_path


class MediaServerError(LivedubError):
    """The media server's own API did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """One publisher of one path.

    Attributes:
        path: `live/<stream_id>/<name>`.
        source_id: what the control plane knows the connection by, unique over restarts of the server.
        connection: how the server itself names the connection.
        kind: the server's word for its protocol.
    """

    path: str
    source_id: str
    connection: str
    kind: str = "rtmpConn"


class MediaServerPort(Protocol):
    """A media server's control API. Every method raises MediaServerError."""

    async def published(self) -> list[Publisher]:
        """Everything published at the moment. Never asked while the server waits for a decision of ours."""
        ...

    async def publishers_of(self, path: str) -> list[Publisher]:
        """The publishers of one path; may be asked while the server waits for a decision."""
        ...

    async def source_id(self, connection: str) -> str:
        """What the control plane shall know a connection by."""
        ...

    async def kick(self, publisher: Publisher) -> bool:
        """Disconnect it; False when it had left already."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def stream_path(text: str) -> str | None:
    """`text` as `live/<stream_id>/<name>`, None when it is no path of a stream."""
    try:
        return str(parse_path(text))
    except InvalidInputError:
        return None
