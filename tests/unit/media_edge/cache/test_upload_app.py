import asyncio
import base64
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from pydantic import SecretStr

from livedub.errors import LivedubError
from livedub.media_cache.catalogue_port import CacheEntry
from livedub.media_cache.key import Variant, object_path, parse_object_path
from livedub.media_cache.wire import METADATA_HEADER, AudioVariant, CacheMetadata, encode_metadata
from media_edge.cache.blob_store import BlobStore
from media_edge.cache.tokens import parse_tokens
from media_edge.cache.upload_app import UploadApp
from media_edge.cache.upload_metrics import UploadMetrics
from media_edge.cache.upload_request import RefusedError, read_head
from media_edge.cache.upload_settings import UploadSettings

from .asgi_client import GONE, HANG, Response, call, lifespan

TOKEN = "tok-0123456789abcdef"  # noqa: S105 - of this test alone
AUTH = ("Authorization", f"Bearer {TOKEN}")
KEY = "5f" * 32
ALAW = object_path(KEY, Variant.ALAW)
PCM = object_path(KEY, Variant.PCM)
BODY = bytes(range(256)) * 4


def digest(body: bytes) -> tuple[str, str]:
    return ("Content-Digest", f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:")


def speech(body: bytes, sentence: str = "Hello.") -> tuple[str, tuple[str, str], CacheMetadata]:
    metadata = CacheMetadata(
        sentence=sentence,
        voice="en/af_heart",
        model="kokoro",
        variant=AudioVariant.of(Variant.ALAW, len(body)),
        ttl_s=60,
    )
    return object_path(metadata.key, Variant.ALAW), (METADATA_HEADER, encode_metadata(metadata)), metadata


class FakeCatalogue:
    def __init__(self) -> None:
        self.rows: list[CacheEntry] = []
        self.forgotten: list[tuple[str, Variant]] = []
        self.closed = False
        self.before: Callable[[], None] = lambda: None

    def record(self, entries: Sequence[CacheEntry]) -> None:
        self.before()
        self.rows += entries

    def forget(self, key: str, encoding: Variant) -> None:
        self.before()
        self.forgotten.append((key, encoding))

    def ready(self) -> bool:
        self.before()
        return True

    def close(self) -> None:
        self.closed = True


class Service:
    """An application over a folder, and what to look at."""

    def __init__(self, folder: Path, catalogue: FakeCatalogue | None = None, **settings: Any) -> None:
        self.folder = folder
        self.metrics = UploadMetrics()
        self.store = BlobStore(folder)
        given = {"upload_token": SecretStr(TOKEN), "data_dir": folder, **settings}
        self.app = UploadApp(UploadSettings(**given), self.store, metrics=self.metrics, catalogue=catalogue)

    async def put(self, path: str, *pieces: object, headers: tuple[tuple[str, str], ...] = (AUTH,)) -> Any:
        return await call(self.app, "PUT", path, headers=headers, pieces=pieces)

    def objects(self) -> dict[str, bytes]:
        files = [file for file in (self.folder / "media").rglob("*") if file.is_file()]
        return {file.name: file.read_bytes() for file in files}

    def metric(self, line: str) -> bool:
        return line in generate_latest(self.metrics.registry).decode()


@pytest.fixture
def service(tmp_path: Path):
    made = Service(tmp_path)
    yield made
    made.app.close()


async def test_put_answers_201_then_204_and_delete_204_then_404(service: Service):
    created = await service.put(ALAW, BODY)
    replaced = await service.put(ALAW, b"other")
    deleted = await call(service.app, "DELETE", ALAW, headers=[AUTH])
    missing = await call(service.app, "DELETE", ALAW, headers=[AUTH])
    answers = [created, replaced, deleted, missing]
    assert [answer.status for answer in answers if answer] == [201, 204, 204, 404]
    assert "content-length" not in replaced.headers
    assert service.metric('media_upload_objects_total{result="created",writer="default"} 1.0')


async def test_pieces_become_one_object(service: Service):
    answer = await service.put(ALAW, b"ab", b"", b"cd")
    assert answer.status == 201
    assert service.objects() == {f"{KEY}.alaw": b"abcd"}


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "OPTIONS", "put"])
async def test_other_methods_are_405_with_allow(service: Service, method: str):
    answer = await call(service.app, method, ALAW, headers=[AUTH])
    assert answer
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/media/",
        f"/media/5f/{KEY}",
        f"/media/00/{KEY}.alaw",
        f"/media/5f/{KEY}.wav",
        f"/media/5F/{KEY.upper()}.alaw",
        f"/media//5f/{KEY}.alaw",
        f"/media/5f/../5f/{KEY}.alaw",
        f"/media/%35f/{KEY}.alaw",
        f"/media/5f/{KEY}.alaw/",
        f"/media/5f/{KEY}.alaw%00",
        f"/media/5f/{KEY}.alaw\n",
    ],
)
async def test_what_is_no_path_to_the_letter_is_404(service: Service, path: str):
    answer = await service.put(path, BODY)
    assert answer.status == 404
    assert service.objects() == {}


@pytest.mark.parametrize("header", [None, "", f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", TOKEN])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_nobody_writes_without_a_token(service: Service, method: str, header: str | None):
    await service.put(ALAW, BODY)
    headers = [] if header is None else [("Authorization", header)]
    answer = await call(service.app, method, ALAW, headers=headers, pieces=(b"evil",))
    assert answer
    assert (answer.status, answer.code) == (401, "AUTH_FAILED")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert service.objects() == {f"{KEY}.alaw": BODY}


async def test_named_tokens_are_counted_by_name_and_may_be_disabled(tmp_path: Path):
    service = Service(tmp_path, upload_tokens=SecretStr("worker=tok-worker-worker-1"))
    answer = await service.put(ALAW, BODY, headers=(("Authorization", "Bearer tok-worker-worker-1"),))
    assert answer.status == 201
    assert service.metric('media_upload_objects_total{result="created",writer="worker"} 1.0')
    service.app.close()
    open_to_all = Service(tmp_path, upload_token=SecretStr(""), auth_disabled=True)
    assert (await open_to_all.put(ALAW, BODY, headers=())).status == 204
    open_to_all.app.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((AUTH, AUTH), 400),
        ((AUTH, ("Content-Length", "5"), ("Content-Length", "5")), 400),
        ((AUTH, ("Content-Length", "+5")), 400),
        ((AUTH, ("Content-Length", "9" * 40)), 400),
        ((AUTH, ("Content-Length", "0")), 422),
        ((AUTH, ("Content-Length", "5000000")), 413),
        ((AUTH, ("Content-Digest", "sha-256=nonsense")), 400),
        ((AUTH, ("Content-Digest", "md5=:XrY7u+Ae7tCTyyK7j1rNww==:")), 400),
        ((AUTH, digest(b"something else")), 422),
        ((AUTH, ("Content-Range", "bytes 0-4/10")), 400),
        ((AUTH, (METADATA_HEADER, "?")), 422),
        ((AUTH, speech(BODY)[1]), 422),
    ],
)
async def test_heads_that_are_refused(service: Service, headers: tuple[tuple[str, str], ...], status: int):
    answer = await service.put(ALAW, BODY, headers=headers)
    assert answer.status == status
    assert service.objects() == {}


async def test_a_refusal_of_the_digest_says_what_is_wanted(service: Service):
    answer = await service.put(ALAW, BODY, headers=(AUTH, ("Content-Digest", "x")))
    assert answer.headers["want-content-digest"] == "sha-256=1, sha-512=1"


async def test_a_digest_that_fits_is_stored(service: Service):
    big = BODY * 2_000
    answer = await service.put(ALAW, big[:1_500_000], big[1_500_000:], headers=(AUTH, digest(big)))
    assert answer.status == 201
    assert service.objects() == {f"{KEY}.alaw": big}


@pytest.mark.parametrize(("path", "body"), [(ALAW, b""), (PCM, b""), (PCM, b"odd")])
async def test_bodies_that_are_no_audio_are_422(service: Service, path: str, body: bytes):
    answer = await service.put(path, body)
    assert (answer.status, answer.code) == (422, "UNUSABLE_BODY")
    assert service.objects() == {}


async def test_a_body_that_grows_too_large_is_413_and_leaves_nothing(tmp_path: Path):
    service = Service(tmp_path, max_body_bytes=3_000)
    assert (await service.put(ALAW, *[BODY] * 2, b"x" * 952)).status == 201
    answer = await service.put(PCM, *[BODY] * 3)
    assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")
    assert list(service.objects()) == [f"{KEY}.alaw"]
    service.app.close()


async def test_a_refused_body_is_read_to_its_end_so_that_the_connection_lives(service: Service):
    answer = await service.put(ALAW, *[BODY] * 50, headers=())
    assert answer.status == 401
    assert "connection" not in answer.headers


async def test_a_refused_body_without_end_is_not_read_for_ever(tmp_path: Path):
    service = Service(tmp_path, drain_bytes=4_000, body_deadline_ms=200)
    long_one = await service.put(ALAW, *[BODY] * 500, headers=())
    hanging = await service.put(ALAW, BODY, HANG, headers=())
    for answer in (long_one, hanging):
        assert (answer.status, answer.headers["connection"]) == (401, "close")
    service.app.close()


@pytest.mark.parametrize("size", [100, 2_000_000])
async def test_a_body_that_stalls_is_408_and_leaves_nothing(tmp_path: Path, size: int):
    service = Service(tmp_path, body_deadline_ms=300)
    answer = await service.put(ALAW, b"x" * size, HANG)
    assert (answer.status, answer.code) == (408, "BODY_TOO_SLOW")
    assert answer.headers["connection"] == "close"
    assert service.objects() == {}
    service.app.close()


@pytest.mark.parametrize("pieces", [(GONE,), (b"x", GONE), (b"x" * 2_000_000, b"y", GONE)])
async def test_a_client_that_leaves_gets_no_answer_and_leaves_nothing(service: Service, pieces: Any):
    assert await service.put(ALAW, *pieces) is None
    assert service.objects() == {}
    assert service.metric("media_upload_aborted_total 1.0")


async def test_a_body_shorter_than_announced_is_not_published(service: Service):
    assert await service.put(ALAW, BODY, headers=(AUTH, ("Content-Length", "2000"))) is None
    assert service.objects() == {}


async def test_bodies_go_to_disk_in_small_pieces_when_memory_is_tight(tmp_path: Path):
    service = Service(tmp_path, buffer_bytes=1024 * 1024, upload_token=SecretStr(TOKEN))
    service.app._buffered_bytes = 600_000
    assert service.app._flush_bytes() == 64 * 1024
    pieces = [bytes([number]) * 40_000 for number in range(20)]
    assert (await service.put(ALAW, *pieces)).status == 201
    assert service.objects() == {f"{KEY}.alaw": b"".join(pieces)}
    assert service.app._buffered_bytes == 600_000
    service.app.close()


async def test_memory_is_given_back_however_an_upload_ends(tmp_path: Path):
    service = Service(tmp_path, body_deadline_ms=200, max_body_bytes=3_000_000)
    await service.put(ALAW, BODY)
    await service.put(ALAW, BODY, HANG)
    await service.put(ALAW, BODY, GONE)
    await service.put(ALAW, b"x" * 2_000_000, b"x" * 2_000_000)
    assert (service.app._buffered_bytes, service.app._uploads) == (0, 0)
    service.app.close()


async def test_uploads_beyond_the_bound_are_503_at_once(tmp_path: Path):
    service = Service(tmp_path, max_uploads=1, body_deadline_ms=5_000)
    hanging = asyncio.create_task(service.put(ALAW, BODY, HANG))
    while not service.app._uploads:  # noqa: ASYNC110 - nothing tells, and one round is enough
        await asyncio.sleep(0)
    answer = await service.put(PCM, BODY)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "BUSY", "1")
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert (await service.put(PCM, BODY)).status == 201
    service.app.close()


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EIO, 500)])
async def test_a_disk_that_fails(service: Service, monkeypatch: pytest.MonkeyPatch, number: int, status: int):
    def fail(*_: object):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("media_edge.cache.blob_store.os.pwritev", fail)
    answer = await service.put(ALAW, BODY)
    assert answer.status == status
    assert service.objects() == {}
    monkeypatch.undo()
    assert (await service.put(ALAW, BODY)).status == 201


async def test_a_disk_that_does_not_answer_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    service = Service(tmp_path, commit_deadline_ms=100)
    release = threading.Event()

    def hang(_fd: int, pieces: list[bytes], *_: int) -> int:
        release.wait(30)
        return sum(map(len, pieces))

    monkeypatch.setattr("media_edge.cache.blob_store.os.pwritev", hang)
    answer = await service.put(ALAW, BODY)
    release.set()
    assert (answer.status, answer.code) == (503, "COMMIT_TOO_SLOW")
    service.app.close()


async def test_the_row_is_written_before_the_object_is_seen(tmp_path: Path):
    catalogue = FakeCatalogue()
    service = Service(tmp_path, catalogue)
    path, header, metadata = speech(BODY)
    seen: list[dict[str, bytes]] = []
    catalogue.before = lambda: seen.append(service.objects())
    answer = await service.put(path, BODY, headers=(AUTH, header))
    assert answer.status == 201
    assert seen == [{}]
    assert catalogue.rows == [CacheEntry.of(metadata)]
    assert (await service.put(ALAW, BODY)).status == 201
    assert len(catalogue.rows) == 1
    async with lifespan(service.app):
        pass
    assert catalogue.closed


async def test_without_a_row_nothing_is_published(tmp_path: Path):
    catalogue = FakeCatalogue()
    service = Service(tmp_path, catalogue)
    path, header, _ = speech(BODY)

    def down() -> None:
        raise LivedubError("connection refused")

    catalogue.before = down
    answer = await service.put(path, BODY, headers=(AUTH, header))
    assert (answer.status, answer.code) == (503, "CATALOGUE_DOWN")
    assert service.objects() == {}
    ready = await call(service.app, "GET", "/ready")
    assert ready
    assert ready.status == 503
    assert b"the catalogue does not answer" in ready.body
    service.app.close()


async def test_deleting_forgets_the_row_and_works_while_rows_are_locked(tmp_path: Path):
    catalogue = FakeCatalogue()
    service = Service(tmp_path, catalogue, io_threads=1)
    path, header, metadata = speech(BODY)
    await service.put(ALAW, BODY)
    locked, release = threading.Event(), threading.Event()

    def wait_for_the_lock() -> None:
        if threading.current_thread().name.startswith("upload"):
            locked.set()
            release.wait(30)

    catalogue.before = wait_for_the_lock
    blocked = asyncio.create_task(service.put(path, BODY, headers=(AUTH, header)))
    await asyncio.to_thread(locked.wait, 30)
    deleted = await call(service.app, "DELETE", ALAW, headers=[AUTH])
    assert deleted
    assert deleted.status == 204
    assert catalogue.forgotten == [(KEY, Variant.ALAW)]
    release.set()
    assert (await blocked).status == 201
    assert metadata.key + ".alaw" in service.objects()
    service.app.close()


async def test_a_row_that_stays_does_not_keep_an_object(tmp_path: Path):
    catalogue = FakeCatalogue()
    service = Service(tmp_path, catalogue)
    await service.put(ALAW, BODY)

    def down() -> None:
        raise LivedubError("gone")

    catalogue.before = down
    deleted = await call(service.app, "DELETE", ALAW, headers=[AUTH])
    assert deleted
    assert deleted.status == 204
    assert service.objects() == {}
    assert service.metric("media_upload_catalogue_failures_total 1.0")
    service.app.close()


async def test_metadata_must_fit_path_and_body_and_may_be_required(tmp_path: Path):
    service = Service(tmp_path, require_metadata=True)
    path, header, _ = speech(BODY)
    shorter = await service.put(path, BODY[:-100], headers=(AUTH, header))
    without = await service.put(path, BODY)
    fits = await service.put(path, BODY, headers=(AUTH, header))
    assert [answer.status for answer in (shorter, without, fits)] == [422, 422, 201]
    service.app.close()


async def test_live_and_ready_are_two_things(tmp_path: Path):
    service = Service(tmp_path / "volume", min_free_bytes=0)
    assert await statuses(service.app) == [200, 200]
    service.app._readiness._looked_s -= 60
    (tmp_path / "volume").rename(tmp_path / "unmounted")
    assert await statuses(service.app) == [200, 503]
    service.app.close()


async def test_a_volume_that_is_nearly_full_is_not_ready(tmp_path: Path):
    service = Service(tmp_path, min_free_bytes=2**62)
    ready = await call(service.app, "GET", "/ready")
    assert ready
    assert ready.status == 503
    assert b"nearly full" in ready.body
    head = await call(service.app, "HEAD", "/ready")
    assert head
    assert (head.status, head.body) == (503, b"")
    posted = await call(service.app, "POST", "/ready")
    assert posted
    assert (posted.status, posted.headers["allow"]) == (405, "GET, HEAD")
    service.app.close()


async def statuses(app: UploadApp) -> list[int]:
    answers = [await call(app, "GET", path) for path in ("/health", "/ready")]
    return [answer.status for answer in answers if isinstance(answer, Response)]


PATHISH = st.text(st.sampled_from("/media5f0aAlwpc.%\\\x00é ") | st.characters(), max_size=120)


@given(PATHISH, st.sampled_from([ALAW, PCM, ""]), st.integers(0, 90))
def test_a_path_is_accepted_only_to_the_letter(noise: str, base: str, at: int):
    path = base[:at] + noise + base[at:]
    parsed = parse_object_path(path)
    assert parsed is None or parsed.path == path


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"authorization",
                    b"content-length",
                    b"content-digest",
                    b"x-livedub-metadata",
                    b"content-range",
                ]
            ),
            st.binary(max_size=60) | st.sampled_from([AUTH[1].encode(), b"5", digest(BODY)[1].encode()]),
        ),
        max_size=6,
    )
)
def test_any_head_is_read_or_refused(headers: list[tuple[bytes, bytes]]):
    scope = {"method": "PUT", "path": ALAW, "raw_path": ALAW.encode(), "headers": headers}
    tokens = parse_tokens(TOKEN, "")
    head, refused = None, None
    try:
        head = read_head(scope, tokens, max_body_bytes=1_000, require_metadata=False)
    except RefusedError as error:
        refused = error.status
    if head is None:
        assert refused in (400, 401, 413, 422)
    else:
        assert head.writer == "default"
        assert dict(headers)[b"authorization"].endswith(TOKEN.encode())
