"""The stream API as a client sees it: typed answers, and errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from livedub.bearer_api_client import BearerApi
from livedub.errors import InvalidInputError, LivedubError
from livedub.supervision.contract import ApiError
from livedub.supervision.overview import StreamDetail, StreamEvents, StreamList
from livedub.supervision.stream_requests import SettingsChange, StreamRegistration

_TIMEOUT_S = 15.0
"""A function that starts cold answers within a few seconds."""

_UNAUTHORIZED = 401
_STREAM_ID = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")
"""What may stand in a URL's path without saying something else."""

_Answer = TypeVar("_Answer", bound=BaseModel)


class StreamApiRefusedError(LivedubError):
    """The API understood and said no; `code` is its stable reason."""

    def __init__(self, code: str, status: int, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message.rstrip('.')} ({code}).", remedy=remedy)
        self.code = code
        self.status = status


class StreamApiUnavailableError(LivedubError):
    """Nobody answered, or nobody who is a stream API."""


class StreamApi(BearerApi):
    """A context manager over one connection pool. Every method raises one of the two errors above.

    Reads are asked a second time when the connection broke; a change is not, because it may have been made.
    """

    def __init__(self, url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        """`url` is the API's address without `/v1`.

        Raises:
            ConfigurationError: `url` is no http(s) address.
        """
        super().__init__(
            url,
            token,
            timeout_s=_TIMEOUT_S,
            variable="LIVEDUB_API_URL",
            example="https://abc123.execute-api.eu-central-1.amazonaws.com",
            transport=transport,
        )

    def streams(self) -> StreamList:
        """Every stream, by id."""
        return self._ask(StreamList, "GET", "")

    def stream(self, stream_id: str) -> StreamDetail:
        """One stream with its settings."""
        return self._ask(StreamDetail, "GET", _path(stream_id))

    def events(self, stream_id: str) -> StreamEvents:
        """What happened to a stream lately, oldest first."""
        return self._ask(StreamEvents, "GET", _path(stream_id, "/events"))

    def create(
        self, stream_id: str, settings: Mapping[str, Any], *, open_to_all: bool = False
    ) -> StreamDetail:
        """Register a stream. The answer of a new one holds its stream key, which is never shown again.

        `open_to_all`: whoever reaches the media server may publish its `in`; there is no key.
        """
        body = StreamRegistration(settings=dict(settings), open=open_to_all)
        return self._ask(StreamDetail, "PUT", _path(stream_id), body)

    def new_key(self, stream_id: str) -> StreamDetail:
        """Give a stream another key, shown this once. The key before is refused at the next connection."""
        return self._ask(StreamDetail, "POST", _path(stream_id, "/key"))

    def start(self, stream_id: str) -> StreamDetail:
        """Let a stopped, drained or degraded stream run again."""
        return self._ask(StreamDetail, "POST", _path(stream_id, "/start"))

    def stop(self, stream_id: str) -> StreamDetail:
        """End the stream now; it stays off until started."""
        return self._ask(StreamDetail, "POST", _path(stream_id, "/stop"))

    def drain(self, stream_id: str) -> StreamDetail:
        """End this run after what is buffered has played out; the next publisher starts another."""
        return self._ask(StreamDetail, "POST", _path(stream_id, "/drain"))

    def change_settings(
        self, stream_id: str, settings: Mapping[str, Any], *, restart: bool = False
    ) -> StreamDetail:
        """Change some settings; `restart` allows those that a running worker cannot take over."""
        body = SettingsChange(settings=dict(settings), restart=restart)
        return self._ask(StreamDetail, "PATCH", _path(stream_id, "/settings"), body)

    def _ask(self, answer: type[_Answer], method: str, path: str, body: BaseModel | None = None) -> _Answer:
        sent = None if body is None else body.model_dump()
        try:
            response = self._exchange(method, f"/v1/streams{path}", body=sent, repeatable=method == "GET")
        except httpx.HTTPError as error:
            raise StreamApiUnavailableError(
                f"The stream API at {self._url} does not answer: {error or type(error).__name__}.",
                remedy="Is livedub up still running, and LIVEDUB_API_URL the right address?",
            ) from error
        if not response.is_success:
            raise _refusal(response, self._url)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise StreamApiUnavailableError(
                f"{self._url} answered {method} {response.url.path} with something that is no {answer.__name__}.",
                remedy="Check LIVEDUB_API_URL; is this livedub as new as the deployment?",
            ) from error


def _path(stream_id: str, what: str = "") -> str:
    if not _STREAM_ID.match(stream_id):
        raise InvalidInputError(
            f"{stream_id!r} is no stream id.", remedy="A stream id has 1 to 64 letters, digits, '_' or '-'."
        )
    return f"/{stream_id}{what}"


def _refusal(response: httpx.Response, url: str) -> LivedubError:
    try:
        refused = ApiError.model_validate_json(response.content)
    except ValidationError:
        return StreamApiUnavailableError(
            f"{url} answered {response.status_code} to {response.request.method} {response.url.path}, and not as "
            "the stream API does.",
            remedy="Check LIVEDUB_API_URL, and the function's log.",
        )
    remedy = refused.remedy
    if response.status_code == _UNAUTHORIZED and not remedy:
        remedy = "Set LIVEDUB_API_TOKEN to the token of this deployment (livedub up prints it)."
    return StreamApiRefusedError(refused.code, response.status_code, refused.message, remedy=remedy)
