"""What every pipeline of the worker shares: one clock, polled buses, and samples as plain bytes.

Nothing here runs a callback on a streaming thread: the asyncio loop polls, so Python holds no lock that a
streaming thread waits for, and every queue is an appsink or appsrc with a bound.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
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


class ListSource:
    """An appsrc that is given buffers in lists, so that its thread wakes once for all of them.

    A list is kept until appsrc has taken its buffers off its queue. GStreamer 1.22 goes through a list once more after
    it has given it on, perhaps as a copy; were Python's reference the last one and dropped just then, the list would be
    freed under it, and the process would end by SIGSEGV or the queue's level would be wrong for good.
    """

    def __init__(self, source: GstApp.AppSrc) -> None:
        self._source = source
        self._pushed = 0
        self._kept: deque[tuple[int, Gst.BufferList]] = deque()

    def push(self, buffers: Sequence[Gst.Buffer]) -> None:
        """Queue `buffers`, in order; returns at once."""
        listed = Gst.BufferList.new()
        for buffer in buffers:
            listed.insert(-1, buffer)
        self._pushed += len(buffers)
        self._kept.append((self._pushed, listed))
        self._source.push_buffer_list(listed)
        taken = self._pushed - self.queued_buffers
        while self._kept and self._kept[0][0] <= taken:
            self._kept.popleft()

    def finish(self) -> None:
        """End the stream after what is queued."""
        self._source.end_of_stream()

    @property
    def queued_buffers(self) -> int:
        """Buffers that were pushed and not taken yet."""
        return self._source.get_property("current-level-buffers")

    @property
    def kept_lists(self) -> int:
        """Lists that appsrc may still look at."""
        return len(self._kept)


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
        # As long as the pipeline's threads, for what they keep.
        self._list_sources: list[ListSource] = []

    def source(self, name: str) -> GstApp.AppSrc:
        """The appsrc called `name`."""
        return self._pipeline.get_by_name(name)

    def list_source(self, name: str) -> ListSource:
        """The appsrc called `name`, to be given lists."""
        source = ListSource(self._pipeline.get_by_name(name))
        self._list_sources.append(source)
        return source

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
        thread = threading.Thread(target=self._stop, name="pipeline stop", daemon=True)
        thread.start()
        thread.join(wait_s)

    def _stop(self) -> None:
        # A method of this object, so that the object lives until no streaming thread does.
        self._pipeline.set_state(Gst.State.NULL)

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


def timed_buffer(data: bytes, pts_ns: int) -> Gst.Buffer:
    """A buffer of its own with a copy of `data`."""
    buffer = Gst.Buffer.new_wrapped(data)
    buffer.pts = pts_ns
    return buffer


def buffer_bytes(buffer: Gst.Buffer) -> bytes:
    """A copy of the payload: `Gst.Buffer.copy()` would hand out the same memory under another name."""
    return buffer.extract_dup(0, buffer.get_size())


def quote(value: str) -> str:
    """A string value for a pipeline description."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
