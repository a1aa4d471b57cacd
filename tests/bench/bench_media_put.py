"""Uploads to the media cache against a Go service: `python tests/bench/bench_media_put.py [--rounds N] [--out FILE]`.

Prints JSON. The same Caddy stands before both: before our upload service, before `media_put_peer` (net/http, Go's
standard library, the same checks, fdatasync and atomic publish), and before our upload service with its catalogue in
an embedded Postgres. Every turn uploads the same number of new objects of one size, each with its metadata header.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livedub.database.embedded_postgres import running_postgres
from tests.bench.media_bench_rig import (
    Child,
    Host,
    Load,
    allow_many_files,
    caddy,
    go_program,
    in_turns,
    measured,
    median,
    paired,
    printed,
    upload_list,
    volume,
    wrong,
)
from tests.integration.media_cache.media_rig import TOKEN, MediaHost, UploadService


@dataclass(frozen=True)
class Size:
    """How much of what, and how many clients at once."""

    object_bytes: int
    count: int
    connections: int


VOLUME_GB = 12
SIZES = (Size(40_000, 5_000, 64), Size(300_000, 1_600, 32), Size(1_000_000, 600, 16))


@dataclass(frozen=True)
class Service:
    """An upload service: its processes, its socket, and the folder beside it that it stores to."""

    pids: list[int]
    socket: Path

    @property
    def data_dir(self) -> Path:
        return self.socket.parent / "data"


@contextmanager
def go_service(folder: Path) -> Iterator[Service]:
    """The peer."""
    socket = folder / "u.sock"
    environment = {
        "MEDIA_SOCKET": str(socket),
        "MEDIA_DATA_DIR": str(folder / "data"),
        "MEDIA_UPLOAD_TOKEN": TOKEN,
    }
    with Child([go_program("media_put_peer")], env=environment) as service:
        if (said := service.line()) != "ready":
            raise RuntimeError(said)
        yield Service([service.pid], socket)


@contextmanager
def our_service(folder: Path, database_url: str) -> Iterator[Service]:
    """Ours; without a database URL it keeps no catalogue."""
    with UploadService(
        folder, folder / "data", DATABASE_URL=database_url, MEDIA_LOG_LEVEL="WARNING"
    ) as service:
        yield Service([service.pid], service.socket)


def upload(host: Host, data_dir: Path, listing: Path, size: Size, name: str) -> dict[str, Any]:
    """One turn. What it stored is emptied then."""
    requests = upload_list(listing, name=name, count=size.count, size_bytes=size.object_bytes)
    with Load(
        "closed",
        host.address,
        host.roots,
        requests,
        method="PUT",
        connections=size.connections,
        count=size.count,
        body_bytes=size.object_bytes,
    ) as load:
        figures = measured(load, host.pids)
    stored = [file for file in (data_dir / "media").rglob("*") if file.is_file() and file.stat().st_size]
    whole = all(file.stat().st_size == size.object_bytes for file in stored)
    for file in stored:
        # Not deleted: without a journal ext4 searches around deleted inodes at every creation, for minutes.
        os.truncate(file, 0)
    return {**figures, "stored_whole": len(stored) if whole else -1}


def measure(rounds: int = 5) -> dict[str, Any]:
    """`rounds` turns of each way at each size."""
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="mb") as name, ExitStack() as stack:
        folder = Path(name)
        media = stack.enter_context(MediaHost(folder / "host"))
        database = stack.enter_context(running_postgres(folder / "postgres"))
        volumes = [folder / name for name in ("ours", "go", "catalogued")]
        mounted = [stack.enter_context(volume(place, VOLUME_GB)) for place in volumes]
        services = {
            "ours": stack.enter_context(our_service(volumes[0], "")),
            "go": stack.enter_context(go_service(volumes[1])),
            "ours with catalogue": stack.enter_context(our_service(volumes[2], database.url)),
        }
        hosts = {
            way: stack.enter_context(caddy(media, folder / f"caddy-{number}", service.pids, service.socket))
            for number, (way, service) in enumerate(services.items())
        }
        hosts["ours with catalogue"].pids.append(database.process.pid)

        def way(name: str, size: Size) -> Callable[[int], dict[str, Any]]:
            host, data_dir, key = hosts[name], services[name].data_dir, f"{name} {size.object_bytes}"
            return lambda number: upload(host, data_dir, folder / "uploads", size, f"{key} {number}")

        sizes = {
            str(size.object_bytes): compared(in_turns(rounds, {name: way(name, size) for name in services}))
            for size in SIZES
        }
    return {
        "what": "PUT over HTTPS through Caddy, closed loop, new objects",
        "volumes_of_their_own": all(mounted),
        "sizes": sizes,
    }


def compared(figures: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What the ways say about each other."""
    everything = [figure for rows in figures.values() for figure in rows]
    return {
        "over_go": paired(figures["ours"], figures["go"], "per_second"),
        "catalogue_over_none": paired(figures["ours with catalogue"], figures["ours"], "per_second"),
        "wrong": wrong(everything, 201),
        "lost": sum(figure["requests"] - figure["stored_whole"] for figure in everything),
        "cores_used_by_others": median(everything, "cores_used_by_others"),
        "medians": {
            way: {
                figure: median(rows, figure)
                for figure in ("per_second", "server_cpu_us", "client_cpu_us", "p50_ms", "p99_ms")
            }
            for way, rows in figures.items()
        },
        "rounds": figures,
    }


if __name__ == "__main__":
    printed(measure, __doc__, rounds=(int, 5, "turns of each way at each size"))
