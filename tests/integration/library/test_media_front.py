"""/media/in/ and /media/out/: the buckets, read-only, over Caddy."""

import asyncio
import http.client
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from livedub.library.storage import LibraryStorage
from local.media_front import supervised_media_front
from local.object_store import ObjectStore, supervised_object_store
from local.processes import Supervisor

pytestmark = pytest.mark.slow

KEYS = ["plain.mp4", "a b+c%20d?#=&.mp4", "ü/🎬 film.mkv", "deep/er/é.webm", "a..b/..c.mp4"]
BODY = bytes(range(256)) * 40


class Front:
    def __init__(self, url: str, store: ObjectStore) -> None:
        self.store = store
        self._netloc = urlsplit(url).netloc

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self._netloc, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Front]:
    async with (
        Supervisor(folder / "logs") as supervisor,
        supervised_object_store(supervisor, folder / "objects") as store,
        supervised_media_front(supervisor, folder / "run", store) as url,
    ):
        yield Front(url, store)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        front = runner.run(stack.enter_async_context(running(tmp_path_factory.mktemp("front"))))
        try:
            storage = LibraryStorage(front.store.settings)
            for key in KEYS:
                storage.put_bytes(BODY, storage.bucket_in, key)
            storage.put_bytes(b"made", storage.bucket_out, "made.vtt")
            storage._client.create_bucket(Bucket="private")
            storage.put_bytes(b"secret", "private", "a.mp4")
            yield front
        finally:
            runner.run(stack.aclose())


@pytest.mark.parametrize("key", KEYS)
def test_a_file_is_there_whatever_it_is_called(front: Front, key: str):
    status, body, headers = front.ask(f"/media/in/{quote(key)}")
    assert (status, body) == (200, BODY)
    assert headers["content-type"].startswith("video/")
    assert not [name for name in headers if name.startswith(("x-amz-", "seaweed"))]


def test_ranges_and_heads(front: Front):
    status, body, headers = front.ask("/media/in/plain.mp4", Range="bytes=10-19")
    assert (status, body) == (206, BODY[10:20])
    assert headers["content-range"] == f"bytes 10-19/{len(BODY)}"
    assert front.ask("/media/in/plain.mp4", Range="bytes=-5")[:2] == (206, BODY[-5:])
    assert front.ask("/media/in/plain.mp4", Range="bytes=999999-")[0] == 416
    status, body, headers = front.ask("/media/in/plain.mp4", "HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", str(len(BODY)))
    etag = headers["etag"]
    assert front.ask("/media/in/plain.mp4", **{"If-None-Match": etag})[0] == 304
    assert front.ask("/media/out/made.vtt")[1] == b"made"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nobody_writes(front: Front, method: str):
    status, _, headers = front.ask("/media/in/plain.mp4", method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert front.ask("/media/in/plain.mp4")[1] == BODY


@pytest.mark.parametrize(
    "path",
    [
        "/media/in/",
        "/media/in",
        "/media/in/ü/".replace("ü", "%C3%BC"),
        "/media/in/missing.mp4",
        "/media/in/../private/a.mp4",
        "/media/in/%2e%2e/private/a.mp4",
        "/media/in/x/%2e%2e/%2e%2e/private/a.mp4",
        "/media/in/..%2fprivate%2fa.mp4",
        "/media/in/%252e%252e/private/a.mp4",
        "/media/in//..//../private/a.mp4",
        "/media/private/a.mp4",
        "/private/a.mp4",
        "/",
    ],
)
def test_the_rest_is_not_there(front: Front, path: str):
    status, body, _ = front.ask(path)
    assert status == 404
    assert b"secret" not in body
    assert b"plain.mp4" not in body


def test_a_query_says_nothing_to_the_storage(front: Front):
    assert front.ask("/media/in/plain.mp4?acl")[:2] == (200, BODY)
    assert front.ask("/media/in/plain.mp4?uploads&versionId=1")[:2] == (200, BODY)
