"""The library's API as it is deployed, on a real Postgres and moto's S3; only the queue is a list."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from livedub.library.api import wiring
from livedub.library.api.callback_auth import callback_path, sign_callback
from livedub.library.api.wiring import ConnectedParts
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import Job
from tests.unit.functions.rig import Context, http_event

TOKEN = "a-librarian-s-token"  # noqa: S105 - of this test alone
SECRET = "a-callback-s-secret"  # noqa: S105
BUCKET_IN, BUCKET_OUT = "media-in", "media-out"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "S3_BUCKET_IN": BUCKET_IN,
    "S3_BUCKET_OUT": BUCKET_OUT,
    "LIBRARY_API_TOKEN": TOKEN,
    "LIBRARY_CALLBACK_SECRET": SECRET,
}


@dataclass
class ListedQueue:
    """Notes what it is told; `down` makes it refuse."""

    down: bool = False
    submitted: list[Job] = field(default_factory=list)
    cancelled: list[Job] = field(default_factory=list)

    def submit(self, job: Job) -> None:
        self._up()
        self.submitted.append(job)

    def cancel(self, job: Job) -> None:
        self._up()
        self.cancelled.append(job)

    def close(self) -> None:
        pass

    def _up(self) -> None:
        if self.down:
            raise LibraryError(LibraryErrorCode.QUEUE_DOWN, "Nobody answers.", "Start it.")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        return self.body.get("code", "")


class LibraryRig:
    """Asks the handler as API Gateway does."""

    parts: ConnectedParts
    queue: ListedQueue

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.begin_anew()

    def begin_anew(self, *, migrate: bool = True) -> None:
        """As a process that has just started, on the same catalogue."""
        wiring.forget()
        self.parts = wiring._parts()
        if migrate:
            self.parts.catalogue.database.migrate()
        self.watch_queue()

    def watch_queue(self) -> None:
        """Take an empty queue."""
        self.queue = ListedQueue()
        self.parts.__dict__["_queue"] = self.queue

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = TOKEN,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        given = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {} if token is None else {"authorization": f"Bearer {token}"}
        if given is not None:
            sent["content-type"] = "application/json"
        event = http_event(method, path, given, {**sent, **(headers or {})})
        if query:
            event["rawQueryString"] = urlencode(query)
            event["queryStringParameters"] = dict(parse_qsl(event["rawQueryString"], keep_blank_values=True))
        return self.call(event)

    def call(self, event: Mapping[str, Any]) -> Answer:
        handler = importlib.import_module("functions.library_api.handler").handler
        # Through JSON both ways, as Lambda does: what does not survive that fails here.
        raw = json.loads(json.dumps(handler(json.loads(json.dumps(event)), Context("library_api"))))
        text = raw.get("body") or ""
        headers = {name.lower(): value for name, value in raw["headers"].items()}
        return Answer(raw["statusCode"], json.loads(text) if text else None, headers)

    def graphql(self, query: str, *, token: str | None = TOKEN, **variables: Any) -> Any:
        answer = self.ask("POST", "/graphql", {"query": query, "variables": variables}, token=token)
        assert answer.status == 200, answer
        return answer.body

    def callback(self, job_id: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = sign_callback(SECRET, UUID(job_id), raw) if headers is None else headers
        return self.ask("POST", callback_path(UUID(job_id)), raw, token=None, headers=signed)

    def put(self, key: str, content: bytes = b"some media") -> None:
        self.s3.put_object(Bucket=BUCKET_IN, Key=key, Body=content)

    def empty(self, bucket: str) -> None:
        """Take everything out of a bucket; make it where a test has taken it away."""
        try:
            found = self.s3.list_objects_v2(Bucket=bucket).get("Contents", ())
        except self.s3.exceptions.NoSuchBucket:
            self.s3.create_bucket(Bucket=bucket)
            return
        for item in found:
            self.s3.delete_object(Bucket=bucket, Key=item["Key"])

    def trim(self, key: str = "clip.mp4", **more: Any) -> dict[str, Any]:
        return {
            "kind": "trim",
            "source_key": key,
            "parameters": {"start_ms": 0, "end_ms": 1_000},
            **more,
        }

    def make_job(self, key: str = "clip.mp4", **more: Any) -> dict[str, Any]:
        self.put(key)
        answer = self.ask("POST", "/api/jobs/", self.trim(key, **more))
        assert answer.status == 201, answer
        return answer.body
