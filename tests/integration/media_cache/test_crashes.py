"""kill -9 under writers: what was acknowledged is there, whole; what is there is whole."""

import hashlib
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from .media_rig import UploadService, auth, path_of, read_reply

WRITERS = 8
KEYS_PER_WRITER = 12


class Writers:
    """Clients that replace their own keys over and over; each body says how long it must be."""

    def __init__(self, seed: int) -> None:
        self.allowed: dict[str, set[bytes]] = {}
        self.certain: set[str] = set()
        self.acknowledged = 0
        self.statuses: Counter[int | str] = Counter()
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._enough = threading.Semaphore(0)

    def run_until_killed(self, service: UploadService, after: int):
        """Write until `after` uploads are acknowledged, then kill the service in the middle."""
        self._stop.clear()
        threads = [
            threading.Thread(target=self._write, args=(service, number, self._random.random()))
            for number in range(WRITERS)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(after):
                assert self._enough.acquire(timeout=60), self.statuses
            service.stop(signal.SIGKILL)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)
        while self._enough.acquire(blocking=False):
            pass

    def _write(self, service: UploadService, number: int, seed: float):
        rng = random.Random(seed)
        while not self._stop.is_set():
            path = path_of(f"{number} {rng.randrange(KEYS_PER_WRITER)}")
            body = rng.randbytes(1) * rng.randrange(30_000, 60_000)
            digest = hashlib.sha256(body).digest()
            with self._lock:
                # Not answered yet, it may be published or not: both are right.
                self.allowed.setdefault(path, set()).add(digest)
            try:
                status = self._put(service, path, body)
            except OSError as error:
                self.statuses[type(error).__name__] += 1
                if self._stop.wait(0.005):
                    return
                continue
            self.statuses[status] += 1
            if status in (201, 204):
                with self._lock:
                    self.allowed[path] = {digest}
                    self.certain.add(path)
                    self.acknowledged += 1
                self._enough.release()

    def _put(self, service: UploadService, path: str, body: bytes) -> int:
        with service.connect() as connection:
            head = (
                f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth()['Authorization']}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            half = len(body) // 2
            connection.sendall(head.encode() + body[:half])
            connection.sendall(body[half:])
            try:
                return read_reply(connection).status
            except Exception as error:
                raise OSError(str(error)) from error


def storm(folder: Path, *, kills: int, writes_before: int) -> Writers:
    writers = Writers(seed=kills)
    data_dir = folder / "data"
    for number in range(kills):
        with UploadService(folder, data_dir) as service:
            writers.run_until_killed(service, writes_before + number)
        check(writers, data_dir)
    with UploadService(folder, data_dir):
        left = [entry.name for entry in (data_dir / "staging").iterdir() if entry.name != ".owner"]
        assert left == []
    return writers


def check(writers: Writers, data_dir: Path):
    for path, allowed in writers.allowed.items():
        file = data_dir / path.removeprefix("/")
        if not file.exists():
            # What was acknowledged once stays: nobody deletes here.
            assert path not in writers.certain, path
            continue
        assert hashlib.sha256(file.read_bytes()).digest() in allowed, path
    known = {data_dir / path.removeprefix("/") for path in writers.allowed}
    assert {file for file in (data_dir / "media").rglob("*") if file.is_file()} <= known


def test_kill_9_under_writers_loses_nothing_that_was_acknowledged(tmp_path: Path):
    writers = storm(tmp_path, kills=3, writes_before=60)
    assert writers.acknowledged >= 180
    assert set(writers.statuses) & {400, 401, 404, 413, 422, 500, 503, 507} == set()


@pytest.mark.slow
def test_kill_9_twenty_times(tmp_path: Path):
    writers = storm(tmp_path, kills=20, writes_before=200)
    assert writers.acknowledged >= 4_000
