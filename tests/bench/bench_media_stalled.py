"""A media cache beside clients that never get done: `python tests/bench/bench_media_stalled.py [--out FILE]`, JSON.

1,000 connections that say nothing, stop in their head, stop in their body or drip, opened again as soon as the host
ends them; beside them, first without and then with them, reads and uploads at random instants over warm connections.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.media_bench_rig import (
    Corpus,
    Host,
    Load,
    allow_many_files,
    caddy,
    hurry,
    measured,
    printed,
    stored_objects,
    upload_list,
    wrong,
)
from tests.integration.media_cache.media_rig import MediaHost

STALLED = 1_000
OPENED_PER_S = 400
READS_PER_S = 300
UPLOADS_PER_S = 30
OBJECT_BYTES = 40_000


def healthy(host: Host, corpus: Corpus, uploads: Path, seconds: float) -> dict[str, Any]:
    """Reads and uploads at once; what each saw."""
    common = {"duration": f"{seconds}s", "body_bytes": OBJECT_BYTES}
    with (
        Load(
            "open", host.address, host.roots, corpus.requests, connections=50, rate=READS_PER_S, **common
        ) as gets,
        Load(
            "open",
            *(host.address, host.roots, uploads),
            method="PUT",
            connections=20,
            rate=UPLOADS_PER_S,
            **common,
        ) as puts,
    ):
        hurry(gets.pid, puts.pid, *host.pids)
        puts.go()
        reads = measured(gets, host.pids)
        return {"reads": reads, "uploads": puts.report()}


def measure(seconds: float = 25.0) -> dict[str, Any]:
    """A while alone, then as long beside the stalled clients: longer than any bound of the host's."""
    allow_many_files()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        media = stack.enter_context(MediaHost(folder))
        corpus = stored_objects(media.data_dir, folder / "objects", count=500, size_bytes=OBJECT_BYTES)
        host = stack.enter_context(
            caddy(media, folder / "caddy", [media.children()["upload"]], media.run_dir / "upload.sock")
        )
        count = int(seconds * UPLOADS_PER_S * 3)
        lists = [
            upload_list(folder / when, name=when, count=count, size_bytes=OBJECT_BYTES)
            for when in ("alone", "beside", "never")
        ]
        alone = healthy(host, corpus, lists[0], seconds)
        with Load(
            "stalled",
            *(host.address, host.roots, lists[2]),
            connections=STALLED,
            rate=OPENED_PER_S,
            body_bytes=OBJECT_BYTES,
        ) as stalled:
            stalled.go()
            beside = healthy(host, corpus, lists[1], seconds)
            harm = stalled.end()
        whole = sum(1 for file in media.objects() if file.stat().st_size == OBJECT_BYTES)
        partial = sum(1 for file in media.objects() if file.stat().st_size != OBJECT_BYTES)
    uploaded = [alone["uploads"], beside["uploads"]]
    return {
        "what": f"{STALLED} stalled clients beside {READS_PER_S} reads and {UPLOADS_PER_S} uploads a second",
        "p99_ms": {
            when: {kind: figures[kind]["p99_ms"] for kind in ("reads", "uploads")}
            for when, figures in (("alone", alone), ("beside stalled clients", beside))
        },
        "wrong": wrong([alone["reads"], beside["reads"]], 200) | wrong(uploaded, 201),
        "objects_missing": corpus.count + sum(figure["requests"] for figure in uploaded) - whole,
        "objects_partial": partial,
        "stalled": harm,
        "cores_used_by_others": beside["reads"]["cores_used_by_others"],
        "alone": alone,
        "beside": beside,
    }


if __name__ == "__main__":
    printed(measure, __doc__, seconds=(float, 25.0, "length of each half"))
