"""1 GiB to and from SeaweedFS: the library's storage against the aws CLI: `python tests/bench/bench_library_transfer.py`.

They take turns, each in a process of its own on the same endpoint and file. Prints JSON: seconds of every run, MiB/s of
the best, and the library's speed over the CLI's, of the best and of the medians. The medians are judged; on a machine
that others use the best says more of what a program can do.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livedub.errors import MissingPrerequisiteError
from local.object_store import ObjectStore, object_store

REPOSITORY = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
SIZE_BYTES = 1024 * MIB
ROUNDS = 4
_BOUND_S = 300
_OWN = """
import sys
from pathlib import Path
from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage
direction, file, bucket, key = sys.argv[1:]
storage = LibraryStorage(LibrarySettings.load())
if direction == "up":
    storage.upload_file(Path(file), bucket, key)
else:
    storage.download_file(bucket, key, Path(file))
"""


def aws_cli() -> str:
    """The program of AWS, as it comes."""
    program = shutil.which("aws")
    if program is None:
        raise MissingPrerequisiteError(
            "This benchmark needs the aws CLI.", remedy="Install it, such as by uv tool install awscli."
        )
    return program


def write_noise(path: Path, size_bytes: int) -> None:
    """A file that nothing can compress."""
    source = random.Random(1)
    with path.open("wb") as file:
        for _ in range(size_bytes // MIB):
            file.write(source.randbytes(MIB))


class Contest:
    """Two ways to move one file."""

    def __init__(self, store: ObjectStore, folder: Path, size_bytes: int) -> None:
        self._store = store
        self._sent = folder / "sent.mp4"
        self._got = folder / "got.mp4"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "layers/core/python")]),
            "AWS_ACCESS_KEY_ID": store.access_key_id,
            "AWS_SECRET_ACCESS_KEY": store.secret_access_key,
            "AWS_REGION": "us-east-1",
            **store.environment,
        }
        write_noise(self._sent, size_bytes)

    def aws(self, direction: str) -> float:
        place = f"s3://{self._store.bucket_in}/aws.mp4"
        where = [str(self._sent), place] if direction == "up" else [place, str(self._got)]
        return self._timed(
            [aws_cli(), f"--endpoint-url={self._store.endpoint_url}", "s3", "cp", "--quiet", *where]
        )

    def own(self, direction: str) -> float:
        file = self._sent if direction == "up" else self._got
        return self._timed(
            [sys.executable, "-c", _OWN, direction, str(file), self._store.bucket_in, "own.mp4"]
        )

    def _timed(self, command: Sequence[str]) -> float:
        self._got.unlink(missing_ok=True)
        os.sync()  # what the run before left to write is not this one's
        begun_s = time.perf_counter()
        subprocess.run(command, check=True, timeout=_BOUND_S, env=self._environment)
        took_s = time.perf_counter() - begun_s
        if self._got.exists() and self._got.stat().st_size != self._sent.stat().st_size:
            raise RuntimeError(f"{command[0]} did not bring the whole file")
        return took_s


def measure(size_bytes: int = SIZE_BYTES, rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds, MiB/s and ratios of both directions."""
    taken: dict[str, list[float]] = {name: [] for name in ("aws up", "own up", "aws down", "own down")}
    with tempfile.TemporaryDirectory(prefix="livedub-bench-") as name:
        folder = Path(name)
        with object_store(folder / "objects") as store:
            contest = Contest(store, folder, size_bytes)
            for number in range(rounds):
                for direction in ("up", "down"):
                    turns = [("aws", contest.aws), ("own", contest.own)]
                    for who, run in turns if number % 2 == 0 else reversed(turns):
                        taken[f"{who} {direction}"].append(run(direction))
    best = {name: min(seconds) for name, seconds in taken.items()}
    median = {name: statistics.median(seconds) for name, seconds in taken.items()}
    return {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()},
        "aws_cli": subprocess.run(
            [aws_cli(), "--version"], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip(),
        "size_mib": size_bytes // MIB,
        "seconds": {name: [round(value, 2) for value in seconds] for name, seconds in taken.items()},
        "mib_per_s": {name: round(size_bytes / MIB / value) for name, value in best.items()},
        "own_over_aws": _ratios(best),
        "own_over_aws_median": _ratios(median),
    }


def _ratios(seconds: dict[str, float]) -> dict[str, float]:
    return {way: round(seconds[f"aws {way}"] / seconds[f"own {way}"], 2) for way in ("up", "down")}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))  # noqa: T201
