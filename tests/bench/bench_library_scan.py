"""What a scan of many keys costs: `python tests/bench/bench_library_scan.py [--keys N] [--read N] [--out FILE]`.

A first scan registers every key and reads every file; a repeated one finds all as it was. Listings and files come by
HTTP through the library's own storage from a server that does next to nothing, rows go to a Postgres that writes to the
disk. The scans run in a process of their own, whose greatest memory is told. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from livedub.database.embedded_postgres import postgres_server
from livedub.library.catalogue import Catalogue, open_catalogue
from livedub.library.library_settings import LibrarySettings
from livedub.library.probing import read_assets
from livedub.library.scan import scan_bucket
from livedub.library.storage import LibraryStorage
from livedub.library.types import AssetStatus
from tests.bench.machine_load import Bystanders, machine

KEYS = 100_000
REPOSITORY = Path(__file__).resolve().parents[2]
_BOUND_S = 1_200
_STAMP = "SELECT count(*), sum(hashtextextended(ctid::text || xmin::text, 0)) FROM media_assets"
"""Of all rows; any write changes it."""


def measure(keys: int = KEYS, read: int | None = None) -> dict[str, Any]:
    """Start what is needed, scan in a child and give its figures.

    Args:
        keys: how many there are in the bucket.
        read: how many files a first scan reads; None reads all.
    """
    others = Bystanders()
    with (
        tempfile.TemporaryDirectory(prefix="livedub-bench-") as folder,
        postgres_server(Path(folder) / "postgres") as database_url,
        _bucket(keys) as endpoint_url,
    ):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "layers/core/python")]),
            "S3_ENDPOINT_URL": endpoint_url,
            "DATABASE_URL": database_url,
        }
        argv = [sys.executable, __file__, "--child", "--read", str(keys if read is None else read)]
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=_BOUND_S, check=True
        )
    return {
        "machine": machine(),
        "cores_used_by_others_and_servers": others.cores,
        "keys": keys,
        **json.loads(done.stdout),
    }


@contextmanager
def _bucket(keys: int) -> Iterator[str]:
    argv = [sys.executable, str(REPOSITORY / "tests/bench/listing_server.py"), str(keys)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.communicate(timeout=30)


def scan_twice(read: int) -> dict[str, Any]:
    """In the child: a first scan and two repeated ones."""
    settings = LibrarySettings.load()
    storage = LibraryStorage(settings)
    with open_catalogue(settings.database_url.get_secret_value()) as catalogue:
        catalogue.database.migrate(wait_ms=30_000)
        first = _timed(lambda: scan_bucket(storage, catalogue.assets, bucket_name="b"))
        memory_mb = _memory_mb()
        reading = _timed(lambda: _read_some(storage, catalogue, read))
        before = catalogue.database.rows(_STAMP, {})
        repeated = [_timed(lambda: scan_bucket(storage, catalogue.assets, bucket_name="b")) for _ in range(2)]
        touched = catalogue.database.rows(_STAMP, {}) != before
        counts = catalogue.assets.counts()
    again_s = min(one["s"] for one in repeated)
    return {
        "first_register": first,
        "first_read": {**reading, "files": read},
        "repeated": repeated,
        "repeated_touched_rows": touched,
        "repeated_over_register": round(again_s / first["s"], 3),
        "repeated_over_first": round(again_s / (first["s"] + reading["s"]), 3),
        "ready": counts[AssetStatus.READY],
        "memory_mb_after_register": memory_mb,
        "memory_mb": _memory_mb(),
    }


def _read_some(storage: LibraryStorage, catalogue: Catalogue, wanted: int) -> dict[str, int]:
    class Some:
        """The catalogue up to so many assets."""

        given = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(catalogue.assets, name)

        def unread(self, *positional: Any, **named: Any) -> Any:
            named["limit"] = min(named["limit"], wanted - self.given)
            found = catalogue.assets.unread(*positional, **named) if named["limit"] else ()
            self.given += len(found)
            return found

    result = read_assets(storage, Some(), bucket_name="b")  # pyright: ignore[reportArgumentType]
    return {"ready": result.ready, "unreadable": result.unreadable, "left": result.left}


def _timed(work: Callable[[], Any]) -> dict[str, Any]:
    began_s, cpu_s = time.perf_counter(), time.process_time()
    result = work()
    told = result if isinstance(result, dict) else result.model_dump(exclude={"files"})
    return {
        "s": round(time.perf_counter() - began_s, 2),
        "own_cpu_s": round(time.process_time() - cpu_s, 2),
        **told,
    }


def _memory_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--read", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    figures = scan_twice(options.read) if options.child else measure(options.keys, options.read)
    text = json.dumps(figures, indent=2)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
