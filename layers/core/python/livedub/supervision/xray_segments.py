"""Subsegments for AWS X-Ray by its daemon's own protocol: one UDP datagram each.

Powertools' Tracer would bring the X-Ray SDK, and that loads botocore and more: half a second of every cold start.
https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

from aws_lambda_powertools.tracing.base import BaseProvider, BaseSegment

_TRACE_HEADER = "_X_AMZN_TRACE_ID"
_DISABLED = "POWERTOOLS_TRACE_DISABLED"
_DAEMON = "AWS_XRAY_DAEMON_ADDRESS"
_PREAMBLE = b'{"format": "json", "version": 1}\n'
_FORBIDDEN_IN_NAME = re.compile(r"[^\w\s.:/%&#=+\\\-@]")
_LONGEST_MESSAGE = 500
_LONGEST_DATAGRAM = 60_000


class Subsegment(BaseSegment):
    """One timed piece of work."""

    def __init__(self, name: str) -> None:
        self._name = _FORBIDDEN_IN_NAME.sub("", name)[:200]
        self._id = secrets.token_hex(8)
        self._start_s = time.time()
        self._end_s: float | None = None
        self._annotations: dict[str, Any] = {}
        self._metadata: dict[str, dict[str, Any]] = {}
        self._exception: dict[str, str] = {}

    def close(self, end_time: int | None = None) -> None:
        """Stop the clock."""
        self._end_s = time.time() if end_time is None else end_time

    def add_subsegment(self, subsegment: Any) -> None:
        """Subsegments are sent on their own, flat below the function's segment."""

    def remove_subsegment(self, subsegment: Any) -> None:
        """See add_subsegment."""

    def put_annotation(self, key: str, value: Any) -> None:
        """Something traces can be searched by: text, number or boolean."""
        self._annotations[key] = value if isinstance(value, bool | int | float) else str(value)

    def put_metadata(self, key: str, value: Any, namespace: str = "default") -> None:
        """Something to read."""
        self._metadata.setdefault(namespace, {})[key] = value

    def add_exception(
        self,
        exception: BaseException,
        stack: list[traceback.StackSummary],  # noqa: ARG002 - the log has it
        remote: bool = False,  # noqa: ARG002, FBT001, FBT002 - Powertools' signature
    ) -> None:
        """What went wrong."""
        self._exception = {
            "id": secrets.token_hex(8),
            "type": type(exception).__name__,
            "message": str(exception)[:_LONGEST_MESSAGE],
        }

    def document(self, trace_id: str, parent_id: str) -> dict[str, Any]:
        """As X-Ray takes it."""
        document: dict[str, Any] = {
            "type": "subsegment",
            "name": self._name,
            "id": self._id,
            "trace_id": trace_id,
            "parent_id": parent_id,
            "start_time": self._start_s,
            "end_time": time.time() if self._end_s is None else self._end_s,
            "annotations": self._annotations,
            "metadata": self._metadata,
        }
        if self._exception:
            document |= {
                "fault": True,
                "cause": {"working_directory": "", "exceptions": [self._exception]},
            }
        return document


class XrayDatagrams(BaseProvider):
    """A provider for Powertools' Tracer. Sends nothing where Lambda did not sample the request, or no daemon is named."""

    def __init__(self) -> None:
        self._current: Subsegment | None = None

    @contextmanager
    def in_subsegment(self, name: str | None = None, **_: Any) -> Generator[BaseSegment, None, None]:
        """Time what happens inside."""
        segment = Subsegment(name or "subsegment")
        outer, self._current = self._current, segment
        try:
            yield segment
        except BaseException as error:
            segment.add_exception(error, [])
            raise
        finally:
            self._current = outer
            segment.close()
            _send(segment)

    def in_subsegment_async(
        self, name: str | None = None, **_: Any
    ) -> AbstractAsyncContextManager[BaseSegment]:
        """Not offered: functions here are synchronous."""
        raise NotImplementedError(f"subsegment {name}: functions are synchronous")

    def put_annotation(self, key: str, value: Any) -> None:
        """Annotate the subsegment that is open."""
        if self._current:
            self._current.put_annotation(key, value)

    def put_metadata(self, key: str, value: Any, namespace: str = "default") -> None:
        """Add to the subsegment that is open."""
        if self._current:
            self._current.put_metadata(key, value, namespace)

    def patch(self, modules: Sequence[str]) -> None:
        """Libraries are not patched."""

    def patch_all(self) -> None:
        """Libraries are not patched."""


def _send(segment: Subsegment) -> None:
    """Best effort: tracing never fails a request. Lambda sets both variables anew, so they are read per call."""
    if os.environ.get(_DISABLED, "").lower() in {"1", "true", "yes", "on"}:
        return
    header = dict(part.split("=", 1) for part in os.environ.get(_TRACE_HEADER, "").split(";") if "=" in part)
    host, _, port = os.environ.get(_DAEMON, "").rpartition(":")
    if header.get("Sampled") != "1" or not host or not port.isdigit():
        return
    document = segment.document(header.get("Root", ""), header.get("Parent", ""))
    datagram = _PREAMBLE + json.dumps(document, default=str).encode()
    if len(datagram) > _LONGEST_DATAGRAM:
        return
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(datagram, (host, int(port)))
    except OSError:
        return
