"""A stream API on a loopback port that keeps streams in memory and answers with the product's own models."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from livedub.supervision import desire
from livedub.supervision.contract import ApiError
from livedub.supervision.overview import StreamDetail, StreamEvent, StreamEvents, StreamList, overview
from livedub.supervision.policy import SupervisionPolicy
from livedub.supervision.record import StreamRecord
from livedub.supervision.stream_requests import SettingsChange, StreamRegistration
from livedub.supervision.stream_settings import SettingsError, change

TOKEN = "a-token"  # noqa: S105 - a test's own
NOW_MS = 1_800_000_000_000


class RefusalError(Exception):
    def __init__(self, status: int, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.error = ApiError(code=code, message=message, remedy=remedy)


class FakeStreamApi:
    """A context manager; `records` is what it knows, `asked` every request it got."""

    def __init__(self) -> None:
        self.records: dict[str, StreamRecord] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.policy = SupervisionPolicy()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeStreamApi":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def admit(self, authorization: str | None) -> "FakeStreamApi":
        if authorization != f"Bearer {TOKEN}":
            raise RefusalError(401, "UNAUTHORIZED", "The token is wrong.")
        return self

    def answer(self, method: str, path: str, body: Any) -> tuple[int, str]:
        prefix, version, group, *rest = path.split("/")
        assert (prefix, version, group) == ("", "v1", "streams")
        if not rest:
            streams = [self._overview(record) for _, record in sorted(self.records.items())]
            return 200, StreamList(streams=streams).model_dump_json()
        stream_id, what = rest[0], "".join(rest[1:])
        if method == "PUT":
            return self._register(stream_id, StreamRegistration.model_validate(body))
        record = self.records.get(stream_id)
        if record is None:
            raise RefusalError(404, "UNKNOWN_STREAM", f"Nobody created {stream_id}.", "Create it first.")
        if what == "key":
            return 200, self._detail(record, "n3w-k3y")
        if what == "events":
            entries = [
                StreamEvent(at_ms=e.at_ms, event=e.event, generation=e.generation, detail=e.detail)
                for e in record.journal
            ]
            return 200, StreamEvents(events=entries).model_dump_json()
        if what == "settings":
            wanted = SettingsChange.model_validate(body)
            try:
                record = change(record, wanted.settings, restart=wanted.restart, now_ms=NOW_MS)
            except SettingsError as error:
                raise RefusalError(error.status, error.code, error.message, error.remedy) from error
        elif what:
            record = {"start": desire.start, "stop": desire.stop, "drain": desire.drain}[what](record, NOW_MS)
        self.records[stream_id] = record
        return 200, self._detail(record)

    def _register(self, stream_id: str, wanted: StreamRegistration) -> tuple[int, str]:
        known = self.records.get(stream_id)
        record = replace(known or StreamRecord(stream_id), settings=wanted.settings)
        self.records[stream_id] = record
        return (
            (200, self._detail(record))
            if known
            else (201, self._detail(record, "" if wanted.open else "k3y"))
        )

    def _detail(self, record: StreamRecord, key: str = "") -> str:
        return StreamDetail(
            stream=self._overview(record),
            desired=record.desired.value,
            settings=dict(record.settings),
            settings_revision=record.settings_revision,
            stream_key=key,
        ).model_dump_json()

    def _overview(self, record: StreamRecord) -> Any:
        return overview(record, NOW_MS, self.policy)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                fake.asked.append((self.command, self.path, body))
                try:
                    status, text = fake.admit(self.headers.get("Authorization")).answer(
                        self.command, self.path, body
                    )
                except RefusalError as refusal:
                    status, text = refusal.status, refusal.error.model_dump_json()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing."""

        return Handler
