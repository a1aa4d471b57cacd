"""The service as it runs on a host: its parts, put together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from livedub.host_logs.delivery import Delivery
from livedub.host_logs.host_use import HostName, measure, use_event
from livedub.host_logs.journal import Journal
from livedub.host_logs.journal_entry import EventMaker
from livedub.host_logs.log_stream_client import LogStreamClient
from livedub.host_logs.place_file import PlaceFile
from livedub.host_logs.shipping import Shipping
from livedub.host_logs.stop_request import StopRequest

UNIT = "livedub-logs.service"


def ship(name: HostName, *, group: str, volumes: Sequence[Path], state: Path, journalctl: str) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        name: of this host, and of its metrics.
        group: the log group.
        volumes: where the volumes are mounted that are watched.
        state: folder of the place in the journal.
        journalctl: the program that prints the journal.
    """
    with StopRequest() as stop:
        Shipping(
            journal=Journal(stop, program=journalctl),
            delivery=Delivery(LogStreamClient(group, name.host), stop.wait),
            place=PlaceFile(state / "place"),
            maker=EventMaker(name.host),
            sample=lambda: use_event(
                measure(volumes), name, timestamp_ms=time.time_ns() // 1_000_000, unit=UNIT
            ),
            stop=stop,
        ).run()
