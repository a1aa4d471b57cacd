"""What every pipeline of the worker shares: one clock, polled buses, and samples as plain bytes.

Nothing here runs a callback on a streaming thread: the asyncio loop polls, so Python holds no lock that a
streaming thread waits for, and every queue is an appsink or appsrc with a bound.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from media_edge.worker.gst.typelibs import Gst, GstApp


def local_now_ns() -> int:
    """Local time: CLOCK_MONOTONIC, which is also the time of GStreamer's system clock."""
    return time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class BusEvent:
    """An error, warning or end of stream that a pipeline reported."""

    kind: str
    text: str


class Pipeline:
    """A parsed pipeline on the system clock with base time 0, so that running time is local time."""

    def __init__(self, description: str) -> None:
        self._pipeline = Gst.parse_launch(description)
        if not isinstance(self._pipeline, Gst.Pipeline):
            raise TypeError("a pipeline description needs at least two elements")
        self._pipeline.use_clock(Gst.SystemClock.obtain())
        self._pipeline.set_start_time(Gst.CLOCK_TIME_NONE)
        self._pipeline.set_base_time(0)
        self._bus = self._pipeline.get_bus()

    def source(self, name: str) -> GstApp.AppSrc:
        """The appsrc called `name`."""
        return self._pipeline.get_by_name(name)

    def sink(self, name: str) -> GstApp.AppSink:
        """The appsink called `name`."""
        return self._pipeline.get_by_name(name)

    def element(self, name: str) -> Gst.Element:
        """Any element by name."""
        return self._pipeline.get_by_name(name)

    def play(self) -> None:
        """Start; errors appear on the bus."""
        self._pipeline.set_state(Gst.State.PLAYING)

    def stop(self, wait_s: float = 0.2) -> None:
        """Free everything, in a thread that is waited for no longer than `wait_s`.

        It joins streaming threads, and one of those may sit in a socket that nobody reads.
        """
        thread = threading.Thread(
            target=self._pipeline.set_state, args=(Gst.State.NULL,), name="pipeline stop", daemon=True
        )
        thread.start()
        thread.join(wait_s)

    def events(self) -> Iterator[BusEvent]:
        """What the bus holds now; the rest of its traffic is dropped."""
        while (message := self._bus.pop()) is not None:
            if message.type == Gst.MessageType.ERROR:
                error, _ = message.parse_error()
                yield BusEvent("error", error.message)
            elif message.type == Gst.MessageType.WARNING:
                warning, _ = message.parse_warning()
                yield BusEvent("warning", warning.message)
            elif message.type == Gst.MessageType.EOS:
                yield BusEvent("eos", "end of stream")


def buffer_bytes(buffer: Gst.Buffer) -> bytes:
    """A copy of the payload: `Gst.Buffer.copy()` would hand out the same memory under another name."""
    return buffer.extract_dup(0, buffer.get_size())


def quote(value: str) -> str:
    """A string value for a pipeline description."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
