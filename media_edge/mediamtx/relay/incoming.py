"""What media servers send: MediaMTX's auth requests and hooks, nginx-rtmp's calls. Nothing of it is believed unread.

nginx-rtmp appends a client's own query, undecoded, to the fields it made itself: `...&call=publish&name=demo/in&
type=live&key=SECRET`. A client may write `&call=publish_done&name=other/in` there, so its query begins right after
the fields of nginx, and a field that comes twice is an attack.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from livedub.errors import InvalidInputError
from livedub.supervision.paths import parse_path

LONGEST_BODY_BYTES = 16 * 1024
_MOST_FIELDS = 64
_LONGEST_CREDENTIAL = 512
_LONGEST_SOURCE_ID = 96
_CREDENTIALS = ("key", "token")
_NGINX_FIELDS = frozenset(
    {"app", "flashver", "swfurl", "tcurl", "pageurl", "addr", "clientid", "call", "name", "type", "start"}
    | {"duration", "reset"}
)
_APPLICATION = "live"

Event = Literal["publish", "unpublish"]


@dataclass(frozen=True, slots=True)
class Access:
    """A connection that wants to publish or read a path.

    Attributes:
        action: `publish` or `read`.
        path: `live/<stream_id>/<name>`, checked.
        credential: stream key or publish token; empty when the client gave none.
        remote_address: of the client.
        protocol: the server's word for it.
        connection: the server's own name of the connection.
    """

    action: Literal["publish", "read"]
    path: str
    credential: str = field(repr=False)
    remote_address: str
    protocol: str
    connection: str

    @property
    def is_output(self) -> bool:
        """Whether a publisher of it must hold the stream's lease."""
        return not parse_path(self.path).is_input


@dataclass(frozen=True, slots=True)
class LocalAccess:
    """A client that wants something of the server itself (its API, metrics, profiles), decided by address alone."""

    remote_address: str


@dataclass(frozen=True, slots=True)
class Hook:
    """A path got (`publish`) or lost (`unpublish`) its publisher."""

    event: Event
    path: str
    connection: str
    source_type: str


@dataclass(frozen=True, slots=True)
class NginxCall:
    """One call of nginx-rtmp: who connects or leaves."""

    call: Literal["publish", "publish_done", "play"]
    access: Access


class _MediaMtxAuth(BaseModel):
    """The JSON of `authMethod: http`; what later versions add is ignored."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    ip: Annotated[str, Field(max_length=64)] = ""
    user: Annotated[str, Field(max_length=1024)] = ""
    password: Annotated[str, Field(max_length=1024)] = ""
    token: Annotated[str, Field(max_length=4096)] = ""
    action: Literal["publish", "read", "playback", "api", "metrics", "pprof"]
    path: Annotated[str, Field(max_length=512)] = ""
    protocol: Annotated[str, Field(max_length=32)] = ""
    id: Annotated[str, Field(max_length=128)] | None = None
    query: Annotated[str, Field(max_length=4096)] = ""


def mediamtx_auth(body: bytes) -> Access | LocalAccess:
    """Read an auth request of MediaMTX.

    Raises:
        InvalidInputError: it is none, or its path is no path of a stream.
    """
    try:
        request = _MediaMtxAuth.model_validate(json.loads(body))
    except (ValueError, ValidationError, RecursionError):
        raise InvalidInputError("The body is no auth request of MediaMTX.") from None
    if request.action in ("api", "metrics", "pprof"):
        return LocalAccess(request.ip)
    credential = _credential_of(request.query) or request.password or request.token
    return Access(
        action="publish" if request.action == "publish" else "read",
        path=str(parse_path(request.path)),
        credential=_checked(credential),
        remote_address=request.ip,
        protocol=request.protocol,
        connection=_checked_id(request.id or "-"),
    )


def hook_form(body: bytes) -> Hook:
    """Read what hook.py posts.

    Raises:
        InvalidInputError: a field is missing or not as it should be.
    """
    fields = dict(_fields(body))
    events: dict[str, Event] = {"ready": "publish", "not_ready": "unpublish"}
    event = events.get(fields.get("event", ""))
    if event is None:
        raise InvalidInputError("A hook's event is ready or not_ready.")
    path = str(parse_path(fields.get("path", "")))
    return Hook(event, path, _checked_id(fields.get("source_id", "")), fields.get("source_type", "")[:64])


def nginx_form(body: bytes) -> NginxCall:
    """Read a call of nginx-rtmp.

    Raises:
        InvalidInputError: it is none of those we know, or a client added fields of nginx to its query.
    """
    own: dict[str, str] = {}
    query: list[tuple[str, str]] = []
    for name, value in _fields(body):
        if name not in _NGINX_FIELDS:
            query.append((name, value))
        elif name in own:
            raise InvalidInputError(f"The client's query holds {name!r}, a field of nginx.")
        else:
            own[name] = value
    call = own.get("call", "")
    if call not in ("publish", "publish_done", "play") or own.get("app") != _APPLICATION:
        raise InvalidInputError("No call of nginx-rtmp for the application live.")
    path = str(parse_path(f"{_APPLICATION}/{own.get('name', '')}"))
    credential = _first_credential(query) or _credential_of(urlsplit(own.get("tcurl", "")).query)
    access = Access(
        action="read" if call == "play" else "publish",
        path=path,
        credential=_checked(credential),
        remote_address=own.get("addr", "")[:64],
        protocol="rtmp",
        connection=_checked_id(own.get("clientid", "")),
    )
    return NginxCall(call, access)


def json_object(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInputError("The body is no JSON object.")
    return value


def _fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:  # no ASCII, or too many fields
        raise InvalidInputError("The body is no form.") from None


def _credential_of(query: str) -> str:
    try:
        return _first_credential(parse_qsl(query, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise InvalidInputError("The client's query has too many fields.") from None


def _first_credential(fields: list[tuple[str, str]]) -> str:
    return next((value for name, value in fields if name in _CREDENTIALS and value), "")


def _checked(credential: str) -> str:
    if len(credential) > _LONGEST_CREDENTIAL:
        raise InvalidInputError(f"The credential is longer than {_LONGEST_CREDENTIAL} characters.")
    return credential


def _checked_id(connection: str) -> str:
    if not connection or len(connection) > _LONGEST_SOURCE_ID or not connection.replace("-", "").isalnum():
        raise InvalidInputError("The connection has no usable id.")
    return connection
