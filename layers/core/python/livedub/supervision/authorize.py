"""Who may publish and play. Asked by the media server at every connect; no answer means no."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

from livedub.errors import InvalidInputError, LivedubError
from livedub.supervision.contract import MediaAuthorization, MediaPermit
from livedub.supervision.lease import expired
from livedub.supervision.paths import StreamPath, parse_path
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Phase, StreamRecord


class AuthorizationError(LivedubError):
    """The connection is refused. `code` is stable, `status` is the HTTP status of the answer."""

    def __init__(self, code: str, status: int, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.status = status


def credential_hash(credential: str) -> str:
    """What a record keeps of a stream key or a publish token: sha256 (hex)."""
    return hashlib.sha256(credential.encode()).hexdigest()


def authorize(
    record: StreamRecord | None, request: MediaAuthorization, *, now_ms: int, policy: SupervisionPolicy
) -> MediaPermit:
    """Allow the request, or raise.

    Raises:
        AuthorizationError: BAD_PATH (400), UNKNOWN_STREAM (404), WRONG_STREAM_KEY, NOT_THE_HOLDER or NOT_A_READER (403).
    """
    try:
        path = parse_path(request.path)
    except InvalidInputError as error:
        raise AuthorizationError("BAD_PATH", 400, error.message, remedy=error.remedy) from error
    if request.action == "read":
        return _reader(record, path, request, policy)
    if path.is_input:
        return _source(record, path, request, policy)
    return _holder(record, path, request, now_ms, policy)


def _source(
    record: StreamRecord | None, path: StreamPath, request: MediaAuthorization, policy: SupervisionPolicy
) -> MediaPermit:
    _known(record, path, policy)
    expected = record.stream_key_hash if record else ""
    if expected and not hmac.compare_digest(credential_hash(request.credential), expected):
        raise AuthorizationError(
            "WRONG_STREAM_KEY",
            403,
            f"The stream key does not fit {path}.",
            remedy="Publish with ?key=<stream key>.",
        )
    return MediaPermit(stream_id=path.stream_id)


def _holder(
    record: StreamRecord | None,
    path: StreamPath,
    request: MediaAuthorization,
    now_ms: int,
    policy: SupervisionPolicy,
) -> MediaPermit:
    if record is None:
        raise _unknown(path)
    lease = record.lease
    presented = credential_hash(request.credential)
    # Compared first and always, so that the answer's time says nothing about the lease.
    fits = hmac.compare_digest(presented, lease.publish_token_hash or "-" * len(presented))
    acting = lease.phase is Phase.RUNNING and lease.ended_at_ms is None and not expired(lease, now_ms, policy)
    if not (fits and acting):
        raise AuthorizationError(
            "NOT_THE_HOLDER",
            403,
            f"Only the worker of the current generation may publish {path}.",
            remedy="Publish the original to /in.",
        )
    return MediaPermit(stream_id=path.stream_id, generation=lease.generation)


def _reader(
    record: StreamRecord | None, path: StreamPath, request: MediaAuthorization, policy: SupervisionPolicy
) -> MediaPermit:
    _known(record, path, policy)
    if policy.read_policy == "inside" and not _is_inside(request.remote_address):
        raise AuthorizationError(
            "NOT_A_READER",
            403,
            f"{path} may be played from inside the network only.",
            remedy="Set LIVEDUB_READ_POLICY=open to let anybody play.",
        )
    return MediaPermit(stream_id=path.stream_id)


def _known(record: StreamRecord | None, path: StreamPath, policy: SupervisionPolicy) -> None:
    if record is None and policy.unknown_streams == "refuse":
        raise _unknown(path)


def _unknown(path: StreamPath) -> AuthorizationError:
    return AuthorizationError(
        "UNKNOWN_STREAM",
        404,
        f"Nobody created the stream {path.stream_id}.",
        remedy="Create it first: livedub streams create.",
    )


def _is_inside(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_private
