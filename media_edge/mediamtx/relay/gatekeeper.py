"""May this connection publish or read? Asks the control plane, fails closed, and makes room for a new holder."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus

from pydantic import ValidationError

from livedub.errors import LivedubError
from livedub.observability import log_context
from livedub.supervision.contract import ApiError, MediaAuthorization, MediaPermit
from livedub.supervision.paths import parse_path
from media_edge.mediamtx.relay.control_plane_client import ControlPlane, ControlPlaneError
from media_edge.mediamtx.relay.fence import Fence
from media_edge.mediamtx.relay.incoming import Access, LocalAccess
from media_edge.mediamtx.relay.publishers import MediaServerError, MediaServerPort, Publisher
from media_edge.mediamtx.relay.read_cache import ReadCache

_AUTHORIZE = "/v1/media/authorize"
_RETRY_PAUSE_S = 0.2
# 401 is about our signature, never about the client: while keys rotate, another try may be understood.
_NO_DECISION = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})

log = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RefusedError(LivedubError):
    """The connection is not let in. `code` is stable, `status` is what the media server is answered."""

    def __init__(self, code: str, message: str, *, status: int = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def to_nobody(_stream_id: str, _generation: int) -> None:
    """Where nobody listens."""


class Gatekeeper:
    """Decides within `timeout_s`; whatever is undecided by then is refused."""

    def __init__(
        self,
        control_plane: ControlPlane,
        server: MediaServerPort,
        *,
        relay_id: str,
        timeout_s: float,
        reads: ReadCache | None,
        counters: Counter[str],
        api_networks: Sequence[Network] = (),
        on_admitted: Callable[[str, int], None] = to_nobody,
    ) -> None:
        """`on_admitted` hears which generation of which stream was let in to publish, before it is.

        Readers are let in without asking where `reads` is None. `api_networks` may use the server's own API and metrics beside its own host.
        """
        self._on_admitted = on_admitted
        self._api_networks = api_networks
        self._control_plane = control_plane
        self._server = server
        self._relay_id = relay_id
        self._timeout_s = timeout_s
        self._reads = reads
        self._counters = counters
        self._fence = Fence()

    async def decide(self, access: Access | LocalAccess) -> None:
        """Return when the connection may go on.

        Raises:
            RefusedError: it may not.
        """
        if isinstance(access, LocalAccess):
            if not self._may_use_api(access.remote_address):
                raise self._refused(
                    RefusedError("NOT_LOCAL", "The server's API is for its own host and RELAY_API_NETWORKS.")
                )
            return
        with log_context(stream_id=parse_path(access.path).stream_id):
            try:
                await asyncio.wait_for(self._decide(access), self._timeout_s)
            except RefusedError as error:
                raise self._refused(error, access) from None
            except asyncio.TimeoutError:
                error = RefusedError("TIMEOUT", "The control plane did not decide in time.")
                raise self._refused(error, access) from None
        self._counters[f"{access.action}_permitted"] += 1

    def _may_use_api(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        caller = getattr(parsed, "ipv4_mapped", None) or parsed
        return caller.is_loopback or any(caller in network for network in self._api_networks)

    async def kick_holder(self, path: str, token: str) -> bool:
        """Disconnect the publisher that came with `token`, from every output of the path's stream.

        False when it had left.

        Raises:
            RefusedError: nobody came here with that token, or somebody else did since.
            MediaServerError: the server cannot be reached.
        """
        outputs = self._fence.outputs_beside(path)
        # Each is compared: the answer's time says nothing about which one matches.
        held = [output for output in outputs if self._fence.matches(output, token)]
        if not outputs:
            raise RefusedError(
                "NO_PUBLISHER", "No publisher of that path was permitted here.", status=HTTPStatus.NOT_FOUND
            )
        if not held:
            raise RefusedError("NOT_THE_HOLDER", "The token is not the publisher's.")
        kicked = 0
        for output in held:
            for publisher in await self._server.publishers_of(output):
                # Whoever took over in the meantime is not the token's owner.
                if publisher.connection == outputs[output].connection:
                    kicked += await self._server.kick(publisher)
        self._counters["kicked"] += kicked
        return kicked > 0

    async def enforce(self, published: list[Publisher]) -> None:
        """Disconnect publishers of an output that stayed although somebody was permitted after them."""
        for publisher in published:
            if self._fence.was_replaced(publisher.path, publisher.connection):
                log.warning("%s is still published by a replaced holder, kicking it", publisher.path)
                self._counters["kicked"] += await self._server.kick(publisher)

    async def _decide(self, access: Access) -> None:
        if access.action == "read":
            if self._reads is not None:
                await self._decide_read(access, self._reads)
            return
        permit = await self._ask(access)
        if access.is_output:
            await self._make_room(access, permit)

    async def _decide_read(self, access: Access, reads: ReadCache) -> None:
        known = reads.fresh(access)
        if known is False:
            raise RefusedError("READER_REFUSED", "The control plane refused this reader just now.")
        if known:
            return
        try:
            await self._ask(access)
        except RefusedError as error:
            if error.code != "API_UNREACHABLE":
                reads.remember(access, permitted=False)
                raise
            if not reads.stale_yes(access):
                raise
        else:
            reads.remember(access, permitted=True)

    async def _make_room(self, access: Access, permit: MediaPermit) -> None:
        """Let the holder in: nobody of an older generation, and nobody else on the path."""
        if permit.generation is None:
            raise RefusedError("MALFORMED_ANSWER", "The control plane named no generation.")
        if not self._fence.admit(
            access.path, generation=permit.generation, token=access.credential, connection=access.connection
        ):
            raise RefusedError("NOT_THE_HOLDER", "A newer generation publishes this path.")
        try:
            for publisher in await self._server.publishers_of(access.path):
                if publisher.connection != access.connection:
                    log.warning("generation %d takes over %s", permit.generation, access.path)
                    self._counters["takeovers"] += await self._server.kick(publisher)
            await self._clear_other_outputs(access.path, permit.generation)
        except MediaServerError as error:
            # The server itself lets no second publisher onto a path, so this one is refused there if need be.
            log.warning("cannot make room on %s: %s", access.path, error)
        if not self._fence.is_latest(access.path, access.connection):
            raise RefusedError("NOT_THE_HOLDER", "Another publisher was permitted in the meantime.")
        self._on_admitted(permit.stream_id, permit.generation)

    async def _clear_other_outputs(self, path: str, generation: int) -> None:
        """Disconnect older generations from the stream's other languages: the new holder may not publish them all."""
        for other in self._fence.supersede(path, generation):
            for publisher in await self._server.publishers_of(other):
                if self._fence.was_replaced(other, publisher.connection):
                    log.warning("generation %d takes over the stream of %s", generation, other)
                    self._counters["takeovers"] += await self._server.kick(publisher)

    async def _ask(self, access: Access) -> MediaPermit:
        question = MediaAuthorization(
            relay_id=self._relay_id,
            action=access.action,
            path=access.path,
            credential=access.credential,
            remote_address=access.remote_address,
            protocol=access.protocol,
        )
        # As often as fits: `decide` ends it.
        while True:
            try:
                answer = await self._control_plane.post(_AUTHORIZE, question)
            except ControlPlaneError as error:
                unreachable = error
            else:
                if answer.status == HTTPStatus.OK:
                    return _permit(answer.body, access)
                if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.status not in _NO_DECISION:
                    raise _refusal(answer.body, answer.status)
                unreachable = ControlPlaneError(f"The control plane answered {answer.status}.")
            log.warning("no decision yet: %s", unreachable)
            if access.action == "read":
                raise RefusedError("API_UNREACHABLE", unreachable.message)
            await asyncio.sleep(_RETRY_PAUSE_S)

    def _refused(self, error: RefusedError, access: Access | None = None) -> RefusedError:
        self._counters["refused"] += 1
        if access is not None:
            log.warning(
                "refused %s of %s from %s: %s (%s)",
                access.action,
                access.path,
                access.remote_address,
                error.message,
                error.code,
            )
        return error


def _permit(body: bytes, access: Access) -> MediaPermit:
    try:
        permit = MediaPermit.model_validate_json(body)
    except ValidationError:
        raise RefusedError("MALFORMED_ANSWER", "The control plane's answer is no permit.") from None
    if permit.stream_id != parse_path(access.path).stream_id:
        raise RefusedError("MALFORMED_ANSWER", "The control plane's permit is for another stream.")
    return permit


def _refusal(body: bytes, status: int) -> RefusedError:
    try:
        error = ApiError.model_validate_json(body)
    except ValidationError:
        return RefusedError("REFUSED", f"The control plane answered {status}.")
    return RefusedError(error.code, error.message)
