"""What operators ask of streams: the use cases behind the stream API."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from livedub.errors import InvalidInputError
from livedub.supervision import desire, stream_settings
from livedub.supervision.authorize import credential_hash
from livedub.supervision.execution_starts import ExecutionStarts
from livedub.supervision.hooks import new_stream
from livedub.supervision.journal import noted
from livedub.supervision.lease import release
from livedub.supervision.media_requests import unknown_stream
from livedub.supervision.overview import StreamDetail, StreamEvent, StreamEvents, StreamList, overview
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import Outcome, Phase, StreamRecord
from livedub.supervision.refusals import RequestRefusedError
from livedub.supervision.store_errors import StoreUnavailableError
from livedub.supervision.stream_requests import SettingsChange, StreamRegistration
from livedub.supervision.stream_store_port import StreamStore

_log = logging.getLogger(__name__)

_STREAM_ID = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")
_KEY_BYTES = 24


@dataclass(frozen=True, slots=True)
class StreamCommands:
    """Commands on streams. Every method raises RequestRefusedError or SettingsError for what the caller did wrong,
    StoreBusyError or StoreUnavailableError for what may work a moment later.

    Attributes:
        streams: where they are kept.
        starts: starts and stops executions.
        policy: defaults and bounds.
        now_ms: the clock.
    """  # noqa: D205 - one sentence on two lines

    streams: StreamStore
    starts: ExecutionStarts
    policy: SupervisionPolicy
    now_ms: Callable[[], int]

    def list(self) -> StreamList:
        """Every stream, by id."""
        now_ms = self.now_ms()
        return StreamList(
            streams=[overview(record, now_ms, self.policy) for record in self.streams.list_all()]
        )

    def get(self, stream_id: str) -> StreamDetail:
        """One stream."""
        return self._detail(self._known(stream_id))

    def events(self, stream_id: str) -> StreamEvents:
        """What happened to a stream, oldest first."""
        return StreamEvents(
            events=[
                StreamEvent(
                    at_ms=entry.at_ms, event=entry.event, generation=entry.generation, detail=entry.detail
                )
                for entry in self._known(stream_id).journal
            ]
        )

    def put(self, stream_id: str, registration: StreamRegistration) -> tuple[bool, StreamDetail]:
        """Create a stream, or replace the settings of one that exists; whether it was created.

        The key of a new one is answered here, once. `open` takes the key from one that exists.
        """
        _check(stream_id)
        key = "" if registration.open else secrets.token_urlsafe(_KEY_BYTES)
        now_ms = self.now_ms()
        created: list[bool] = []

        def rule(record: StreamRecord | None) -> StreamRecord:
            created.append(record is None)
            if record is None:
                return self._new(stream_id, registration, key, now_ms)
            return _replaced(record, registration, now_ms)

        record = self._updated(stream_id, rule)
        # A write whose answer got lost is repeated on what it wrote itself: then the row knows our key.
        ours = bool(key) and hmac.compare_digest(record.stream_key_hash, credential_hash(key))
        return created[-1] or ours, self._detail(record, stream_key=key if ours else "")

    def new_key(self, stream_id: str) -> StreamDetail:
        """Give a stream another key, answered here, once; an open stream has one from now on.

        The key before is refused at the next connection; a publisher that is on stays on.
        """
        key = secrets.token_urlsafe(_KEY_BYTES)
        now_ms = self.now_ms()

        def rekeyed(record: StreamRecord) -> StreamRecord:
            return noted(replace(record, stream_key_hash=credential_hash(key)), now_ms, "new_key")

        return self._detail(self._changed(stream_id, rekeyed), stream_key=key)

    def start(self, stream_id: str) -> StreamDetail:
        """Let a stream run, at once if its publisher is on."""
        record = self._changed(stream_id, lambda record: desire.start(record, self.now_ms()))
        self.starts.start_where_needed(record)
        return self._detail(record)

    def stop(self, stream_id: str) -> StreamDetail:
        """End a stream's run; it stays off until started."""
        return self._end(stream_id, desire.stop)

    def drain(self, stream_id: str) -> StreamDetail:
        """End a stream's run once what is buffered has played out; the next publisher starts another."""
        return self._end(stream_id, desire.drain)

    def change_settings(self, stream_id: str, wanted: SettingsChange) -> StreamDetail:
        """Change settings; a running worker takes hot ones over at its next renewal."""
        now_ms = self.now_ms()
        return self._detail(
            self._changed(
                stream_id,
                lambda record: stream_settings.change(
                    record, wanted.settings, restart=wanted.restart, now_ms=now_ms
                ),
            )
        )

    def _new(self, stream_id: str, registration: StreamRegistration, key: str, now_ms: int) -> StreamRecord:
        blank = new_stream(stream_id, now_ms, self.policy)
        chosen = stream_settings.parse({**blank.settings, **registration.settings}).chosen()
        return replace(blank, settings=chosen, stream_key_hash=credential_hash(key) if key else "")

    def _end(self, stream_id: str, rule: Callable[[StreamRecord, int], StreamRecord]) -> StreamDetail:
        """Apply `rule`. A run that still waits for a host has nobody who would notice: it is ended here."""
        now_ms = self.now_ms()
        given_up: list[str] = []

        def ended(record: StreamRecord) -> StreamRecord:
            given_up.clear()
            changed = rule(record, now_ms)
            if changed.lease.phase is not Phase.WAITING_CAPACITY:
                return changed
            given_up.append(changed.lease.execution)
            return release(
                changed,
                execution=changed.lease.execution,
                outcome=Outcome.ENDED,
                detail="ended by an operator before a host took it",
                now_ms=now_ms,
                policy=self.policy,
            )

        record = self._changed(stream_id, ended)
        for execution in given_up:
            self._abort(execution)
        return self._detail(record)

    def _abort(self, execution: str) -> None:
        """Best effort: without the lease its work is refused to every agent, and its wait ends by itself."""
        try:
            self.starts.stop(execution, "ended by an operator")
        except StoreUnavailableError as error:
            _log.warning("Execution %s goes on until its wait is over: %s", execution, error)

    def _changed(self, stream_id: str, rule: Callable[[StreamRecord], StreamRecord]) -> StreamRecord:
        def of_known(record: StreamRecord | None) -> StreamRecord:
            if record is None:
                raise unknown_stream(stream_id)
            return rule(record)

        _check(stream_id)
        return self._updated(stream_id, of_known)

    def _updated(self, stream_id: str, rule: Callable[[StreamRecord | None], StreamRecord]) -> StreamRecord:
        record = self.streams.update(stream_id, rule)
        if record is None:
            raise InvalidInputError(f"Stream {stream_id} was not kept.")
        return record

    def _known(self, stream_id: str) -> StreamRecord:
        _check(stream_id)
        record = self.streams.load(stream_id)
        if record is None:
            raise unknown_stream(stream_id)
        return record

    def _detail(self, record: StreamRecord, *, stream_key: str = "") -> StreamDetail:
        return StreamDetail(
            stream=overview(record, self.now_ms(), self.policy),
            desired=record.desired.value,
            settings=dict(record.settings),
            settings_revision=record.settings_revision,
            stream_key=stream_key,
        )


def _replaced(record: StreamRecord, registration: StreamRegistration, now_ms: int) -> StreamRecord:
    patch = {**dict.fromkeys(record.settings), **registration.settings}
    changed = stream_settings.change(record, patch, restart=False, now_ms=now_ms)
    return replace(changed, stream_key_hash="") if registration.open else changed


def _check(stream_id: str) -> None:
    if not _STREAM_ID.match(stream_id):
        raise RequestRefusedError(
            "BAD_PATH",
            400,
            f"{stream_id[:100]!r} is no stream_id.",
            remedy="Use 1 to 64 letters, digits, _ or -.",
        )
